"""TwiML: documents read, fetched and run; what is wrong with them noted once; verbs in order."""

import uuid

import pytest
from aiohttp import web
from simulator.setup import ANSWERS, DIGITS, FROM, SimulatorSetup, simulator_setup


async def run(setup: SimulatorSetup, document: str, *, seconds: float = 10, to: str = ANSWERS, **params: str) -> str:
    """Serve a document at /doc, place a call that runs it, and let time pass from its answer; return the SID."""
    setup.listener.documents["/doc"] = document
    call = await setup.place(to, Url=f"{setup.listener.url}/doc", **params)
    await setup.advance(2.3 + 0.1 + seconds)
    return str(call["sid"])


async def duration(setup: SimulatorSetup, sid: str) -> str:
    return str((await setup.fetch(sid))["duration"])


async def test_verbs_run_in_order_and_the_end_of_the_document_ends_the_call(setup: SimulatorSetup) -> None:
    sid = await run(setup, "<Response><Say>0123456789</Say><Play>x.mp3</Play><Pause length='3'/></Response>")
    assert await duration(setup, sid) == "6"  # 0.1 + 0.6 + 2 + 3
    assert [arrived.path for arrived in setup.listener.arrived if arrived.path != "/status"] == [
        "/doc"
    ]  # nothing else fetched


async def test_a_document_may_come_with_the_request(setup: SimulatorSetup) -> None:
    call = await setup.place(Twiml="<Response><Pause length='4'/></Response>")
    await setup.advance(10)
    assert await duration(setup, call["sid"]) == "4"


async def test_url_beats_twiml(setup: SimulatorSetup) -> None:
    sid = await run(setup, "<Response><Pause length='4'/></Response>", Twiml="<Response><Hangup/></Response>")
    assert await duration(setup, sid) == "4"


async def test_the_request_for_twiml_carries_what_twilio_sends(setup: SimulatorSetup) -> None:
    sid = await run(setup, "<Response/>")
    (request,) = setup.listener.at("/doc")
    assert request.method == "POST"
    expected = {
        "CallSid": sid,
        "AccountSid": setup.sim.account_sid,
        "From": FROM,
        "Caller": FROM,
        "To": ANSWERS,
        "Called": ANSWERS,
        "CallStatus": "in-progress",
        "ApiVersion": "2010-04-01",
        "Direction": "outbound-api",
        "FromCountry": "US",
        "ToZip": "",
    }
    assert expected.items() <= request.form.items()
    assert not {"Timestamp", "SequenceNumber", "CallbackSource", "ParentCallSid"} & set(request.form)
    assert request.headers["User-Agent"] == "TwilioProxy/1.1"


async def test_of_a_number_elsewhere_no_country_is_reported(setup: SimulatorSetup) -> None:
    setup.listener.documents["/doc"] = "<Response/>"
    await setup.place("+442079460000", Url=f"{setup.listener.url}/doc")
    await setup.advance(3)
    (request,) = setup.listener.at("/doc")
    assert (request.form["ToCountry"], request.form["FromCountry"]) == ("", "US")


async def test_every_request_for_twiml_has_a_token_of_its_own(setup: SimulatorSetup) -> None:
    setup.listener.documents["/doc"] = "<Response><Redirect/></Response>"
    await setup.place(Url=f"{setup.listener.url}/doc")
    await setup.advance(3)
    tokens = [arrived.headers["I-Twilio-Idempotency-Token"] for arrived in setup.listener.at("/doc")]
    assert len(tokens) > 1
    assert len(set(tokens)) == len(tokens) == len([uuid.UUID(token) for token in tokens])


async def test_it_is_asked_by_get_where_the_request_says_so(setup: SimulatorSetup) -> None:
    setup.listener.documents["/doc"] = "<Response/>"
    await setup.place(Url=f"{setup.listener.url}/doc?mine=a%20b", Method="GET")
    await setup.advance(3)
    (request,) = setup.listener.at("/doc")
    assert (request.method, request.form["mine"], request.form["CallStatus"]) == ("GET", "a b", "in-progress")


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("", "12100"),
        ("<Response><Say>", "12100"),
        ("<Reply/>", "12100"),
        ("Hello", "12100"),
        ('<!DOCTYPE r [<!ENTITY a "b">]><Response><Say>&a;</Say></Response>', "12100"),
        (f"<Response><Say>{'x' * 70_000}</Say></Response>", "12100"),
        (None, "11200"),
        (500, "11200"),
    ],
)
@pytest.mark.parametrize("fallback", [False, True])
async def test_a_document_that_fails_is_noted_once(
    setup: SimulatorSetup, document: str | int | None, code: str, *, fallback: bool
) -> None:
    if isinstance(document, int):
        status = document
        setup.listener.documents["/doc"] = lambda _: web.Response(status=status)
    elif document is not None:
        setup.listener.documents["/doc"] = document
    setup.listener.documents["/spare"] = "<Response><Pause length='20'/></Response>"
    url = setup.listener.url
    spare = {"FallbackUrl": f"{url}/spare"} if fallback else {}
    call = await setup.place(Url=f"{url}/doc", **spare)
    await setup.advance(5)
    assert await setup.notes(call["sid"]) == [(code, "0")]
    assert (await setup.fetch(call["sid"]))["status"] == ("in-progress" if fallback else "completed")
    if fallback:
        (request,) = setup.listener.at("/spare")
        assert (request.form["ErrorCode"], request.form["ErrorUrl"]) == (code, f"{url}/doc")


@pytest.mark.parametrize(
    ("kind", "seconds", "notes"),
    [
        ("text/xml; charset=utf-8", "9", []),
        ("application/xml", "9", []),
        ("Text/HTML", "9", []),
        ("text/plain", "4", []),  # what is in it is read out
        ("audio/mpeg", "2", []),
        ("application/json", "0", [("12300", "0")]),
        ("", "0", [("12300", "0")]),
    ],
)
async def test_the_content_type_decides_what_a_reply_is(
    setup: SimulatorSetup, kind: str, seconds: str, notes: list[tuple[str, str]]
) -> None:
    body = b"<Response><Pause length='9'/><!-- of 65 characters --></Response>"
    setup.listener.documents["/doc"] = lambda _: web.Response(body=body, headers={"Content-Type": kind})
    call = await setup.place(Url=f"{setup.listener.url}/doc")
    await setup.advance(30)
    assert await duration(setup, call["sid"]) == seconds
    assert await setup.notes(call["sid"]) == notes


async def test_an_incoming_call_whose_document_fails_fails(setup: SimulatorSetup) -> None:
    call = await setup.incoming(f"{setup.listener.url}/nothing")
    await setup.advance(1)
    assert setup.statuses(call["sid"]) == ["failed"]


async def test_a_fallback_that_fails_too_is_noted_too(setup: SimulatorSetup) -> None:
    url = setup.listener.url
    call = await setup.place(Url=f"{url}/one", FallbackUrl=f"{url}/two")
    await setup.advance(5)
    assert await setup.notes(call["sid"]) == [("11200", "0")] * 2
    assert (await setup.fetch(call["sid"]))["status"] == "completed"


async def test_a_verb_that_is_not_imitated_is_noted_and_passed_over(setup: SimulatorSetup) -> None:
    document = "<Response><Pay/><!-- aside --><?aside?><Refer/><Pause length='4'/></Response>"
    sid = await run(setup, document)
    assert await duration(setup, sid) == "4"
    assert await setup.notes(sid) == [("12200", "1"), ("12200", "1")]


async def test_a_noun_that_is_not_imitated_is_noted(setup: SimulatorSetup) -> None:
    sid = await run(setup, "<Response><Dial><Sim>DE1</Sim></Dial><Pause length='4'/></Response>")
    assert await duration(setup, sid) == "4"
    assert await setup.notes(sid) == [("12200", "1")]


async def test_nothing_after_hangup_or_redirect_runs(setup: SimulatorSetup) -> None:
    setup.listener.documents["/never"] = "<Response/>"
    sid = await run(setup, "<Response><Hangup/><Redirect>/never</Redirect></Response>")
    assert (await duration(setup, sid), setup.listener.at("/never")) == ("0", [])


@pytest.mark.parametrize("target", ["/next", "next", "{url}/next"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_redirect_is_relative_or_absolute(setup: SimulatorSetup, target: str, method: str) -> None:
    setup.listener.documents["/next"] = "<Response><Pause length='5'/></Response>"
    address = target.format(url=setup.listener.url)
    sid = await run(setup, f'<Response><Redirect method="{method}">{address}</Redirect><Play>x</Play></Response>')
    assert await duration(setup, sid) == "5"
    assert [arrived.method for arrived in setup.listener.at("/next")] == [method]


async def test_the_fallback_is_for_every_document_of_the_call(setup: SimulatorSetup) -> None:
    setup.listener.documents["/spare"] = "<Response><Pause length='20'/></Response>"
    document = "<Response><Gather numDigits='1' action='/gone'/></Response>"
    sid = await run(setup, document, to=DIGITS, FallbackUrl=f"{setup.listener.url}/spare")
    (request,) = setup.listener.at("/spare")
    expected = {"ErrorCode": "11200", "ErrorUrl": f"{setup.listener.url}/gone", "Digits": "1"}
    assert expected.items() <= request.form.items()
    assert (await setup.fetch(sid))["status"] == "in-progress"


async def test_a_redirect_to_nowhere_fails_or_falls_back(setup: SimulatorSetup) -> None:
    call = await setup.place(Twiml="<Response><Redirect>/next</Redirect></Response>")
    await setup.advance(5)
    assert await setup.notes(call["sid"]) == [("11200", "0")]
    assert (await setup.fetch(call["sid"]))["status"] == "completed"
    setup.listener.documents["/spare"] = "<Response><Pause length='20'/></Response>"
    call = await setup.place(
        Twiml="<Response><Redirect>ftp://x/</Redirect></Response>", FallbackUrl=f"{setup.listener.url}/spare"
    )
    await setup.advance(5)
    assert (await setup.fetch(call["sid"]))["status"] == "in-progress"


async def test_reject_after_the_answer_hangs_up(setup: SimulatorSetup) -> None:
    sid = await run(setup, "<Response><Pause length='2'/><Reject/><Pause length='9'/></Response>")
    assert await duration(setup, sid) == "2"


class TestGather:
    async def test_digits_by_hand_until_the_finish_key(self, setup: SimulatorSetup) -> None:
        setup.listener.documents["/got"] = "<Response><Pause length='30'/></Response>"
        sid = await run(setup, '<Response><Gather action="/got" timeout="9"/></Response>', seconds=1)
        for digits in ("1", "23#9"):
            await setup.by_hand(sid, "press", digits=digits)
            await setup.advance(1)
        (form,) = [request.form for request in setup.listener.at("/got")]
        assert (form["Digits"], form["FinishedOnKey"], form["msg"]) == ("123", "#", "Gather End")

    async def test_silence_falls_through_to_the_next_verb(self, setup: SimulatorSetup) -> None:
        setup.listener.documents |= {"/got": "<Response/>", "/next": "<Response><Pause length='30'/></Response>"}
        gather = '<Gather action="/got"><Say>0123456789</Say></Gather>'
        await run(setup, f"<Response>{gather}<Redirect>/next</Redirect></Response>", seconds=5.5)
        assert (setup.listener.at("/got"), setup.listener.at("/next")) == ([], [])  # 0.6 s of Say, 5 s of time-out
        await setup.advance(0.2)
        assert (setup.listener.at("/got"), len(setup.listener.at("/next"))) == ([], 1)

    async def test_silence_asks_the_action_where_set(self, setup: SimulatorSetup) -> None:
        setup.listener.documents["/got"] = "<Response/>"
        gather = '<Gather action="/got" actionOnEmptyResult="true" timeout="1"/>'
        await run(setup, f"<Response>{gather}</Response>")
        assert [arrived.form["Digits"] for arrived in setup.listener.at("/got")] == [""]

    async def test_the_action_is_by_default_the_same_document(self, setup: SimulatorSetup) -> None:
        setup.listener.documents["/doc"] = lambda form: (
            "<Response><Hangup/></Response>"
            if "Digits" in form
            else "<Response><Gather numDigits='1'/><Pause length='60'/></Response>"
        )
        call = await setup.place(DIGITS, Url=f"{setup.listener.url}/doc")
        await setup.advance(10)
        assert [arrived.form.get("Digits") for arrived in setup.listener.at("/doc")] == [None, "1"]
        assert (await setup.fetch(call["sid"]))["status"] == "completed"

    async def test_without_any_address_the_digits_go_nowhere(self, setup: SimulatorSetup) -> None:
        call = await setup.place(DIGITS, Twiml="<Response><Gather numDigits='1'/><Pause length='4'/></Response>")
        await setup.advance(10)
        assert (await duration(setup, call["sid"]), await setup.notes(call["sid"])) == ("5", [("11100", "0")])

    async def test_a_digit_cuts_the_prompt_short(self, setup: SimulatorSetup) -> None:
        setup.listener.documents["/got"] = "<Response/>"
        sid = await run(
            setup,
            '<Response><Gather numDigits="2" action="/got"><Play loop="0">x</Play></Gather></Response>',
            seconds=1,
        )
        await setup.by_hand(sid, "press", digits="42")
        await setup.advance(0)
        assert [arrived.form["Digits"] for arrived in setup.listener.at("/got")] == ["42"]

    async def test_no_finish_key(self, setup: SimulatorSetup) -> None:
        setup.listener.documents["/got"] = "<Response/>"
        sid = await run(setup, '<Response><Gather finishOnKey="" action="/got"/></Response>', seconds=1)
        await setup.by_hand(sid, "press", digits="1#2")
        await setup.advance(5.2)
        assert [arrived.form["Digits"] for arrived in setup.listener.at("/got")] == ["1#2"]

    async def test_an_empty_answer_to_the_action_hangs_up(self, setup: SimulatorSetup) -> None:
        setup.listener.documents["/got"] = "<Response/>"
        sid = await run(
            setup, '<Response><Gather numDigits="1" action="/got"/><Pause length="60"/></Response>', to=DIGITS
        )
        assert (await setup.fetch(sid))["status"] == "completed"

    async def test_what_can_not_be_in_it_is_noted(self, setup: SimulatorSetup) -> None:
        sid = await run(setup, "<Response><Gather><Dial>+12025550100</Dial></Gather></Response>")
        assert await setup.notes(sid) == [("12200", "1")]


async def test_what_is_not_imitated_is_said_once_in_a_call(setup: SimulatorSetup) -> None:
    sid = await run(setup, "<Response><Pay/><Say volume='1'>a</Say><Pay/><Pause length='3'/></Response>", seconds=2)
    assert await setup.notes(sid) == [("12200", "1")] * 2
    assert (await setup.fetch(sid))["status"] == "in-progress"


@pytest.mark.parametrize("document", ["<Pay/>", "<Say volume='1'>a</Say>", "<Dial><WhatsApp>a</WhatsApp></Dial>"])
async def test_a_strict_call_fails_for_what_is_not_imitated(document: str) -> None:
    async with simulator_setup(strict=True) as setup:
        sid = await run(setup, f"<Response>{document}<Pause length='3'/></Response>", seconds=0.1)
        assert (await setup.fetch(sid))["status"] == "failed"
        assert await setup.notes(sid) == [("12200", "1"), ("12100", "0")]
        assert setup.statuses(sid)[-1] == "failed"


async def test_a_strict_call_that_uses_what_is_imitated_goes_on() -> None:
    async with simulator_setup(strict=True) as setup:
        sid = await run(setup, "<Response><Say voice='alice'>a</Say><Pause length='3'/></Response>", seconds=1)
        assert (await setup.fetch(sid))["status"] == "in-progress"


async def test_a_relative_address_in_twiml_of_a_request_is_explained(setup: SimulatorSetup) -> None:
    twiml = "<Response><Dial action='/after'><Number statusCallback='/status'>+12025550102</Number></Dial></Response>"
    call = await setup.place(Twiml=twiml)
    await setup.advance(20)
    _, body = await setup.request("GET", f"{setup.account}/Calls/{call['sid']}/Notifications.json")
    texts = [note["message_text"] for note in body["notifications"]]
    assert ["a document that came as Twiml has none" in text for text in texts] == [True, True]
