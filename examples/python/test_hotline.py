"""The hotline's tests: `pip install callctl pytest`, then `pytest`."""

from collections.abc import Iterator
from threading import Thread

import pytest
from hotline import AGENT, NUMBER, Hotline

from callctl.simulator import FarEnd, Simulator

CALLER = "+12025550199"


@pytest.fixture
def hotline(twilio_simulator: Simulator) -> Iterator[Hotline]:
    """The application, which takes the simulator for Twilio."""
    with Hotline(twilio_simulator.client, twilio_simulator.auth_token) as hotline:
        thread = Thread(target=hotline.serve_forever, args=(0.01,))
        thread.start()
        yield hotline
        hotline.shutdown()
        thread.join()


def test_a_caller_is_connected(twilio_simulator: Simulator, hotline: Hotline) -> None:
    """Call in, press a key, let the agent hang up after a minute."""
    twilio_simulator.set_far_end(AGENT, FarEnd(hang_up_after=60))
    call = twilio_simulator.call(from_=CALLER, to=NUMBER, url=f"{hotline.url}/voice")
    twilio_simulator.advance_until(status="in-progress", call=call.sid)
    twilio_simulator.press(call.sid, "1")
    twilio_simulator.advance_until(idle=True)

    caller, agent = twilio_simulator.calls
    assert (caller.status, caller.notifications) == ("completed", ())
    assert (agent.parent_sid, agent.to, agent.status, agent.duration) == (call.sid, AGENT, "completed", 60)
    assert [sent.url for sent in twilio_simulator.sent] == [
        f"{hotline.url}/{path}" for path in ("voice", "choice", "dialed")
    ]
    assert twilio_simulator.requests == ()  # nobody is called back


def test_whom_nobody_answers_is_called_back(twilio_simulator: Simulator, hotline: Hotline) -> None:
    """The agent is busy; when called back, the caller does not answer."""
    twilio_simulator.set_far_end(AGENT, FarEnd("busy"))
    twilio_simulator.set_far_end(CALLER, FarEnd("never"))
    call = twilio_simulator.call(from_=CALLER, to=NUMBER, url=f"{hotline.url}/voice")
    twilio_simulator.answer_gathers(call.sid, ["1"])
    twilio_simulator.advance_until(idle=True)

    (request,) = twilio_simulator.requests
    assert (request.method, request.status, request.form["To"]) == ("POST", 201, (CALLER,))
    assert [callback.status for callback in twilio_simulator.callbacks] == ["no-answer"]
    assert hotline.ended == ["no-answer"]


def test_who_presses_nothing_hears_goodbye(twilio_simulator: Simulator, hotline: Hotline) -> None:
    """The menu waits five seconds."""
    call = twilio_simulator.call(from_=CALLER, to=NUMBER, url=f"{hotline.url}/voice")
    twilio_simulator.advance_until(idle=True)
    assert twilio_simulator.find(call.sid).status == "completed"
    assert [sent.params.get("Digits") for sent in twilio_simulator.sent] == [None]


def test_what_the_simulator_does_not_know_fails(twilio_simulator: Simulator) -> None:
    """Strict, a call does not go on past a verb that is not imitated, and its notifications say so."""
    call = twilio_simulator.call(from_=CALLER, to=NUMBER, twiml="<Response><Pay/><Say>Thank you.</Say></Response>")
    twilio_simulator.advance_until(idle=True)
    failed = twilio_simulator.find(call.sid)
    assert failed.status == "failed"
    assert any("<Pay> is not imitated" in note.message for note in failed.notifications)
