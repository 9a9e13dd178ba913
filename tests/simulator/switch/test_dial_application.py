"""<Dial><Application>: the account's own application answers, with its parameters, and hears the caller."""

import pytest
from simulator.setup import ANSWERS, DIGITS, EVENTS_ATTRIBUTE, FROM, HANGS_UP, Json, SimulatorSetup

MENU = '<Response><Gather numDigits="1" action="/chosen"><Say>Press a key.</Say></Gather><Say>Nothing.</Say></Response>'


async def application(setup: SimulatorSetup, **form: str) -> str:
    status, body = await setup.request("POST", f"{setup.account}/Applications.json", form)
    assert status == 201, body
    return str(body["sid"])


async def dials(setup: SimulatorSetup, noun: str, to: str = ANSWERS, **attributes: str) -> Json:
    extra = "".join(f' {name}="{value}"' for name, value in attributes.items())
    setup.listener.documents |= {
        "/dial": f'<Response><Dial action="/after"{extra}>{noun}</Dial></Response>',
        "/after": "<Response><Pause length='20'/></Response>",
    }
    return await setup.place(to, Url=f"{setup.listener.url}/dial")


def result(setup: SimulatorSetup) -> tuple[str | None, str | None]:
    (after,) = setup.listener.at("/after")
    return after.form.get("DialCallStatus"), after.form.get("DialCallDuration")


async def test_its_document_answers_and_its_end_ends_the_dial(setup: SimulatorSetup) -> None:
    setup.listener.documents["/app"] = "<Response><Say>Hi</Say><Pause length='7'/></Response>"
    app = await application(setup, VoiceUrl=f"{setup.listener.url}/app", VoiceMethod="GET")
    noun = (
        f'<Application statusCallback="{setup.status}" {EVENTS_ATTRIBUTE}><ApplicationSid>{app}</ApplicationSid>'
        '<Parameter name="room" value="7"/><Parameter name="CallSid" value="CA"/></Application>'
    )
    call = await dials(setup, noun)
    await setup.advance(15)
    (child,) = await setup.children(call["sid"])
    (asked,) = setup.listener.at("/app")
    assert (asked.method, asked.form["CallSid"], asked.form["CallStatus"]) == ("GET", child["sid"], "ringing")
    assert (asked.form["From"], asked.form["To"], asked.form["room"]) == (FROM, f"app:{app}", "7")
    assert asked.form["CustomerId"] == setup.sim.account_sid
    assert setup.statuses(child["sid"]) == ["initiated", "ringing", "in-progress", "completed"]
    assert (child["to"], child["direction"], child["parent_call_sid"]) == (f"app:{app}", "outbound-dial", call["sid"])
    assert result(setup) == ("completed", "7")
    assert await setup.notes(call["sid"]) == []


async def test_it_may_be_told_of_the_customer_and_of_whom_the_parent_called(setup: SimulatorSetup) -> None:
    setup.listener.documents["/app"] = "<Response/>"
    app = await application(setup, VoiceUrl=f"{setup.listener.url}/app")
    await dials(setup, f'<Application customerId="me" copyParentTo="true">{app}</Application>')
    await setup.advance(5)
    (asked,) = setup.listener.at("/app")
    assert (asked.form["To"], asked.form["Called"], asked.form["CustomerId"]) == (ANSWERS, ANSWERS, "me")


@pytest.mark.parametrize("far_end", [DIGITS, ANSWERS])
async def test_it_hears_the_keys_of_the_caller(setup: SimulatorSetup, far_end: str) -> None:
    setup.listener.documents |= {"/app": MENU, "/chosen": "<Response><Say>Thank you.</Say></Response>"}
    app = await application(setup, VoiceUrl=f"{setup.listener.url}/app")
    call = await dials(setup, f"<Application>{app}</Application>", far_end)
    await setup.advance(2.8)
    if far_end == ANSWERS:
        await setup.by_hand(call["sid"], "press", digits="1")
    await setup.advance(10)
    (chosen,) = setup.listener.at("/chosen")
    (child,) = await setup.children(call["sid"])
    assert (chosen.form["Digits"], chosen.form["CallSid"]) == ("1", child["sid"])
    assert result(setup)[0] == "completed"


@pytest.mark.parametrize(
    ("document", "status"),
    [("<Response><Reject reason='busy'/></Response>", "busy"), ("<Response><Reject/></Response>", "no-answer")],
)
async def test_it_may_reject(setup: SimulatorSetup, document: str, status: str) -> None:
    setup.listener.documents["/app"] = document
    app = await application(setup, VoiceUrl=f"{setup.listener.url}/app", StatusCallback=setup.status)
    call = await dials(setup, f"<Application>{app}</Application>")
    await setup.advance(5)
    (child,) = await setup.children(call["sid"])
    assert (child["status"], result(setup)) == (status, (status, None))
    assert setup.statuses(child["sid"]) == [status]  # the application's own callback, as the noun has none


async def test_a_document_that_can_not_be_had_fails(setup: SimulatorSetup) -> None:
    app = await application(setup, VoiceUrl=f"{setup.listener.url}/gone")
    call = await dials(setup, f"<Application>{app}</Application>")
    await setup.advance(5)
    (child,) = await setup.children(call["sid"])
    assert (child["status"], result(setup)) == ("failed", ("failed", None))
    assert await setup.notes(child["sid"]) == [("11200", "0")]


async def test_one_that_is_none_or_has_no_url_fails(setup: SimulatorSetup) -> None:
    for sid in ("AP" + "1" * 32, await application(setup)):
        setup.listener.arrived.clear()
        call = await dials(setup, f"<Application>{sid}</Application>")
        await setup.advance(5)
        assert result(setup) == ("failed", None)
        assert await setup.notes(call["sid"]) == [("21218", "0")]
        assert await setup.children(call["sid"]) == []


async def test_it_is_not_dialled_beside_others(setup: SimulatorSetup) -> None:
    setup.listener.documents["/app"] = "<Response/>"
    app = f"<Application>{await application(setup, VoiceUrl=f'{setup.listener.url}/app')}</Application>"
    number = f"<Number>{HANGS_UP}</Number>"
    for nouns, dialled in ((app + number, "app:"), (number + app, HANGS_UP)):
        call = await dials(setup, nouns)
        await setup.advance(10)
        (child,) = await setup.children(call["sid"])
        assert child["to"].startswith(dialled)
        assert await setup.notes(call["sid"]) == [("12200", "1")]


async def test_when_the_caller_goes_it_goes_too(setup: SimulatorSetup) -> None:
    setup.listener.documents["/app"] = "<Response><Say>Hi</Say><Pause length='60'/></Response>"
    app = await application(setup, VoiceUrl=f"{setup.listener.url}/app")
    call = await dials(setup, f"<Application>{app}</Application>")
    await setup.advance(5)
    await setup.update(call["sid"], Status="completed")
    await setup.advance(1)
    (child,) = await setup.children(call["sid"])
    assert (child["status"], (await setup.fetch(call["sid"]))["status"]) == ("completed", "completed")


async def test_a_clients_identity_may_have_an_element_of_its_own(setup: SimulatorSetup) -> None:
    noun = '<Client><Identity>ann</Identity><Parameter name="a" value="b"/></Client>'
    call = await dials(setup, noun)
    await setup.advance(6)
    (child,) = await setup.children(call["sid"])
    assert (child["to"], await setup.notes(call["sid"])) == ("client:ann", [])
