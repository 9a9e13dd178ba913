"""<Dial>: its legs, who wins, the callbacks of each, and what becomes of the caller."""

from collections.abc import Mapping

import pytest
from simulator.setup import (
    ANSWERS,
    BUSY,
    EVENTS_ATTRIBUTE,
    FAILS,
    FROM,
    HANGS_UP,
    LATE,
    NEVER,
    VOICEMAIL,
    ArrivedRequest,
    Json,
    SimulatorSetup,
    simulator_setup,
)

from callctl.simulator import FarEnd, Noted


def noun(setup: SimulatorSetup, address: str, kind: str = "Number", **attributes: str) -> str:
    extra = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f'<{kind} statusCallback="{setup.status}" {EVENTS_ATTRIBUTE}{extra}>{address}</{kind}>'


async def dials(setup: SimulatorSetup, *nouns: str, then: str = "", **attributes: str) -> Json:
    """Place a call whose document dials, served from /dial; its action, if any, answers with a pause."""
    extra = "".join(f' {name}="{value}"' for name, value in attributes.items())
    setup.listener.documents |= {
        "/dial": f"<Response><Dial{extra}>{''.join(nouns)}</Dial>{then}</Response>",
        "/after": "<Response><Pause length='20'/></Response>",
        "/verb": "<Response><Pause length='20'/></Response>",
    }
    return await setup.place(ANSWERS, Url=f"{setup.listener.url}/dial")


def action(setup: SimulatorSetup) -> Mapping[str, str]:
    received: list[ArrivedRequest] = setup.listener.at("/after")
    assert len(received) == 1
    return received[0].form


async def test_a_child_is_reported_with_its_parent(setup: SimulatorSetup) -> None:
    call = await dials(setup, noun(setup, HANGS_UP))
    await setup.advance(15)
    (child,) = await setup.children(call["sid"])
    assert setup.callbacks(child["sid"]) == [("initiated", 0), ("ringing", 1), ("in-progress", 2), ("completed", 3)]
    last = setup.last(child["sid"])
    assert (last["ParentCallSid"], last["Direction"], last["To"]) == (call["sid"], "outbound-dial", HANGS_UP)
    assert (last["From"], last["CallDuration"], last["SipResponseCode"]) == (FROM, "5", "200")
    assert "ParentCallSid" not in setup.last(call["sid"])
    assert (child["parent_call_sid"], child["direction"], child["duration"]) == (call["sid"], "outbound-dial", "5")


async def test_a_child_skips_the_queue(setup: SimulatorSetup) -> None:
    call = await dials(setup, noun(setup, NEVER))
    await setup.advance(2.45)
    (child,) = await setup.children(call["sid"])
    assert child["status"] == "ringing"


@pytest.mark.parametrize(
    ("kind", "address", "to"),
    [
        ("Number", "(202) 555-0100", "+12025550100"),
        ("Sip", "sip:agent@example.com", "sip:agent@example.com"),
        ("Client", "ann", "client:ann"),
    ],
)
async def test_number_sip_and_client(setup: SimulatorSetup, kind: str, address: str, to: str) -> None:
    call = await dials(setup, noun(setup, address, kind))
    await setup.advance(6)
    (child,) = await setup.children(call["sid"])
    assert (child["to"], child["status"]) == (to, "in-progress")


async def test_the_first_to_answer_wins_and_the_others_are_canceled(setup: SimulatorSetup) -> None:
    nouns = [noun(setup, LATE), noun(setup, "agent", "Client"), noun(setup, "sip:busy@example.com", "Sip")]
    call = await dials(setup, *nouns)
    await setup.advance(10)
    children = await setup.children(call["sid"])
    assert [child["status"] for child in children] == ["canceled", "in-progress", "busy"]
    assert [setup.statuses(child["sid"])[2] for child in children] == ["canceled", "in-progress", "busy"]
    assert [setup.last(child["sid"]).get("SipResponseCode") for child in children] == ["487", None, "486"]


async def test_a_sequence_rings_one_after_the_other(setup: SimulatorSetup) -> None:
    call = await dials(setup, noun(setup, BUSY), noun(setup, FAILS), noun(setup, HANGS_UP), sequential="true")
    await setup.advance(3)
    assert len(await setup.children(call["sid"])) == 1
    await setup.advance(17)
    children = await setup.children(call["sid"])
    assert [setup.statuses(child["sid"])[-1] for child in children] == ["busy", "failed", "completed"]
    arrived = [each.form["CallSid"] for each in setup.listener.at("/status") if "ParentCallSid" in each.form]
    assert arrived == sorted(arrived, key=[child["sid"] for child in children].index)  # never two at once


async def test_a_dial_rings_thirty_seconds_unless_set(setup: SimulatorSetup) -> None:
    usual = await dials(setup, noun(setup, NEVER), action="/after")
    await setup.advance(32.3)
    (child,) = await setup.children(usual["sid"])
    assert child["status"] == "ringing"
    await setup.advance(0.2)
    assert setup.statuses(child["sid"])[-1] == "no-answer"
    assert action(setup)["DialCallStatus"] == "no-answer"


async def test_a_dial_rings_as_long_as_its_timeout_says(setup: SimulatorSetup) -> None:
    call = await dials(setup, noun(setup, NEVER), timeout="5")
    await setup.advance(8)
    assert [setup.statuses(child["sid"])[-1] for child in await setup.children(call["sid"])] == ["no-answer"]


async def test_a_dials_time_limit_ends_the_child_and_the_caller_goes_on(setup: SimulatorSetup) -> None:
    call = await dials(setup, noun(setup, ANSWERS), timeLimit="7", action="/after")
    await setup.advance(13)
    assert [setup.last(child["sid"])["CallDuration"] for child in await setup.children(call["sid"])] == ["7"]
    assert action(setup)["DialCallDuration"] == "7"


@pytest.mark.parametrize(
    ("to", "seconds", "status", "bridged"),
    [(HANGS_UP, 15, "completed", "true"), (BUSY, 6, "busy", "false"), (FAILS, 6, "failed", "false")],
)
async def test_the_action_gets_the_result(
    setup: SimulatorSetup, to: str, seconds: float, status: str, bridged: str
) -> None:
    call = await dials(setup, noun(setup, to), then="<Redirect>/verb</Redirect>", action="/after")
    await setup.advance(seconds)
    (child,) = await setup.children(call["sid"])
    form = action(setup)
    assert (form["DialCallStatus"], form["DialCallSid"], form["DialBridged"]) == (status, child["sid"], bridged)
    assert form.get("DialCallDuration") == ("5" if status == "completed" else None)
    assert (form["CallSid"], form["CallStatus"]) == (call["sid"], "in-progress")
    await setup.advance(30)
    assert setup.listener.at("/verb") == []  # verbs after a Dial with an action are unreachable
    assert setup.statuses(call["sid"])[-1] == "completed"


async def test_without_action_the_next_verb_runs_or_the_call_ends(setup: SimulatorSetup) -> None:
    goes_on = await dials(setup, noun(setup, BUSY), then="<Redirect>/verb</Redirect>")
    await setup.advance(6)
    assert len(setup.listener.at("/verb")) == 1
    assert (await setup.fetch(goes_on["sid"]))["status"] == "in-progress"
    ends = await dials(setup, noun(setup, BUSY))
    await setup.advance(6)
    assert (await setup.fetch(ends["sid"]))["status"] == "completed"


async def test_an_action_is_asked_by_get_where_it_says_so(setup: SimulatorSetup) -> None:
    await dials(setup, noun(setup, BUSY), action="/after?mine=1", method="GET")
    await setup.advance(6)
    request = setup.listener.at("/after")[0]
    assert (request.method, request.form["mine"], request.form["DialCallStatus"]) == ("GET", "1", "busy")


async def test_a_dial_of_nobody_does_nothing_and_an_invalid_number_fails(setup: SimulatorSetup) -> None:
    empty = await dials(setup, then="<Redirect>/verb</Redirect>", action="/after")
    await setup.advance(4)
    assert (len(setup.listener.at("/verb")), setup.listener.at("/after")) == (1, [])
    assert await setup.notes(empty["sid"]) == []
    invalid = await dials(setup, noun(setup, "nobody"), action="/after")
    await setup.advance(4)
    assert action(setup)["DialCallStatus"] == "failed"
    assert await setup.notes(invalid["sid"]) == [("13224", "1")]
    assert await setup.children(invalid["sid"]) == []


async def test_bare_text_is_a_number_and_the_caller_id_is_shown(setup: SimulatorSetup) -> None:
    call = await dials(setup, ANSWERS, callerId="+12025550177")
    await setup.advance(6)
    (child,) = await setup.children(call["sid"])
    assert (child["to"], child["from"], child["status"]) == (ANSWERS, "+12025550177", "in-progress")


async def test_a_noun_wins_over_bare_text(setup: SimulatorSetup) -> None:
    call = await dials(setup, LATE + noun(setup, ANSWERS))
    await setup.advance(6)
    assert [leg["to"] for leg in await setup.children(call["sid"])] == [ANSWERS]


async def test_at_most_ten_are_rung(setup: SimulatorSetup) -> None:
    call = await dials(setup, *[noun(setup, NEVER)] * 12)
    await setup.advance(4)
    assert len(await setup.children(call["sid"])) == 10
    assert await setup.notes(call["sid"]) == [("12200", "1")]


async def test_a_noun_without_events_reports_completed_alone_and_a_strange_one_is_noted(setup: SimulatorSetup) -> None:
    plain = f'<Number statusCallback="{setup.status}">{HANGS_UP}</Number>'
    strange = f'<Number statusCallback="{setup.status}" statusCallbackEvent="done ringing">{NEVER}</Number>'
    call = await dials(setup, plain, strange)
    await setup.advance(15)
    first, second = await setup.children(call["sid"])
    assert (setup.statuses(first["sid"]), setup.statuses(second["sid"])) == (["completed"], ["ringing"])
    assert await setup.notes(call["sid"]) == [("21626", "1")]


@pytest.mark.parametrize(
    ("noun_", "events", "strange"),
    [
        ("Number", "initiated,ringing", "'initiated,ringing'"),
        ("Client", "answered, completed", "'answered,'"),
        ("Sip", "[&quot;answered&quot;]", "'[\"answered\"]'"),
        ("Number", "in-progress", "'in-progress'"),
        ("Application", "no-answer", "'no-answer'"),
        ("Number", "", "''"),
        ("Conference", "answered", "'answered'"),
        ("Conference", "start,end", "'start,end'"),
    ],
)
@pytest.mark.parametrize("callback", [True, False])
async def test_events_that_are_none_are_noted_whatever_else_the_noun_says(
    noun_: str, events: str, strange: str, *, callback: bool
) -> None:
    seen: list[Noted] = []
    async with simulator_setup(on_traffic=lambda one: seen.append(one) if isinstance(one, Noted) else None) as setup:
        await _noted(setup, noun_, events, callback=callback)
    assert [(note.code, note.is_warning) for note in seen].count((21626, True)) == 1
    assert f"statusCallbackEvent: {strange} is no event" in "".join(note.text for note in seen)


async def _noted(setup: SimulatorSetup, noun_: str, events: str, *, callback: bool) -> None:
    reports = f'statusCallback="{setup.status}"' if callback else ""
    call = await dials(setup, f'<{noun_} {reports} statusCallbackEvent="{events}">{NEVER}</{noun_}>')
    await setup.advance(3)
    assert ("21626", "1") in await setup.notes(call["sid"])


@pytest.mark.parametrize(
    ("noun_", "events"), [("Number", "initiated ringing  answered completed"), ("Conference", "start end join leave")]
)
async def test_events_that_are_some_are_not(setup: SimulatorSetup, noun_: str, events: str) -> None:
    call = await dials(setup, f'<{noun_} statusCallbackEvent="{events}">{NEVER}</{noun_}>')
    await setup.advance(3)
    assert "21626" not in [code for code, _ in await setup.notes(call["sid"])]


async def test_a_whisper_connects_when_it_ends(setup: SimulatorSetup) -> None:
    setup.listener.documents["/whisper"] = "<Response><Say>A call for you</Say></Response>"
    call = await dials(setup, noun(setup, HANGS_UP, url="/whisper"), action="/after")
    await setup.advance(15)
    (child,) = await setup.children(call["sid"])
    form = setup.listener.at("/whisper")[0].form
    assert (form["CallSid"], form["ParentCallSid"]) == (child["sid"], call["sid"])
    assert form["CallStatus"] == "in-progress"
    assert (action(setup)["DialCallStatus"], action(setup)["DialBridged"]) == ("completed", "true")


async def test_a_whisper_may_decline(setup: SimulatorSetup) -> None:
    setup.listener.documents["/whisper"] = "<Response><Hangup/></Response>"
    call = await dials(setup, noun(setup, ANSWERS, url="/whisper"), action="/after")
    await setup.advance(8)
    (child,) = await setup.children(call["sid"])
    assert child["status"] == "completed"
    assert action(setup)["DialBridged"] == "false"


async def test_a_whisper_that_can_not_be_had_ends_the_callee(setup: SimulatorSetup) -> None:
    for address, expected in (("/missing", "11200"), ("ftp://127.0.0.1/", "11200")):
        call = await dials(setup, noun(setup, ANSWERS, url=address), then="<Pause length='50'/>")
        await setup.advance(6)
        (child,) = await setup.children(call["sid"])
        assert setup.statuses(child["sid"]) == ["initiated", "ringing", "in-progress", "completed"]
        assert expected in [code for code, _ in await setup.notes(call["sid"]) + await setup.notes(child["sid"])]
        assert (await setup.fetch(call["sid"]))["status"] == "in-progress"


async def test_a_status_callback_that_is_no_url_is_noted(setup: SimulatorSetup) -> None:
    for document in (
        f'<Response><Dial><Number statusCallback="/status">{ANSWERS}</Number></Dial></Response>',
        f'<Response><Dial><Number statusCallback="http://[">{ANSWERS}</Number></Dial></Response>',
    ):
        call = await setup.place(Twiml=document)
        await setup.advance(6)
        assert await setup.notes(call["sid"]) == [("11200", "0")]
        assert [leg["status"] for leg in await setup.children(call["sid"])] == ["in-progress"]


async def test_a_whisper_may_ask_for_a_digit_and_not_dial(setup: SimulatorSetup) -> None:
    setup.listener.documents |= {
        "/whisper": '<Response><Dial>+12025550100</Dial><Gather numDigits="1" action="/accept"/><Hangup/></Response>',
        "/accept": "<Response/>",
    }
    call = await dials(setup, noun(setup, "+12025550107", url="/whisper"), action="/after")
    await setup.advance(10)
    (child,) = await setup.children(call["sid"])
    assert [arrived.form["Digits"] for arrived in setup.listener.at("/accept")] == ["1"]
    assert (child["status"], await setup.children(child["sid"])) == ("in-progress", [])
    assert await setup.notes(child["sid"]) == [("12200", "1")]


async def test_a_star_ends_the_conversation_where_it_may(setup: SimulatorSetup) -> None:
    call = await dials(setup, noun(setup, ANSWERS), action="/after", hangupOnStar="true")
    await setup.advance(6)
    await setup.by_hand(call["sid"], "press", digits="1*")
    await setup.advance(1)
    assert action(setup)["DialCallStatus"] == "completed"


async def test_a_star_ends_nothing_by_itself(setup: SimulatorSetup) -> None:
    call = await dials(setup, noun(setup, ANSWERS), action="/after")
    await setup.advance(6)
    await setup.by_hand(call["sid"], "press", digits="*")
    await setup.advance(1)
    assert setup.listener.at("/after") == []


async def test_keys_that_a_gather_did_not_wait_for_end_no_dial() -> None:
    async with simulator_setup(far_end={LATE: FarEnd(digits="*", digits_after=6)}) as setup:
        gather = '<Gather timeout="1" finishOnKey=""/>'
        dial = f'<Dial hangupOnStar="true">{noun(setup, ANSWERS)}</Dial>'
        call = await setup.place(LATE, Twiml=f"<Response>{gather}{dial}</Response>")
        await setup.advance(20)
        assert [leg["status"] for leg in await setup.children(call["sid"])] == ["in-progress"]


async def test_a_noun_may_ask_who_answers(setup: SimulatorSetup) -> None:
    await dials(setup, noun(setup, VOICEMAIL, machineDetection="Enable"), noun(setup, BUSY))
    await setup.advance(80)
    answered_by = {arrived.form["To"]: arrived.form.get("AnsweredBy") for arrived in setup.listener.at("/status")}
    assert answered_by == {VOICEMAIL: "machine_start", BUSY: None, ANSWERS: None}


async def test_a_later_dial_leaves_no_call_unanswered(setup: SimulatorSetup) -> None:
    dial = f'<Dial answerOnBridge="true">{noun(setup, LATE)}</Dial>'
    setup.listener.documents["/in"] = f"<Response><Pause/>{dial}</Response>"
    call = await setup.incoming(f"{setup.listener.url}/in")
    await setup.advance(2)
    assert setup.statuses(call["sid"]) == ["in-progress"]


async def test_an_incoming_call_may_be_answered_by_the_bridge(setup: SimulatorSetup) -> None:
    setup.listener.documents["/in"] = f'<Response><Dial answerOnBridge="true">{noun(setup, LATE)}</Dial></Response>'
    call = await setup.incoming(f"{setup.listener.url}/in")
    await setup.advance(20)
    assert (await setup.fetch(call["sid"]))["status"] == "ringing"
    await setup.advance(1)
    assert (await setup.fetch(call["sid"]))["status"] == "in-progress"


# What the other leg sees


async def test_a_redirected_parent_drops_its_child_asks_the_action_and_goes_on(setup: SimulatorSetup) -> None:
    timeline: list[tuple[str, float]] = []
    call = await dials(setup, noun(setup, ANSWERS), action="/after")
    await setup.advance(6.0)
    setup.listener.documents["/new"] = "<Response><Pause length='30'/></Response>"
    await setup.update(call["sid"], Url=f"{setup.listener.url}/new")
    began = setup.sim.simulated_seconds()
    await setup.advance(2)
    (child,) = await setup.children(call["sid"])
    for arrived in setup.listener.arrived:
        if arrived.path in ("/after", "/new"):
            timeline.append((arrived.path, round(arrived.at - began, 2)))
        elif arrived.form["CallSid"] == child["sid"] and arrived.form["CallStatus"] == "completed":
            timeline.append(("child", round(arrived.at - began, 2)))
    # As measured on live Twilio: 0.17, 0.32 and 0.65 seconds after the update.
    assert timeline == [("child", 0.17), ("/after", 0.32), ("/new", 0.65)]
    assert action(setup)["DialCallStatus"] == "completed"
    assert (await setup.fetch(call["sid"]))["status"] == "in-progress"
    await setup.advance(25)
    assert (await setup.fetch(call["sid"]))["status"] == "in-progress"  # /new rules, not the 20 s of /after


async def test_a_second_redirect_during_the_first_asks_the_action_once(setup: SimulatorSetup) -> None:
    call = await dials(setup, noun(setup, ANSWERS), action="/after")
    await setup.advance(6)
    setup.listener.documents |= {"/new": "<Response><Pause/></Response>", "/newer": "<Response><Pause/></Response>"}
    await setup.update(call["sid"], Url=f"{setup.listener.url}/new")
    await setup.advance(0.45)
    await setup.update(call["sid"], Url=f"{setup.listener.url}/newer")
    await setup.advance(3)
    assert (len(setup.listener.at("/after")), len(setup.listener.at("/newer"))) == (1, 1)
    assert setup.listener.at("/new") == []


async def test_a_parent_redirected_while_its_dial_rings(setup: SimulatorSetup) -> None:
    call = await dials(setup, noun(setup, NEVER), action="/after")
    await setup.advance(6)
    await setup.update(call["sid"], Twiml="<Response><Pause length='5'/></Response>")
    await setup.advance(10)
    (child,) = await setup.children(call["sid"])
    assert (child["status"], action(setup)["DialCallStatus"]) == ("canceled", "canceled")
    assert setup.statuses(call["sid"])[-1] == "completed"


async def test_a_parent_hung_up_during_the_tear_down_leaves_no_child(setup: SimulatorSetup) -> None:
    call = await dials(setup, noun(setup, ANSWERS), action="/after")
    await setup.advance(6)
    await setup.update(call["sid"], Twiml="<Response><Pause/></Response>")
    await setup.update(call["sid"], Status="completed")
    await setup.advance(1)
    (child,) = await setup.children(call["sid"])
    assert (child["status"], setup.listener.at("/after")) == ("completed", [])


async def test_a_redirected_child_runs_its_own_document_and_the_parent_goes_on(setup: SimulatorSetup) -> None:
    call = await dials(setup, noun(setup, ANSWERS), action="/after")
    await setup.advance(6)
    (child,) = await setup.children(call["sid"])
    await setup.update(child["sid"], Twiml="<Response><Pause length='60'/></Response>")
    await setup.advance(1)
    form = action(setup)
    assert (form["DialCallStatus"], form["DialCallSid"]) == ("completed", child["sid"])
    assert "DialCallDuration" not in form
    await setup.advance(25)
    assert (await setup.fetch(call["sid"]))["status"] == "completed"  # the 20 s of /after are over
    assert (await setup.fetch(child["sid"]))["status"] == "in-progress"
    await setup.advance(40)
    assert setup.statuses(child["sid"])[-1] == "completed"


async def test_a_redirected_child_without_action_leaves_the_parent_to_its_next_verb(setup: SimulatorSetup) -> None:
    call = await dials(setup, noun(setup, ANSWERS), then="<Redirect>/verb</Redirect>")
    await setup.advance(6)
    (child,) = await setup.children(call["sid"])
    await setup.update(child["sid"], Twiml="<Response><Pause length='60'/></Response>")
    await setup.advance(1)
    assert len(setup.listener.at("/verb")) == 1
    bare = await dials(setup, noun(setup, ANSWERS))
    await setup.advance(6)
    (child,) = await setup.children(bare["sid"])
    await setup.update(child["sid"], Twiml="<Response><Pause length='60'/></Response>")
    await setup.advance(0.1)
    assert (await setup.fetch(bare["sid"]))["status"] == "completed"


async def test_both_legs_can_be_moved_on(setup: SimulatorSetup) -> None:
    call = await dials(setup, noun(setup, ANSWERS), then="<Pause length='50'/>")
    await setup.advance(6)
    (child,) = await setup.children(call["sid"])
    await setup.update(child["sid"], Twiml=f"<Response><Dial>{noun(setup, HANGS_UP)}</Dial></Response>")
    await setup.advance(4)
    (grandchild,) = await setup.children(child["sid"])
    assert (grandchild["parent_call_sid"], grandchild["status"]) == (child["sid"], "in-progress")
    await setup.advance(10)
    assert (await setup.fetch(child["sid"]))["status"] == "completed"
    assert (await setup.fetch(call["sid"]))["status"] == "in-progress"


@pytest.mark.parametrize("first", ["parent", "child"])
async def test_both_legs_can_be_moved_at_once(setup: SimulatorSetup, first: str) -> None:
    call = await dials(setup, noun(setup, ANSWERS), action="/after")
    await setup.advance(6)
    (child,) = await setup.children(call["sid"])
    setup.listener.documents["/new"] = "<Response><Pause length='60'/></Response>"
    for leg in (call, child) if first == "parent" else (child, call):
        assert (await setup.update(leg["sid"], Url=f"{setup.listener.url}/new"))[0] == 200
    await setup.advance(5)
    assert {arrived.form["CallSid"] for arrived in setup.listener.at("/new")} == {call["sid"], child["sid"]}
    assert [setup.statuses(leg["sid"])[-1] for leg in (call, child)] == ["in-progress", "in-progress"]


async def test_an_ended_child_leaves_the_parent_to_the_action(setup: SimulatorSetup) -> None:
    call = await dials(setup, noun(setup, ANSWERS), action="/after")
    await setup.advance(8.6)
    (child,) = await setup.children(call["sid"])
    await setup.update(child["sid"], Status="completed")
    await setup.advance(1)
    assert (action(setup)["DialCallStatus"], action(setup)["DialCallDuration"]) == ("completed", "4")
    assert (await setup.fetch(call["sid"]))["status"] == "in-progress"


async def test_a_canceled_child_leaves_the_parent_to_the_action(setup: SimulatorSetup) -> None:
    call = await dials(setup, noun(setup, NEVER), action="/after")
    await setup.advance(6)
    (child,) = await setup.children(call["sid"])
    await setup.update(child["sid"], Status="canceled")
    await setup.advance(1)
    assert action(setup)["DialCallStatus"] == "canceled"


async def test_a_parent_that_ends_takes_its_children_along(setup: SimulatorSetup) -> None:
    for ended_by in ("update", "far end"):
        call = await dials(setup, noun(setup, ANSWERS), action="/after")
        await setup.advance(6)
        (child,) = await setup.children(call["sid"])
        if ended_by == "update":
            await setup.update(call["sid"], Status="completed")
        else:
            await setup.by_hand(call["sid"], "hangup")
        await setup.advance(1)
        assert [setup.statuses(sid)[-1] for sid in (call["sid"], child["sid"])] == ["completed", "completed"]
    assert setup.listener.at("/after") == []


async def test_what_nobody_hears_or_sees_here_is_not_noted(setup: SimulatorSetup) -> None:
    number = "<Number sendDigits='wwww1'>+12025550105</Number>"
    dial = f"<Dial ringTone='us' callReason='lunch' trim='do-not-trim'>{number}</Dial>"
    call = await setup.place(Twiml=f"<Response>{dial}</Response>")
    await setup.advance(20)
    assert await setup.notes(call["sid"]) == []
