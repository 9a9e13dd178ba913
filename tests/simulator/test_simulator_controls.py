"""What a test does with a `Simulator` from Python: at the other end of calls, to time, and to all of it."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulator.setup import ANSWERS, BUSY, FROM, HANGS_UP, LATE, NEVER, SimulatorSetup, simulator_setup

from callctl.simulator import Call, FarEnd, Faults, Sent, Simulator, SimulatorError

PAUSE = "<Response><Pause length='60'/></Response>"
GATHER = "<Response><Gather input='dtmf speech' timeout='30'/><Pause length='60'/></Response>"
CALLER = "+12025550199"
SPLITS = st.lists(st.integers(1, 40_000_000), min_size=1, max_size=6)  # microseconds


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(manual_clock=True, seed=1, keep_finished=100) as simulator:
        yield simulator


def place(sim: Simulator, to: str = ANSWERS, **parameters: object) -> str:
    made = {"from_": FROM, "to": to} | (parameters or {"twiml": PAUSE})
    return str(sim.client.calls.create(**made).sid)


class TestCalls:
    def test_a_call_comes_in_is_spoken_to_and_ends(self, sim: Simulator) -> None:
        survey = f"{sim.url}/simulator/survey"
        call = sim.call(to=FROM, from_=CALLER, url=survey, status_callback=survey)
        assert (call.status, call.direction, call.from_, call.to) == ("ringing", "inbound", CALLER, FROM)
        assert sim.advance_until(status="in-progress", call=call.sid) == 0.1
        assert sim.press(call.sid, "5").status == "in-progress"
        sim.advance(10)
        done = sim.find(call.sid)
        assert (done.status, done.has_ended, done.notifications) == ("completed", True, ())
        assert [change.status for change in done.timeline] == ["ringing", "in-progress", "completed"]
        assert [sent.parameters.get("Digits") for sent in sim.sent if sent.kind == "document"] == [None, ("5",)]
        assert [callback.status for callback in sim.callbacks] == ["completed"]
        assert sim.calls == (done,)

    def test_a_number_that_was_created_says_where_its_document_is(self, sim: Simulator) -> None:
        sim.client.incoming_phone_numbers.create(phone_number=FROM, voice_url=f"{sim.url}/simulator/survey")
        sim.call(to=FROM, from_=CALLER)
        assert sim.advance_until(request="/simulator/survey") == 0
        assert [sent.kind for sent in sim.sent] == ["document"]

    def test_a_client_calls_with_parameters_of_its_own(self, sim: Simulator) -> None:
        application = sim.client.applications.create(voice_url=f"{sim.url}/simulator/survey")
        call = sim.call(from_="client:ann", application_sid=application.sid, parameters={"room": "7", "To": "x"})
        sim.advance(1)
        assert sim.sent[0].params["room"] == "7"
        assert sim.sent[0].params["To"] == call.to == f"app:{application.sid}"

    def test_what_the_far_end_does_of_a_call_that_goes_out(self, sim: Simulator) -> None:
        sid = place(sim, NEVER, twiml=GATHER)
        sim.advance(1)
        assert sim.answer(sid).status == "in-progress"
        sim.answer_gathers(sid, ["1", "yes"])
        sim.say(sid, "hello")
        assert sim.hang_up(sid).status == "completed"
        assert sim.find(sid).ended is not None

    def test_far_ends_are_set_and_told(self, sim: Simulator) -> None:
        sim.set_far_end("(202) 555-0150", FarEnd("busy", after=1))
        assert sim.far_ends == {"+12025550150": FarEnd("busy", after=1)}
        sid = place(sim, "+12025550150")
        assert sim.advance_until(status="busy") == 1.3
        assert sim.find(sid).status == "busy"

    @pytest.mark.parametrize(
        ("far_end", "message"),
        [
            (FarEnd("bussy"), r"outcome = 'bussy': expected one of answers"),
            (FarEnd(after=-1), "after = -1: expected a time"),
            (FarEnd(answered_by="cat"), "answered_by = 'cat'"),
            (FarEnd(digits="hello"), "digits = 'hello'"),
            (FarEnd(confidence=2), "confidence = 2"),
        ],
        ids=str,
    )
    def test_a_far_end_that_makes_no_sense(self, sim: Simulator, far_end: FarEnd, message: str) -> None:
        with pytest.raises(SimulatorError, match=message):
            sim.set_far_end(ANSWERS, far_end)
        assert sim.far_ends == {}

    @pytest.mark.parametrize(
        "far_end", [FarEnd(), FarEnd("rejects", hang_up_after=2, answers=("1", ""), confidence=None, answered_by="fax")]
    )
    def test_one_that_does(self, sim: Simulator, far_end: FarEnd) -> None:
        sim.set_far_end("default", far_end)
        assert sim.far_ends["default"] == far_end

    def test_errors_say_which_call_and_what_it_is(self, sim: Simulator) -> None:
        ringing, queued = place(sim, LATE), ""
        sim.advance(1)
        queued = place(sim)
        for act, message in (
            (lambda: sim.find("CA0"), "there is no call CA0"),
            (lambda: sim.press("CA0", "1"), "there is no call CA0"),
            (lambda: sim.press(ringing, "1"), f"call {ringing} is ringing: only one that is in-progress takes keys"),
            (lambda: sim.say(ringing, "a"), f"call {ringing} is ringing: only one that is in-progress takes words"),
            (lambda: sim.answer(queued), f"call {queued} is queued: only one that is ringing can be answered"),
            (lambda: sim.hang_up(queued), f"call {queued} is queued: there is no one to hang up"),
            (lambda: sim.press(ringing, "hello"), "digits must be 1 to 64 of 0-9"),
            (lambda: sim.say(ringing, " "), "words must be 1 to 4000 characters"),
            (lambda: sim.answer_gathers(ringing, "12"), "answers must be a list of up to 100 texts"),
            (lambda: sim.call(from_=CALLER), "No 'To' number is specified"),
            (lambda: sim.call(from_=CALLER, to=FROM), "Url parameter is required, since"),
            (lambda: sim.call(from_=CALLER, to=FROM, url="x"), "(?i)url"),
            (lambda: sim.call(from_=CALLER, to=FROM, twiml=PAUSE, parameters={"a": "b"}), "go with application_sid"),
        ):
            with pytest.raises(SimulatorError, match=message):
                act()  # type: ignore[no-untyped-call]

    def test_what_is_of_another_type_is_said_too(self, sim: Simulator) -> None:
        call: Any = sim.call(from_=CALLER, to=FROM, twiml=PAUSE)
        wrong: Any = sim
        for act, message in (
            (lambda: wrong.press(call, "1"), "a call's SID must be a text, and not a value of type Call"),
            (lambda: wrong.advance_until(status="busy", call=call), "a call's SID must be a text"),
            (lambda: wrong.press(call.sid, 1), "digits must be a text, and not a value of type int"),
            (lambda: wrong.say(call.sid, None), "words must be a text, and not a value of type NoneType"),
            (lambda: wrong.answer_gathers(call.sid, [1]), "answers must be a list of up to 100 texts"),
            (lambda: wrong.answer_gathers(call.sid, None), "answers must be a list of up to 100 texts"),
            (lambda: wrong.call(from_=CALLER, to=FROM, url=None), "Url must be a text"),
            (
                lambda: wrong.call(from_=CALLER, to=FROM, twiml=PAUSE, status_callback_event="completed"),
                "status_callback_event must be a list of texts",
            ),
            (lambda: wrong.set_far_end(BUSY, {"outcome": "busy"}), r"must be a FarEnd, such as FarEnd\("),
            (lambda: wrong.advance("90s"), "seconds must be a number, 0 or more, and not '90s'"),
        ):
            with pytest.raises(SimulatorError, match=message):
                act()  # type: ignore[no-untyped-call]

    def test_a_call_that_comes_in_is_answered_by_its_document(self, sim: Simulator) -> None:
        call = sim.call(from_=CALLER, to=FROM, twiml=PAUSE)
        with pytest.raises(SimulatorError, match=f"^call {call.sid} comes in: its far end is the caller, and its doc"):
            sim.answer(call.sid)

    def test_the_library_comes_pointed_at_it(self, sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in (("TWILIO_EDGE", "dublin"), ("TWILIO_REGION", "ie1"), ("HTTP_PROXY", "http://127.0.0.1:9")):
            monkeypatch.setenv(name, value)
        assert sim.client.api.v2010.accounts(sim.account_sid).fetch().status == "active"


class TestTime:
    def test_time_stamps_are_the_starts_and_what_was_advanced(self, sim: Simulator) -> None:
        first = sim.find(place(sim)).created
        sim.advance(3600)
        assert sim.find(place(sim)).created - first == timedelta(hours=1)
        assert first.microsecond == 0

    def test_until_a_status(self, sim: Simulator) -> None:
        busy, other = place(sim, BUSY), place(sim, HANGS_UP)
        assert sim.advance_until(status="ringing") == 0.3
        assert sim.advance_until(status="ringing") == 0  # they are
        assert sim.advance_until(status="busy") == 1
        assert sim.find(busy).has_ended
        assert sim.advance_until(status="completed", call=other) == 6
        assert sim.simulated_seconds() == 7.3
        assert sim.advance_until(status="completed", call=other) == 0  # it is
        with pytest.raises(SimulatorError, match=r"^no call was completed within 60 s: every call has ended$"):
            sim.advance_until(status="completed", limit=60)
        assert sim.simulated_seconds() == 67.3

    def test_until_a_status_that_a_call_passes_through(self, sim: Simulator) -> None:
        call = sim.call(to=FROM, from_=CALLER, twiml="<Response/>")
        assert sim.advance_until(status="in-progress", call=call.sid) == 0  # at once, and it has ended since
        assert sim.find(call.sid).status == "completed"

    def test_until_a_status_that_a_call_can_not_have_any_more(self, sim: Simulator) -> None:
        sid = place(sim, BUSY)
        with pytest.raises(
            SimulatorError, match=f"^call {sid} can't be in-progress any more: it ended as busy, at 1.3 s$"
        ):
            sim.advance_until(status="in-progress", call=sid)
        assert sim.simulated_seconds() == 1.3

    def test_one_that_failed_says_why(self, sim: Simulator) -> None:
        call = sim.call(to=FROM, from_=CALLER, url="http://127.0.0.1:1/voice")
        ended = f"^call {call.sid} can't be in-progress any more: it ended as failed, at 0.1 s; error 11200: .*refused"
        with pytest.raises(SimulatorError, match=ended):
            sim.advance_until(status="in-progress", call=call.sid)
        sim.call(to=FROM, from_=CALLER, url="http://127.0.0.1:1/voice")
        with pytest.raises(SimulatorError, match=r"the last request was POST http://127.0.0.1:1/voice, which failed: "):
            sim.advance_until(request="/choice", limit=5)

    @pytest.mark.parametrize("text", ["POST /simulator/survey", "/survey", "POST http://127.0.0.1:"])
    def test_a_request_is_meant_by_its_url_or_its_path(self, sim: Simulator, text: str) -> None:
        place(sim, url=f"{sim.url}/simulator/survey")
        assert sim.advance_until(request=text) == 2.3

    @pytest.mark.parametrize("text", ["POST /Calls.json", "POST /2010-04-01/Accounts/AC", "/Calls"])
    def test_one_of_the_api_also_by_what_stands_behind_the_account(self, sim: Simulator, text: str) -> None:
        place(sim)
        assert sim.advance_until(request=text) == 0
        place(sim)
        with pytest.raises(SimulatorError, match=r"'POST /nothing'.*the last request was POST /2010.*, answered 201$"):
            sim.advance_until(request="POST /nothing", limit=0)
        with pytest.raises(SimulatorError, match="there was no request in that time"):
            sim.advance_until(request=text, limit=0)

    def test_until_a_request(self, sim: Simulator) -> None:
        survey = f"{sim.url}/simulator/survey"
        place(sim, url=survey, status_callback=survey)
        assert sim.advance_until(request="POST http") == 2.3
        assert sim.sent[-1].kind == "document"
        with pytest.raises(
            SimulatorError, match="no request was made or received with '/nothing' in its method and URL"
        ):
            sim.advance_until(request="/nothing", limit=5)

    def test_what_came_of_what_was_done_since_the_last_advance_counts(self, sim: Simulator) -> None:
        survey = f"{sim.url}/simulator/survey"
        call = sim.call(to=FROM, from_=CALLER, url=survey)
        while not sim.sent:
            threading.Event().wait(0.01)  # it is asked for at once, whatever time it is
        assert sim.advance_until(request="survey") == 0
        sim.advance(1)
        sim.press(call.sid, "1")
        while len(sim.sent) < 2:
            threading.Event().wait(0.01)
        assert sim.advance_until(request="survey") == 0
        sim.hang_up(call.sid)
        assert sim.advance_until(status="completed") == 0
        with pytest.raises(SimulatorError, match="no call was completed"):
            sim.advance_until(status="completed", limit=1)

    def test_until_it_is_idle(self, sim: Simulator) -> None:
        assert sim.advance_until(idle=True) == 0
        place(sim, HANGS_UP)
        place(sim, BUSY)
        assert sim.advance_until(idle=True) == 7.3
        sid = place(sim, ANSWERS, twiml="<Response><Pause length='600'/></Response>")
        with pytest.raises(
            SimulatorError, match=f"^it did not become idle within 60 s: {sid} is in-progress, since 9.6 s$"
        ):
            sim.advance_until(idle=True, limit=60)

    def test_a_callback_that_is_delayed_is_waited_for(self) -> None:
        with Simulator(manual_clock=True, seed=1, faults=Faults(delay=(10.0, 10.0))) as sim:
            place(sim, BUSY, twiml=PAUSE, status_callback=f"{sim.url}/simulator/survey")
            assert sim.advance_until(idle=True) == 11.3
            assert [reply.status for callback in sim.callbacks for reply in callback.replies] == [200]

    @pytest.mark.parametrize(
        ("wanted", "message"),
        [
            ({}, "one of status, request and idle"),
            ({"status": "busy", "idle": True}, "one of status, request and idle"),
            ({"status": "done"}, "status must be one of queued, ringing"),
            ({"status": "busy", "call": "CA0"}, "there is no call CA0"),
            ({"request": "a", "call": "CA0"}, "call goes with status"),
            ({"request": ""}, "request must be"),
            ({"idle": True, "limit": -1}, "seconds must be a number, 0 or more"),
        ],
    )
    def test_until_what_makes_no_sense(self, sim: Simulator, wanted: dict[str, object], message: str) -> None:
        place(sim)
        with pytest.raises(SimulatorError, match=message):
            sim.advance_until(**wanted)  # type: ignore[arg-type]
        assert sim.simulated_seconds() == 0

    @pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 1e9])
    def test_seconds_that_can_not_pass(self, sim: Simulator, seconds: float) -> None:
        with pytest.raises(SimulatorError, match=r"0 or more|ten years"):
            sim.advance(seconds)

    def test_it_needs_a_manual_clock(self) -> None:
        with Simulator() as sim:
            for act in (lambda: sim.advance(1), lambda: sim.advance_until(idle=True)):
                with pytest.raises(
                    SimulatorError, match=r"start the simulator with manual_clock=True .*--clock manual"
                ):
                    act()

    async def test_it_is_advanced_by_one_at_a_time(self, setup: SimulatorSetup) -> None:
        errors: list[str] = []

        def document(_form: dict[str, str]) -> str:
            task = asyncio.get_running_loop().create_task(setup.sim.advance_async(1))
            task.add_done_callback(lambda done: errors.append(str(done.exception())))
            return "<Response/>"

        setup.listener.documents["/doc"] = document
        await setup.place(ANSWERS, Url=f"{setup.listener.url}/doc")
        await setup.advance(10)
        assert errors == ["time is being advanced already; wait until that is done"]

    @settings(max_examples=15, deadline=None)
    @given(SPLITS)
    def test_an_advance_in_any_parts_is_one_advance(self, parts: list[int]) -> None:
        with Simulator(manual_clock=True, seed=1) as sim:
            whole = story(sim, [sum(parts) / 1e6])
            sim.reset()
            assert story(sim, [part / 1e6 for part in parts]) == whole


def story(sim: Simulator, parts: list[float]) -> object:
    """Let some calls live for so many seconds, advanced in these parts; return all that is known in the end."""
    survey = f"{sim.url}/simulator/survey"
    for to in (ANSWERS, BUSY, HANGS_UP):
        place(sim, to, url=survey, status_callback=survey, status_callback_event=["initiated", "answered", "completed"])
    sim.call(to=FROM, from_="+12025550107", url=survey, status_callback=survey)
    for seconds in parts:
        sim.advance(seconds)
    return sim.simulated_seconds(), facts(sim)


def facts(sim: Simulator) -> object:
    """All that is known of calls and requests, but for the time of day; who is answered first at one moment is open."""
    calls = [
        (call.sid, call.status, call.duration, [(each.at, each.status) for each in call.timeline], call.notifications)
        for call in sim.calls
    ]
    sent = sorted((each.at, each.kind, each.url, sorted(each.params.items())) for each in without_time(sim))
    return calls, sent, [(each.leg, each.event, each.at) for each in sim.callbacks]


def without_time(sim: Simulator) -> list[Sent]:
    return [
        replace(each, params={name: value for name, value in each.params.items() if name != "Timestamp"})
        for each in sim.sent
    ]


class TestReset:
    def test_everything_begins_again(self) -> None:
        with Simulator(manual_clock=True, seed=1, far_end={LATE: FarEnd("busy")}) as sim:
            before = story(sim, [3.0])
            sim.client.incoming_phone_numbers.create(phone_number="+12025550160")
            sim.set_far_end(LATE, FarEnd())
            url = sim.url
            fired = len(sim.callbacks)
            sim.reset()
            assert (sim.calls, sim.requests, sim.sent, sim.callbacks, sim.simulated_seconds()) == ((), (), (), (), 0)
            assert sim.client.incoming_phone_numbers.list() == []
            assert sim.far_ends == {LATE: FarEnd("busy")}
            assert sim.url == url
            assert fired
            sim.reset()
            assert story(sim, [3.0]) == before

    async def test_calls_are_dropped_without_a_callback(self, setup: SimulatorSetup) -> None:
        await setup.place(ANSWERS)
        await setup.place(NEVER)
        await setup.advance(5)
        arrived = len(setup.listener.arrived)
        await setup.sim.reset_async()
        await setup.advance(100)
        assert len(setup.listener.arrived) == arrived

    async def test_with_a_real_clock_nothing_that_was_to_come_comes(self) -> None:
        async with simulator_setup(manual_clock=False, speed=20) as setup:
            await setup.place(BUSY)
            await setup.sim.reset_async()
            await setup.place(BUSY, StatusCallbackEvent=None)
            while not setup.listener.arrived:  # noqa: ASYNC110 - the listener has no event for it
                await asyncio.sleep(0.01)
            assert [arrived.form["CallStatus"] for arrived in setup.listener.arrived] == ["busy"]

    async def test_whoever_advances_meanwhile_is_told(self, setup: SimulatorSetup) -> None:
        async def reset(_form: object = None) -> None:
            await setup.sim.reset_async()

        tasks: list[asyncio.Task[None]] = []

        def document(_form: dict[str, str]) -> str:
            tasks.append(asyncio.get_running_loop().create_task(reset()))
            return "<Response/>"

        setup.listener.documents["/doc"] = document
        await setup.place(ANSWERS, Url=f"{setup.listener.url}/doc")
        with pytest.raises(SimulatorError, match="reset while time was advanced"):
            await setup.advance(10)
        assert (setup.sim.calls, setup.sim.simulated_seconds()) == ((), 0)
        await asyncio.gather(*tasks)

    def test_without_a_seed_the_choices_are_the_same_again(self) -> None:
        with Simulator(manual_clock=True) as sim:
            sid = place(sim)
            sim.reset()
            assert place(sim) == sid


class TestWhere:
    async def test_under_async_with_what_waits_has_a_name_of_its_own(self, setup: SimulatorSetup) -> None:
        sim = setup.sim
        call = sim.call(to=FROM, from_=CALLER, twiml=GATHER)
        assert await sim.advance_until_async(idle=True) == 90
        assert sim.find(call.sid).duration == 90
        for name, act in (("reset", sim.reset), ("advance_until", lambda: sim.advance_until(idle=True))):
            with pytest.raises(SimulatorError, match=rf"under `async with`, await {name}_async\(\)"):
                act()
        with pytest.raises(SimulatorError, match="there is no call CA0"):
            await sim.advance_until_async(status="busy", call="CA0")

    async def test_another_thread_may_use_it_too(self, setup: SimulatorSetup) -> None:
        def elsewhere() -> tuple[str, Call]:
            call = setup.sim.call(to=FROM, from_=CALLER, twiml=PAUSE)
            return threading.current_thread().name, setup.sim.hang_up(call.sid)

        _, call = await asyncio.to_thread(elsewhere)
        assert call.has_ended

    async def test_under_with_a_coroutine_waits_by_the_same_names(self, setup: SimulatorSetup) -> None:
        """An application in its loop answers meanwhile; what would hold up that loop is refused at once."""
        setup.listener.documents["/doc"] = PAUSE
        with Simulator(manual_clock=True) as sim:
            call = sim.call(to=FROM, from_=CALLER, url=f"{setup.listener.url}/doc")
            for act in (lambda: sim.advance(100), lambda: sim.advance_until(idle=True)):
                with pytest.raises(
                    SimulatorError, match=r"would hold up the event loop .*: await advance\w*_async\(\)"
                ):
                    act()
            await sim.advance_async(100)
            assert [each.reply and each.reply.status for each in sim.sent] == [200]
            assert sim.find(call.sid).status == "completed"
            assert await sim.advance_until_async(idle=True) == 0
            with pytest.raises(SimulatorError, match="there is no call CA0"):
                await sim.advance_until_async(status="busy", call="CA0")
            await sim.reset_async()
            assert sim.calls == ()
            sim.reset()  # waits for nothing of the application's

    def test_a_loop_without_a_coroutine_may_be_held_up(self) -> None:
        """As with Playwright's synchronous API, whose callers can't await."""
        loop = asyncio.new_event_loop()
        with Simulator(manual_clock=True) as sim:
            loop.call_soon(sim.advance, 5)
            loop.call_soon(loop.stop)
            loop.run_forever()
            assert sim.simulated_seconds() == 5
        loop.close()

    def test_before_and_after_it_runs_nothing_can_be_done(self) -> None:
        sim = Simulator(manual_clock=True)
        with pytest.raises(SimulatorError, match="not running"):
            sim.call(to=FROM, from_=CALLER, twiml=PAUSE)
        with sim:
            call = sim.call(to=FROM, from_=CALLER, twiml=PAUSE)
        assert [each.sid for each in sim.calls] == [call.sid]
        for act in (lambda: sim.hang_up(call.sid), lambda: sim.advance(1), sim.reset):
            with pytest.raises(SimulatorError, match="not running"):
                act()
