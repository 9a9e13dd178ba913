"""The far end: the table, the file that goes over it, and by hand."""

from dataclasses import fields
from pathlib import Path

import pytest
from simulator.setup import (
    ANSWERS,
    BUSY,
    DIGITS,
    FAILS,
    HANGS_UP,
    NEVER,
    VOICEMAIL,
    Json,
    SimulatorSetup,
    simulator_setup,
)

from callctl.simulator import FarEnd, FarEndError, load_far_ends
from callctl.simulator.far_end import BY_NUMBER, Directory

PLAIN = Directory({})


@pytest.mark.parametrize(
    ("number", "name", "far_end"),
    [
        ("+12025550100", "answers", FarEnd(after=2)),
        ("+12025550101", "late", FarEnd(after=20)),
        ("+12025550102", "busy", FarEnd("busy", after=1)),
        ("+12025550103", "no-answer", FarEnd("never")),
        ("+12025550104", "not-found", FarEnd("fails", after=0.5, sip_code=404)),
        ("+12025550105", "hangs-up", FarEnd(hang_up_after=5)),
        ("+12025550106", "voicemail", FarEnd(after=4, voicemail=True, hang_up_after=60)),
        ("+12025550107", "digits", FarEnd(digits="1")),
    ],
)
def test_by_number_and_by_name(number: str, name: str, far_end: FarEnd) -> None:
    for address in (
        number,
        f"sip:{name}@example.com",
        f"client:{name}",
        f"sip:{number}@example.com",
        f"SIP:{name}@x;a=b",
    ):
        assert PLAIN.find(address) == far_end
    assert BY_NUMBER[number] == name


@pytest.mark.parametrize("address", ["+442079460000", "sip:agent@example.com", "client:ann", "+12025550108", "default"])
def test_any_other_does_as_the_first(address: str) -> None:
    assert PLAIN.find(address) == FarEnd()


def test_a_file_adds_and_overrides(tmp_path: Path) -> None:
    path = tmp_path / "far.toml"
    path.write_text(
        '["+12025550100"]\noutcome = "rejects"\nafter = "3s"\n'
        '["sip:desk@example.com"]\nhang-up-after = "1500ms"\ndigits = "12#"\ndigits-after = "0s"\n'
        '["desk"]\noutcome = "fails"\nsip-code = 503\n'
        '["ann"]\nanswers = ["1", "yes"]\nconfidence = false\nanswered-by = "fax"\ngreeting = "9s"\n'
        '["default"]\nvoicemail = true\n'
    )
    directory = Directory(load_far_ends(path))
    assert directory.find("+12025550100") == FarEnd("rejects", after=3)
    assert directory.find("sip:desk@example.com") == FarEnd(hang_up_after=1.5, digits="12#", digits_after=0)
    assert directory.find("client:desk") == FarEnd("fails", sip_code=503)
    assert directory.find("client:ann") == FarEnd(answers=("1", "yes"), confidence=None, answered_by="fax", greeting=9)
    assert directory.find("+12025550199") == FarEnd(voicemail=True)
    assert directory.find("+12025550102") == directory.find("client:busy") == FarEnd("busy", after=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('["x"]\nafter = "soon"', r'\["x"\] after'),
        ('["x"]\nafter = "-1s"', 'such as "3s" or "500ms"'),
        ('["x"]\nafter = "3"', "a time with its unit"),
        ('["x"]\nafter = 3', "a time with its unit"),
        ('["x"]\nafter = true', "a time with its unit"),
        ('["x"]\noutcome = "sleeps"', "one of answers, busy"),
        ('["x"]\ncolour = "red"', "unknown key; known are outcome, after"),
        ('["x"]\ndigits = "hello"', "digits"),
        ('["x"]\nsip-code = 200', "400 to 699"),
        ('["x"]\nvoicemail = 1', "true or false"),
        ('["x"]\nanswers = "1"', "up to 100 texts"),
        ('["x"]\nanswers = [1]', "up to 100 texts"),
        ('["x"]\nconfidence = 2', "0 to 1, or false"),
        ('["x"]\nconfidence = true', "0 to 1, or false"),
        ('["x"]\nanswered-by = "dog"', "one of human, fax"),
        ('["x"]\ngreeting = 5', "a time with its unit"),
        ("x = 1", "must be a table"),
        ("[x", "far.toml"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "far.toml"
    path.write_text(text)
    with pytest.raises(FarEndError, match=message):
        load_far_ends(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FarEndError, match="No such file"):
        load_far_ends(tmp_path / "none.toml")


async def test_a_far_end_that_rejects() -> None:
    async with simulator_setup(far_end={ANSWERS: FarEnd("rejects", after=1)}) as setup:
        call = await setup.place()
        await setup.advance(5)
        assert (setup.last(call["sid"])["CallStatus"], setup.last(call["sid"])["SipResponseCode"]) == (
            "no-answer",
            "603",
        )


@pytest.mark.parametrize("written", ["+12025550150", "+1 (202) 555-0150", "2025550150"])
async def test_an_address_may_be_written_as_in_a_request(tmp_path: Path, written: str) -> None:
    path = tmp_path / "far.toml"
    path.write_text(f'["{written}"]\noutcome = "busy"\n')
    async with simulator_setup(far_end=load_far_ends(path)) as setup:
        call = await setup.place("+12025550150")
        await setup.advance(5)
        assert setup.statuses(call["sid"])[-1] == "busy"


async def test_a_far_end_that_fails_as_it_was_set() -> None:
    async with simulator_setup(far_end={ANSWERS: FarEnd("fails", sip_code=503)}) as setup:
        call = await setup.place()
        await setup.advance(5)
        last = setup.last(call["sid"])
        assert (last["CallStatus"], last["SipResponseCode"]) == ("failed", "503")


class TestAtRunTime:
    async def set(self, setup: SimulatorSetup, **given: object) -> tuple[int, Json]:
        return await setup.control("POST", "/far-ends", given)

    async def test_an_address_does_another_thing_from_now_on(self, setup: SimulatorSetup) -> None:
        before = await setup.place("+12025550150")
        status, body = await self.set(setup, address="+1 (202) 555-0150", outcome="busy", after="500ms")
        assert (status, body["address"], body["outcome"], body["after"]) == (200, "+12025550150", "busy", 0.5)
        after = await setup.place("+12025550150")
        await setup.advance(5)
        assert [setup.statuses(call["sid"])[-1] for call in (before, after)] == ["in-progress", "busy"]
        await self.set(setup, address="+12025550150")
        again = await setup.place("+12025550150")
        await setup.advance(5)
        assert setup.statuses(again["sid"])[-1] == "in-progress"

    async def test_all_keys_of_a_file(self, setup: SimulatorSetup) -> None:
        given = {
            "outcome": "answers", "after": 1, "hang_up_after": "1m", "voicemail": True, "digits": "1",
            "digits_after": 2.0, "sip_code": 503, "words": "Hello", "answered_by": "fax", "greeting": "3s",
            "answers": ["1", "yes"], "confidence": False,
        }  # fmt: skip
        status, body = await self.set(setup, address="client:ann", **given)
        assert (status, body.pop("address")) == (200, "client:ann")
        assert setup.sim.far_ends["client:ann"] == FarEnd(
            "answers", 1, 60, True, "1", 2, 503, "Hello", "fax", 3, answers=("1", "yes"), confidence=None
        )
        assert {field.name for field in fields(FarEnd)} == set(given) == set(body)
        assert (await setup.control("GET", "/far-ends"))[1] == {"far_ends": {"client:ann": body}}
        assert await self.set(setup, address="client:bob", **body) == (200, {"address": "client:bob"} | body)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"outcome": "busy"}, "address is missing in the body: expected a text"),
            ({"address": "x", "outcome": "sleeps"}, "[\"x\"] outcome = 'sleeps': expected one of answers, busy"),
            ({"address": "x", "colour": "red"}, "'colour': unknown key in the body; known are address, outcome"),
            ({"address": "x", "voicemail": "maybe"}, "[\"x\"] voicemail = 'maybe': expected true or false"),
            ({"address": "x", "sip_code": "soon"}, "[\"x\"] sip_code = 'soon': expected a SIP error code"),
            ({"address": "x", "hang_up_after": -1}, '["x"] hang_up_after = -1: expected a time'),
            ({"address": "x", "confidence": 2}, '["x"] confidence = 2: expected a number from 0 to 1'),
            ({"address": " "}, "address must be 1 to 1000 characters"),
        ],
    )
    async def test_what_is_wrong_is_said(self, setup: SimulatorSetup, given: dict[str, object], message: str) -> None:
        status, body = await self.set(setup, **given)
        assert (status, body["code"]) == (400, 20001)
        assert message in body["message"]

    async def test_there_is_an_end_to_them(self, setup: SimulatorSetup, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("callctl.simulator.switch.switch.MAX_FAR_ENDS", 1)
        assert [(await self.set(setup, address=address))[0] for address in ("a", "a", "b")] == [200, 200, 400]


class TestByHand:
    async def test_answer(self, setup: SimulatorSetup) -> None:
        call = await setup.place(NEVER, Twiml="<Response><Pause length='3'/></Response>")
        await setup.advance(1)
        status, body = await setup.by_hand(call["sid"], "answer")
        assert (status, body["status"]) == (200, "in-progress")
        await setup.advance(4)
        assert setup.statuses(call["sid"]) == ["initiated", "ringing", "in-progress", "completed"]

    async def test_a_child_is_answered_and_hung_up(self, setup: SimulatorSetup) -> None:
        call = await setup.place(
            Twiml=f"<Response><Dial><Number>{NEVER}</Number></Dial><Pause length='60'/></Response>"
        )
        await setup.advance(4)
        (child,) = await setup.children(call["sid"])
        await setup.by_hand(child["sid"], "answer")
        await setup.advance(10)
        await setup.by_hand(child["sid"], "hangup")
        shown = await setup.fetch(child["sid"])
        assert (shown["status"], shown["duration"]) == ("completed", "10")
        assert (await setup.fetch(call["sid"]))["status"] == "in-progress"

    async def test_hanging_up_while_it_rings_declines(self, setup: SimulatorSetup) -> None:
        call = await setup.place(NEVER)
        await setup.advance(1)
        await setup.by_hand(call["sid"], "hangup")
        await setup.advance(1)
        assert setup.statuses(call["sid"])[-1] == "no-answer"

    async def test_an_incoming_caller_gives_up(self, setup: SimulatorSetup) -> None:
        setup.listener.documents["/in"] = "<Response><Pause length='30'/></Response>"
        call = await setup.incoming(f"{setup.listener.url}/in")
        await setup.advance(1)
        await setup.by_hand(call["sid"], "hangup")
        await setup.advance(1)
        assert setup.statuses(call["sid"]) == ["canceled"]

    @pytest.mark.parametrize(
        ("to", "seconds", "action"),
        [
            (BUSY, 5, "hangup"),
            (HANGS_UP, 0, "hangup"),
            (HANGS_UP, 0, "answer"),
            (FAILS, 5, "answer"),
            (NEVER, 2, "press"),
        ],
    )
    async def test_what_can_not_be_done_now(self, setup: SimulatorSetup, to: str, seconds: float, action: str) -> None:
        call = await setup.place(to)
        await setup.advance(seconds)
        status, body = await setup.by_hand(call["sid"], action, **({"digits": "1"} if action == "press" else {}))
        assert (status, body["code"]) == (400, 21220)

    async def test_who_calls_can_not_be_made_to_answer(self, setup: SimulatorSetup) -> None:
        setup.listener.documents["/in"] = "<Response><Pause length='30'/></Response>"
        call = await setup.incoming(f"{setup.listener.url}/in")
        await setup.advance(1)
        status, body = await setup.by_hand(call["sid"], "answer")
        assert (status, body["code"]) == (400, 21220)
        await setup.advance(1)
        assert (await setup.fetch(call["sid"]))["status"] == "ringing"

    async def test_unknown_actions_legs_and_digits(self, setup: SimulatorSetup) -> None:
        call = await setup.place()
        await setup.advance(5)
        assert (await setup.by_hand(call["sid"], "sing"))[0] == 404
        assert (await setup.by_hand("CA0", "answer"))[0] == 404
        for digits in ("", "hello", "1" * 65):
            assert (await setup.by_hand(call["sid"], "press", digits=digits))[0] == 400

    @pytest.mark.parametrize("header", ["Origin", "Referer", "Sec-Fetch-Site"])
    async def test_a_browser_page_is_refused(self, setup: SimulatorSetup, header: str) -> None:
        call = await setup.place(NEVER)
        await setup.advance(1)
        headers = setup.headers | {header: "http://127.0.0.1:8000"}
        by_hand = (f"/simulator/calls/{call['sid']}/answer", "/simulator/calls")
        for path in (*by_hand, f"{setup.account}/Calls.json", f"{setup.account}/Calls/{call['sid']}.json"):
            async with setup.session.post(setup.sim.url + path, data={"Status": "completed"}, headers=headers) as reply:
                assert (reply.status, (await reply.json())["code"]) == (403, 20403)
        status, _ = await setup.request("GET", f"{setup.account}/Calls/{call['sid']}.json", headers=headers)
        assert status == 200  # no page can read the answer: nothing here allows it to
        assert (await setup.fetch(call["sid"]))["status"] == "ringing"

    @pytest.mark.parametrize(("missing", "code"), [("to", 21201), ("from", 21213), ("url", 21205)])
    async def test_an_incoming_call_needs(self, setup: SimulatorSetup, missing: str, code: int) -> None:
        given = {"to": VOICEMAIL, "from": ANSWERS, "url": "http://127.0.0.1:9/"}
        del given[missing]
        status, body = await setup.control("POST", "/calls", given)
        assert (status, body["code"]) == (400, code)

    async def test_a_caller_answers_the_survey_with_one_digit(self, setup: SimulatorSetup) -> None:
        call = await setup.place(DIGITS, Url=f"{setup.sim.url}/simulator/survey")
        await setup.advance(8)
        forms = [each.form for each in setup.sim.requests if each.path == "/simulator/survey"]
        assert [form.get("Digits") for form in forms] == [None, ("1",)]
        assert setup.statuses(call["sid"])[-1] == "completed"

    async def test_the_survey_needs_no_credentials(self, setup: SimulatorSetup) -> None:
        async with setup.session.post(f"{setup.sim.url}/simulator/survey") as reply:
            assert (reply.status, "<Gather" in await reply.text()) == (200, True)
        async with setup.session.post(f"{setup.sim.url}/simulator/survey", data={"Digits": "5"}) as reply:
            assert "Thank you" in await reply.text()


def test_a_mark_at_the_beginning_of_the_file_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "far.toml").write_bytes(b'\xef\xbb\xbf[late]\nafter = "3s"\n')
    assert load_far_ends(tmp_path / "far.toml") == {"late": FarEnd(after=3)}
