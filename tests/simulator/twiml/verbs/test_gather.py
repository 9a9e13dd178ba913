"""<Gather> with speech: what is said, when it is over, and what the action is told of it."""

import pytest
from simulator.setup import ANSWERS, FROM, SimulatorSetup, simulator_setup

from callctl.simulator import FarEnd

ASKED = "+12025550150"
BOTH = 'input="dtmf speech"'


async def asked(
    setup: SimulatorSetup, attributes: str, *, to: str = ANSWERS, inside: str = "", after: float = 1.0
) -> str:
    """Place a call whose document is a Gather, and let seconds pass since it began; return the call's SID."""
    gather = f'<Gather {attributes} action="/got">{inside}</Gather>'
    setup.listener.documents |= {"/doc": f"<Response>{gather}<Pause length='60'/></Response>"}
    setup.listener.documents |= {"/got": "<Response><Pause length='60'/></Response>"}
    call = await setup.place(to, Url=f"{setup.listener.url}/doc")
    await setup.advance(2.3 + 0.1 + after)
    return str(call["sid"])


def results(setup: SimulatorSetup) -> list[dict[str, str]]:
    """What each request to the action said of the input."""
    names = ("SpeechResult", "Confidence", "Digits", "FinishedOnKey")
    forms = (arrived.form for arrived in setup.listener.at("/got"))
    return [{name: form[name] for name in names if name in form} for form in forms]


class TestSpeech:
    async def test_a_pause_ends_it(self, setup: SimulatorSetup) -> None:
        sid = await asked(setup, 'input="speech" speechTimeout="2"')
        await setup.by_hand(sid, "say", words="sales please")  # 0.72 s
        await setup.advance(2.7)
        assert results(setup) == []
        await setup.advance(0.2)
        assert results(setup) == [{"SpeechResult": "sales please", "Confidence": "0.92"}]
        assert await setup.notes(sid) == []

    @pytest.mark.parametrize(
        ("attributes", "pause"),
        [("", 5), ('timeout="3"', 3), ('speechTimeout="auto"', 1), ('timeout="9" speechTimeout="2"', 2)],
    )
    async def test_the_pause_is_the_timeout_by_default(
        self, setup: SimulatorSetup, attributes: str, pause: float
    ) -> None:
        sid = await asked(setup, f'input="speech" {attributes}')
        await setup.by_hand(sid, "say", words="0123456789")  # 0.6 s
        await setup.advance(pause + 0.5)
        assert results(setup) == []
        await setup.advance(0.2)
        assert len(results(setup)) == 1

    async def test_words_within_the_pause_belong_to_it(self, setup: SimulatorSetup) -> None:
        sid = await asked(setup, 'input="speech" speechTimeout="2"')
        for words in ("sales", "no", "support"):
            await setup.by_hand(sid, "say", words=words)
            await setup.advance(1.5)
        await setup.advance(2)
        assert [each["SpeechResult"] for each in results(setup)] == ["sales no support"]

    async def test_it_cuts_the_prompt_short(self, setup: SimulatorSetup) -> None:
        sid = await asked(setup, 'input="speech" speechTimeout="1"', inside='<Play loop="0">x</Play>')
        await setup.by_hand(sid, "say", words="yes")
        await setup.advance(1.3)
        assert [each["SpeechResult"] for each in results(setup)] == ["yes"]

    async def test_a_minute_of_it_at_most(self, setup: SimulatorSetup) -> None:
        sid = await asked(setup, 'input="speech" speechTimeout="2"')
        await setup.by_hand(sid, "say", words="0123456789" * 110)  # 66 s
        await setup.advance(59.9)
        assert results(setup) == []
        await setup.advance(0.3)
        assert [len(each["SpeechResult"]) for each in results(setup)] == [1000]

    async def test_keys_end_nothing_and_are_no_input(self, setup: SimulatorSetup) -> None:
        sid = await asked(setup, 'input="speech" timeout="5" numDigits="1"')
        await setup.by_hand(sid, "press", digits="1#")
        await setup.advance(10)
        assert results(setup) == []
        assert (await setup.fetch(sid))["status"] == "in-progress"  # in the verb behind it

    async def test_silence_asks_the_action_where_set(self, setup: SimulatorSetup) -> None:
        await asked(setup, 'input="speech" timeout="1" actionOnEmptyResult="true"', after=2)
        assert results(setup) == [{"SpeechResult": ""}]

    async def test_what_is_said_into_a_gather_for_keys_is_lost(self, setup: SimulatorSetup) -> None:
        sid = await asked(setup, 'numDigits="1"')
        await setup.by_hand(sid, "say", words="one")
        await setup.advance(10)
        assert results(setup) == []

    async def test_there_may_be_no_confidence(self) -> None:
        async with simulator_setup(far_end={ASKED: FarEnd(answers=("yes",), confidence=None)}) as setup:
            await asked(setup, 'input="speech"', to=ASKED, after=10)
            assert results(setup) == [{"SpeechResult": "yes"}]


class TestEither:
    async def test_words_first_leave_no_meaning_to_keys(self, setup: SimulatorSetup) -> None:
        sid = await asked(setup, f'{BOTH} speechTimeout="1" numDigits="1"')
        await setup.by_hand(sid, "say", words="one")
        await setup.by_hand(sid, "press", digits="1#")
        await setup.advance(3)
        assert results(setup) == [{"SpeechResult": "one", "Confidence": "0.92"}]

    async def test_a_star_is_no_key_of_its_own_while_somebody_speaks(self, setup: SimulatorSetup) -> None:
        sid = await asked(setup, f'{BOTH} speechTimeout="1" finishOnKey="*"')
        await setup.by_hand(sid, "say", words="one")
        await setup.by_hand(sid, "press", digits="*")
        await setup.advance(3)
        assert [each["SpeechResult"] for each in results(setup)] == ["one"]

    async def test_a_key_first_leaves_no_ear_for_words(self, setup: SimulatorSetup) -> None:
        sid = await asked(setup, f'{BOTH} timeout="2"')
        await setup.by_hand(sid, "press", digits="4")
        await setup.by_hand(sid, "say", words="two")
        await setup.advance(3)
        assert results(setup) == [{"Digits": "4"}]


class TestPartialResults:
    async def test_each_second_of_it_is_told(self, setup: SimulatorSetup) -> None:
        sid = await asked(setup, 'input="speech" speechTimeout="1" partialResultCallback="/status-partial"')
        await setup.by_hand(sid, "say", words="I would like to talk to sales, please")  # 37 characters: 2.22 s
        await setup.advance(5)
        forms = [arrived.form for arrived in setup.listener.at("/status-partial")]
        assert [(form["UnstableSpeechResult"], form["SequenceNumber"]) for form in forms] == [
            ("I would like to", "0"),
            ("I would like to talk to sales,", "1"),
            ("I would like to talk to sales, please", "2"),
        ]
        assert {form["CallSid"] for form in forms} == {sid}
        assert [each["SpeechResult"] for each in results(setup)] == ["I would like to talk to sales, please"]

    async def test_they_are_posted_unless_it_says_otherwise(self, setup: SimulatorSetup) -> None:
        partial = 'partialResultCallback="/status-partial" partialResultCallbackMethod="GET"'
        sid = await asked(setup, f'input="speech" speechTimeout="1" {partial}')
        await setup.by_hand(sid, "say", words="yes")
        await setup.advance(3)
        assert [arrived.method for arrived in setup.listener.at("/status-partial")] == ["GET"]

    async def test_one_that_fails_is_noted_and_changes_nothing(self, setup: SimulatorSetup) -> None:
        sid = await asked(setup, 'input="speech" speechTimeout="1" partialResultCallback="/gone"')
        await setup.by_hand(sid, "say", words="yes")
        await setup.advance(3)
        assert len(results(setup)) == 1
        assert await setup.notes(sid) == [("11200", "0")]


@pytest.mark.parametrize(
    "attributes",
    [
        'input="voice"',
        'input="dtmf voice"',
        'input="speech" speechTimeout="auto" speechModel="phone_call"',
        'input="speech" bargeIn="false"',
    ],
)
async def test_what_makes_no_sense_or_is_not_imitated_is_noted(setup: SimulatorSetup, attributes: str) -> None:
    sid = await asked(setup, attributes)
    assert await setup.notes(sid) == [("12200", "1")]


async def test_what_tunes_the_recognition_is_not(setup: SimulatorSetup) -> None:
    tuned = 'input="speech" language="en-GB" hints="sales,support" profanityFilter="false" enhanced="true"'
    sid = await asked(setup, f'{tuned} speechModel="phone_call" speechTimeout="3" bargeIn="true"')
    assert await setup.notes(sid) == []


class TestAnswers:
    async def test_one_gather_after_the_other_then_the_digits(self) -> None:
        far_end = FarEnd(answers=("12#", "", "yes please"), digits="7")
        async with simulator_setup(far_end={ASKED: far_end}) as setup:
            gather = f'<Gather {BOTH} timeout="3" speechTimeout="1" action="/got"/>'
            asking = f"<Response>{gather}<Redirect>/doc</Redirect></Response>"
            setup.listener.documents |= {"/doc": asking, "/got": asking}
            await setup.place(ASKED, Url=f"{setup.listener.url}/doc")
            await setup.advance(20)
            found = [result.get("SpeechResult") or result["Digits"] for result in results(setup)]
            assert found == ["12", "yes please", "7", "7"]
            assert len(setup.listener.at("/doc")) == 2  # the second was met with silence

    async def test_by_hand_they_begin_anew(self, setup: SimulatorSetup) -> None:
        gather = f'<Gather {BOTH} numDigits="1" timeout="3" speechTimeout="1" action="/got"/>'
        asking = f"<Response>{gather}<Redirect>/doc</Redirect></Response>"
        setup.listener.documents |= {"/doc": asking, "/got": asking}
        call = await setup.place(ANSWERS, Url=f"{setup.listener.url}/doc")
        await setup.advance(4)
        status, _ = await setup.by_hand(call["sid"], "answers", answers=["no", "2"])
        assert status == 200
        await setup.advance(10)
        assert [each.get("SpeechResult") or each["Digits"] for each in results(setup)] == ["no", "2"]

    async def test_they_hold_for_a_call_that_still_rings_and_for_none_that_ended(self, setup: SimulatorSetup) -> None:
        setup.listener.documents |= {"/doc": '<Response><Gather numDigits="1" action="/got"/></Response>'}
        setup.listener.documents |= {"/got": "<Response/>"}
        call = await setup.place(ANSWERS, Url=f"{setup.listener.url}/doc")
        await setup.by_hand(call["sid"], "answers", answers=["3"])
        await setup.advance(10)
        assert results(setup) == [{"Digits": "3"}]
        status, body = await setup.by_hand(call["sid"], "answers", answers=["3"])
        assert (status, body["code"]) == (400, 21220)

    async def test_of_an_incoming_call_who_calls_answers(self) -> None:
        async with simulator_setup(far_end={ASKED: FarEnd(answers=("help",))}) as setup:
            setup.listener.documents |= {"/in": '<Response><Gather input="speech" action="/got"/></Response>'}
            setup.listener.documents |= {"/got": "<Response/>"}
            await setup.incoming(f"{setup.listener.url}/in", caller=ASKED)
            await setup.advance(10)
            assert (setup.listener.at("/got")[0].form["To"], results(setup)[0]["SpeechResult"]) == (FROM, "help")
