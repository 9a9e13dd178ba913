"""<Dial>: its legs, who wins, the callbacks of each, and what becomes of the caller."""

from collections.abc import Mapping

import pytest
from simulator.world import (
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
    World,
    a_world,
)

from callctl.simulator import FarEnd, Noted


def noun(world: World, address: str, kind: str = "Number", **attributes: str) -> str:
    extra = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f'<{kind} statusCallback="{world.status}" {EVENTS_ATTRIBUTE}{extra}>{address}</{kind}>'


async def dials(world: World, *nouns: str, then: str = "", **attributes: str) -> Json:
    """Place a call whose document dials, served from /dial; its action, if any, answers with a pause."""
    extra = "".join(f' {name}="{value}"' for name, value in attributes.items())
    world.listener.documents |= {
        "/dial": f"<Response><Dial{extra}>{''.join(nouns)}</Dial>{then}</Response>",
        "/after": "<Response><Pause length='20'/></Response>",
        "/verb": "<Response><Pause length='20'/></Response>",
    }
    return await world.place(ANSWERS, Url=f"{world.listener.url}/dial")


def action(world: World) -> Mapping[str, str]:
    received: list[ArrivedRequest] = world.listener.at("/after")
    assert len(received) == 1
    return received[0].form


async def test_a_child_is_reported_with_its_parent(world: World) -> None:
    call = await dials(world, noun(world, HANGS_UP))
    await world.advance(15)
    (child,) = await world.children(call["sid"])
    assert world.callbacks(child["sid"]) == [("initiated", 0), ("ringing", 1), ("in-progress", 2), ("completed", 3)]
    last = world.last(child["sid"])
    assert (last["ParentCallSid"], last["Direction"], last["To"]) == (call["sid"], "outbound-dial", HANGS_UP)
    assert (last["From"], last["CallDuration"], last["SipResponseCode"]) == (FROM, "5", "200")
    assert "ParentCallSid" not in world.last(call["sid"])
    assert (child["parent_call_sid"], child["direction"], child["duration"]) == (call["sid"], "outbound-dial", "5")


async def test_a_child_skips_the_queue(world: World) -> None:
    call = await dials(world, noun(world, NEVER))
    await world.advance(2.45)
    (child,) = await world.children(call["sid"])
    assert child["status"] == "ringing"


@pytest.mark.parametrize(
    ("kind", "address", "to"),
    [
        ("Number", "(202) 555-0100", "+12025550100"),
        ("Sip", "sip:agent@example.com", "sip:agent@example.com"),
        ("Client", "ann", "client:ann"),
    ],
)
async def test_number_sip_and_client(world: World, kind: str, address: str, to: str) -> None:
    call = await dials(world, noun(world, address, kind))
    await world.advance(6)
    (child,) = await world.children(call["sid"])
    assert (child["to"], child["status"]) == (to, "in-progress")


async def test_the_first_to_answer_wins_and_the_others_are_canceled(world: World) -> None:
    nouns = [noun(world, LATE), noun(world, "agent", "Client"), noun(world, "sip:busy@example.com", "Sip")]
    call = await dials(world, *nouns)
    await world.advance(10)
    children = await world.children(call["sid"])
    assert [child["status"] for child in children] == ["canceled", "in-progress", "busy"]
    assert [world.statuses(child["sid"])[2] for child in children] == ["canceled", "in-progress", "busy"]
    assert [world.last(child["sid"]).get("SipResponseCode") for child in children] == ["487", None, "486"]


async def test_a_sequence_rings_one_after_the_other(world: World) -> None:
    call = await dials(world, noun(world, BUSY), noun(world, FAILS), noun(world, HANGS_UP), sequential="true")
    await world.advance(3)
    assert len(await world.children(call["sid"])) == 1
    await world.advance(17)
    children = await world.children(call["sid"])
    assert [world.statuses(child["sid"])[-1] for child in children] == ["busy", "failed", "completed"]
    arrived = [each.form["CallSid"] for each in world.listener.at("/status") if "ParentCallSid" in each.form]
    assert arrived == sorted(arrived, key=[child["sid"] for child in children].index)  # never two at once


async def test_a_dial_rings_thirty_seconds_unless_set(world: World) -> None:
    usual = await dials(world, noun(world, NEVER), action="/after")
    await world.advance(32.3)
    (child,) = await world.children(usual["sid"])
    assert child["status"] == "ringing"
    await world.advance(0.2)
    assert world.statuses(child["sid"])[-1] == "no-answer"
    assert action(world)["DialCallStatus"] == "no-answer"


async def test_a_dial_rings_as_long_as_its_timeout_says(world: World) -> None:
    call = await dials(world, noun(world, NEVER), timeout="5")
    await world.advance(8)
    assert [world.statuses(child["sid"])[-1] for child in await world.children(call["sid"])] == ["no-answer"]


async def test_a_dials_time_limit_ends_the_child_and_the_caller_goes_on(world: World) -> None:
    call = await dials(world, noun(world, ANSWERS), timeLimit="7", action="/after")
    await world.advance(13)
    assert [world.last(child["sid"])["CallDuration"] for child in await world.children(call["sid"])] == ["7"]
    assert action(world)["DialCallDuration"] == "7"


@pytest.mark.parametrize(
    ("to", "seconds", "status", "bridged"),
    [(HANGS_UP, 15, "completed", "true"), (BUSY, 6, "busy", "false"), (FAILS, 6, "failed", "false")],
)
async def test_the_action_gets_the_result(world: World, to: str, seconds: float, status: str, bridged: str) -> None:
    call = await dials(world, noun(world, to), then="<Redirect>/verb</Redirect>", action="/after")
    await world.advance(seconds)
    (child,) = await world.children(call["sid"])
    form = action(world)
    assert (form["DialCallStatus"], form["DialCallSid"], form["DialBridged"]) == (status, child["sid"], bridged)
    assert form.get("DialCallDuration") == ("5" if status == "completed" else None)
    assert (form["CallSid"], form["CallStatus"]) == (call["sid"], "in-progress")
    await world.advance(30)
    assert world.listener.at("/verb") == []  # verbs after a Dial with an action are unreachable
    assert world.statuses(call["sid"])[-1] == "completed"


async def test_without_action_the_next_verb_runs_or_the_call_ends(world: World) -> None:
    goes_on = await dials(world, noun(world, BUSY), then="<Redirect>/verb</Redirect>")
    await world.advance(6)
    assert len(world.listener.at("/verb")) == 1
    assert (await world.fetch(goes_on["sid"]))["status"] == "in-progress"
    ends = await dials(world, noun(world, BUSY))
    await world.advance(6)
    assert (await world.fetch(ends["sid"]))["status"] == "completed"


async def test_an_action_is_asked_by_get_where_it_says_so(world: World) -> None:
    await dials(world, noun(world, BUSY), action="/after?mine=1", method="GET")
    await world.advance(6)
    request = world.listener.at("/after")[0]
    assert (request.method, request.form["mine"], request.form["DialCallStatus"]) == ("GET", "1", "busy")


async def test_a_dial_of_nobody_does_nothing_and_an_invalid_number_fails(world: World) -> None:
    empty = await dials(world, then="<Redirect>/verb</Redirect>", action="/after")
    await world.advance(4)
    assert (len(world.listener.at("/verb")), world.listener.at("/after")) == (1, [])
    assert await world.notes(empty["sid"]) == []
    invalid = await dials(world, noun(world, "nobody"), action="/after")
    await world.advance(4)
    assert action(world)["DialCallStatus"] == "failed"
    assert await world.notes(invalid["sid"]) == [("13224", "1")]
    assert await world.children(invalid["sid"]) == []


async def test_bare_text_is_a_number_and_the_caller_id_is_shown(world: World) -> None:
    call = await dials(world, ANSWERS, callerId="+12025550177")
    await world.advance(6)
    (child,) = await world.children(call["sid"])
    assert (child["to"], child["from"], child["status"]) == (ANSWERS, "+12025550177", "in-progress")


async def test_a_noun_wins_over_bare_text(world: World) -> None:
    call = await dials(world, LATE + noun(world, ANSWERS))
    await world.advance(6)
    assert [leg["to"] for leg in await world.children(call["sid"])] == [ANSWERS]


async def test_at_most_ten_are_rung(world: World) -> None:
    call = await dials(world, *[noun(world, NEVER)] * 12)
    await world.advance(4)
    assert len(await world.children(call["sid"])) == 10
    assert await world.notes(call["sid"]) == [("12200", "1")] * 2


async def test_a_noun_without_events_reports_completed_alone_and_a_strange_one_is_noted(world: World) -> None:
    plain = f'<Number statusCallback="{world.status}">{HANGS_UP}</Number>'
    strange = f'<Number statusCallback="{world.status}" statusCallbackEvent="done ringing">{NEVER}</Number>'
    call = await dials(world, plain, strange)
    await world.advance(15)
    first, second = await world.children(call["sid"])
    assert (world.statuses(first["sid"]), world.statuses(second["sid"])) == (["completed"], ["ringing"])
    assert await world.notes(call["sid"]) == [("21626", "1")]


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
    async with a_world(on_traffic=lambda one: seen.append(one) if isinstance(one, Noted) else None) as world:
        await _noted(world, noun_, events, callback=callback)
    assert [(note.code, note.is_warning) for note in seen].count((21626, True)) == 1
    assert f"statusCallbackEvent: {strange} is no event" in "".join(note.text for note in seen)


async def _noted(world: World, noun_: str, events: str, *, callback: bool) -> None:
    reports = f'statusCallback="{world.status}"' if callback else ""
    call = await dials(world, f'<{noun_} {reports} statusCallbackEvent="{events}">{NEVER}</{noun_}>')
    await world.advance(3)
    assert ("21626", "1") in await world.notes(call["sid"])


@pytest.mark.parametrize(
    ("noun_", "events"), [("Number", "initiated ringing  answered completed"), ("Conference", "start end join leave")]
)
async def test_events_that_are_some_are_not(world: World, noun_: str, events: str) -> None:
    call = await dials(world, f'<{noun_} statusCallbackEvent="{events}">{NEVER}</{noun_}>')
    await world.advance(3)
    assert "21626" not in [code for code, _ in await world.notes(call["sid"])]


async def test_a_whisper_connects_when_it_ends(world: World) -> None:
    world.listener.documents["/whisper"] = "<Response><Say>A call for you</Say></Response>"
    call = await dials(world, noun(world, HANGS_UP, url="/whisper"), action="/after")
    await world.advance(15)
    (child,) = await world.children(call["sid"])
    form = world.listener.at("/whisper")[0].form
    assert (form["CallSid"], form["ParentCallSid"]) == (child["sid"], call["sid"])
    assert form["CallStatus"] == "in-progress"
    assert (action(world)["DialCallStatus"], action(world)["DialBridged"]) == ("completed", "true")


async def test_a_whisper_may_decline(world: World) -> None:
    world.listener.documents["/whisper"] = "<Response><Hangup/></Response>"
    call = await dials(world, noun(world, ANSWERS, url="/whisper"), action="/after")
    await world.advance(8)
    (child,) = await world.children(call["sid"])
    assert child["status"] == "completed"
    assert action(world)["DialBridged"] == "false"


async def test_a_whisper_that_can_not_be_had_ends_the_callee(world: World) -> None:
    for address, expected in (("/missing", "11200"), ("ftp://127.0.0.1/", "11200")):
        call = await dials(world, noun(world, ANSWERS, url=address), then="<Pause length='50'/>")
        await world.advance(6)
        (child,) = await world.children(call["sid"])
        assert world.statuses(child["sid"]) == ["initiated", "ringing", "in-progress", "completed"]
        assert expected in [code for code, _ in await world.notes(call["sid"]) + await world.notes(child["sid"])]
        assert (await world.fetch(call["sid"]))["status"] == "in-progress"


async def test_a_status_callback_that_is_no_url_is_noted(world: World) -> None:
    for document in (
        f'<Response><Dial><Number statusCallback="/status">{ANSWERS}</Number></Dial></Response>',
        f'<Response><Dial><Number statusCallback="http://[">{ANSWERS}</Number></Dial></Response>',
    ):
        call = await world.place(Twiml=document)
        await world.advance(6)
        assert await world.notes(call["sid"]) == [("11200", "0")]
        assert [leg["status"] for leg in await world.children(call["sid"])] == ["in-progress"]


async def test_a_whisper_may_ask_for_a_digit_and_not_dial(world: World) -> None:
    world.listener.documents |= {
        "/whisper": '<Response><Dial>+12025550100</Dial><Gather numDigits="1" action="/accept"/><Hangup/></Response>',
        "/accept": "<Response/>",
    }
    call = await dials(world, noun(world, "+12025550107", url="/whisper"), action="/after")
    await world.advance(10)
    (child,) = await world.children(call["sid"])
    assert [arrived.form["Digits"] for arrived in world.listener.at("/accept")] == ["1"]
    assert (child["status"], await world.children(child["sid"])) == ("in-progress", [])
    assert await world.notes(child["sid"]) == [("12200", "1")]


async def test_a_star_ends_the_conversation_where_it_may(world: World) -> None:
    call = await dials(world, noun(world, ANSWERS), action="/after", hangupOnStar="true")
    await world.advance(6)
    await world.by_hand(call["sid"], "digits", Digits="1*")
    await world.advance(1)
    assert action(world)["DialCallStatus"] == "completed"


async def test_a_star_ends_nothing_by_itself(world: World) -> None:
    call = await dials(world, noun(world, ANSWERS), action="/after")
    await world.advance(6)
    await world.by_hand(call["sid"], "digits", Digits="*")
    await world.advance(1)
    assert world.listener.at("/after") == []


async def test_keys_that_a_gather_did_not_wait_for_end_no_dial() -> None:
    async with a_world(far_end={LATE: FarEnd(digits="*", digits_after=6)}) as world:
        gather = '<Gather timeout="1" finishOnKey=""/>'
        dial = f'<Dial hangupOnStar="true">{noun(world, ANSWERS)}</Dial>'
        call = await world.place(LATE, Twiml=f"<Response>{gather}{dial}</Response>")
        await world.advance(20)
        assert [leg["status"] for leg in await world.children(call["sid"])] == ["in-progress"]


async def test_a_noun_may_ask_who_answers(world: World) -> None:
    await dials(world, noun(world, VOICEMAIL, machineDetection="Enable"), noun(world, BUSY))
    await world.advance(80)
    answered_by = {arrived.form["To"]: arrived.form.get("AnsweredBy") for arrived in world.listener.at("/status")}
    assert answered_by == {VOICEMAIL: "machine_start", BUSY: None, ANSWERS: None}


async def test_a_later_dial_leaves_no_call_unanswered(world: World) -> None:
    dial = f'<Dial answerOnBridge="true">{noun(world, LATE)}</Dial>'
    world.listener.documents["/in"] = f"<Response><Pause/>{dial}</Response>"
    call = await world.incoming(f"{world.listener.url}/in")
    await world.advance(2)
    assert world.statuses(call["sid"]) == ["in-progress"]


async def test_an_incoming_call_may_be_answered_by_the_bridge(world: World) -> None:
    world.listener.documents["/in"] = f'<Response><Dial answerOnBridge="true">{noun(world, LATE)}</Dial></Response>'
    call = await world.incoming(f"{world.listener.url}/in")
    await world.advance(20)
    assert (await world.fetch(call["sid"]))["status"] == "ringing"
    await world.advance(1)
    assert (await world.fetch(call["sid"]))["status"] == "in-progress"


# What the other leg sees


async def test_a_redirected_parent_drops_its_child_asks_the_action_and_goes_on(world: World) -> None:
    timeline: list[tuple[str, float]] = []
    call = await dials(world, noun(world, ANSWERS), action="/after")
    await world.advance(6.0)
    world.listener.documents["/new"] = "<Response><Pause length='30'/></Response>"
    await world.update(call["sid"], Url=f"{world.listener.url}/new")
    began = world.sim.simulated_seconds()
    await world.advance(2)
    (child,) = await world.children(call["sid"])
    for arrived in world.listener.arrived:
        if arrived.path in ("/after", "/new"):
            timeline.append((arrived.path, round(arrived.at - began, 2)))
        elif arrived.form["CallSid"] == child["sid"] and arrived.form["CallStatus"] == "completed":
            timeline.append(("child", round(arrived.at - began, 2)))
    # As measured on live Twilio: 0.17, 0.32 and 0.65 seconds after the update.
    assert timeline == [("child", 0.17), ("/after", 0.32), ("/new", 0.65)]
    assert action(world)["DialCallStatus"] == "completed"
    assert (await world.fetch(call["sid"]))["status"] == "in-progress"
    await world.advance(25)
    assert (await world.fetch(call["sid"]))["status"] == "in-progress"  # /new rules, not the 20 s of /after


async def test_a_second_redirect_during_the_first_asks_the_action_once(world: World) -> None:
    call = await dials(world, noun(world, ANSWERS), action="/after")
    await world.advance(6)
    world.listener.documents |= {"/new": "<Response><Pause/></Response>", "/newer": "<Response><Pause/></Response>"}
    await world.update(call["sid"], Url=f"{world.listener.url}/new")
    await world.advance(0.45)
    await world.update(call["sid"], Url=f"{world.listener.url}/newer")
    await world.advance(3)
    assert (len(world.listener.at("/after")), len(world.listener.at("/newer"))) == (1, 1)
    assert world.listener.at("/new") == []


async def test_a_parent_redirected_while_its_dial_rings(world: World) -> None:
    call = await dials(world, noun(world, NEVER), action="/after")
    await world.advance(6)
    await world.update(call["sid"], Twiml="<Response><Pause length='5'/></Response>")
    await world.advance(10)
    (child,) = await world.children(call["sid"])
    assert (child["status"], action(world)["DialCallStatus"]) == ("canceled", "canceled")
    assert world.statuses(call["sid"])[-1] == "completed"


async def test_a_parent_hung_up_during_the_tear_down_leaves_no_child(world: World) -> None:
    call = await dials(world, noun(world, ANSWERS), action="/after")
    await world.advance(6)
    await world.update(call["sid"], Twiml="<Response><Pause/></Response>")
    await world.update(call["sid"], Status="completed")
    await world.advance(1)
    (child,) = await world.children(call["sid"])
    assert (child["status"], world.listener.at("/after")) == ("completed", [])


async def test_a_redirected_child_runs_its_own_document_and_the_parent_goes_on(world: World) -> None:
    call = await dials(world, noun(world, ANSWERS), action="/after")
    await world.advance(6)
    (child,) = await world.children(call["sid"])
    await world.update(child["sid"], Twiml="<Response><Pause length='60'/></Response>")
    await world.advance(1)
    form = action(world)
    assert (form["DialCallStatus"], form["DialCallSid"]) == ("completed", child["sid"])
    assert "DialCallDuration" not in form
    await world.advance(25)
    assert (await world.fetch(call["sid"]))["status"] == "completed"  # the 20 s of /after are over
    assert (await world.fetch(child["sid"]))["status"] == "in-progress"
    await world.advance(40)
    assert world.statuses(child["sid"])[-1] == "completed"


async def test_a_redirected_child_without_action_leaves_the_parent_to_its_next_verb(world: World) -> None:
    call = await dials(world, noun(world, ANSWERS), then="<Redirect>/verb</Redirect>")
    await world.advance(6)
    (child,) = await world.children(call["sid"])
    await world.update(child["sid"], Twiml="<Response><Pause length='60'/></Response>")
    await world.advance(1)
    assert len(world.listener.at("/verb")) == 1
    bare = await dials(world, noun(world, ANSWERS))
    await world.advance(6)
    (child,) = await world.children(bare["sid"])
    await world.update(child["sid"], Twiml="<Response><Pause length='60'/></Response>")
    await world.advance(0.1)
    assert (await world.fetch(bare["sid"]))["status"] == "completed"


async def test_both_legs_can_be_moved_on(world: World) -> None:
    call = await dials(world, noun(world, ANSWERS), then="<Pause length='50'/>")
    await world.advance(6)
    (child,) = await world.children(call["sid"])
    await world.update(child["sid"], Twiml=f"<Response><Dial>{noun(world, HANGS_UP)}</Dial></Response>")
    await world.advance(4)
    (grandchild,) = await world.children(child["sid"])
    assert (grandchild["parent_call_sid"], grandchild["status"]) == (child["sid"], "in-progress")
    await world.advance(10)
    assert (await world.fetch(child["sid"]))["status"] == "completed"
    assert (await world.fetch(call["sid"]))["status"] == "in-progress"


@pytest.mark.parametrize("first", ["parent", "child"])
async def test_both_legs_can_be_moved_at_once(world: World, first: str) -> None:
    call = await dials(world, noun(world, ANSWERS), action="/after")
    await world.advance(6)
    (child,) = await world.children(call["sid"])
    world.listener.documents["/new"] = "<Response><Pause length='60'/></Response>"
    for leg in (call, child) if first == "parent" else (child, call):
        assert (await world.update(leg["sid"], Url=f"{world.listener.url}/new"))[0] == 200
    await world.advance(5)
    assert {arrived.form["CallSid"] for arrived in world.listener.at("/new")} == {call["sid"], child["sid"]}
    assert [world.statuses(leg["sid"])[-1] for leg in (call, child)] == ["in-progress", "in-progress"]


async def test_an_ended_child_leaves_the_parent_to_the_action(world: World) -> None:
    call = await dials(world, noun(world, ANSWERS), action="/after")
    await world.advance(8.6)
    (child,) = await world.children(call["sid"])
    await world.update(child["sid"], Status="completed")
    await world.advance(1)
    assert (action(world)["DialCallStatus"], action(world)["DialCallDuration"]) == ("completed", "4")
    assert (await world.fetch(call["sid"]))["status"] == "in-progress"


async def test_a_canceled_child_leaves_the_parent_to_the_action(world: World) -> None:
    call = await dials(world, noun(world, NEVER), action="/after")
    await world.advance(6)
    (child,) = await world.children(call["sid"])
    await world.update(child["sid"], Status="canceled")
    await world.advance(1)
    assert action(world)["DialCallStatus"] == "canceled"


async def test_a_parent_that_ends_takes_its_children_along(world: World) -> None:
    for ended_by in ("update", "far end"):
        call = await dials(world, noun(world, ANSWERS), action="/after")
        await world.advance(6)
        (child,) = await world.children(call["sid"])
        if ended_by == "update":
            await world.update(call["sid"], Status="completed")
        else:
            await world.by_hand(call["sid"], "hangup")
        await world.advance(1)
        assert [world.statuses(sid)[-1] for sid in (call["sid"], child["sid"])] == ["completed", "completed"]
    assert world.listener.at("/after") == []
