"""How a leg ended and by whom: what callbacks and requests show, and no more than that."""

from __future__ import annotations

import pytest
from events import event, event_of, moment, sid
from reports.evening import COLLEAGUE, Told, busy, dials, failed, rings_too_long, talk

from callctl.api.resources import Notification
from callctl.calls.action import LATE, REFUSED, UNKNOWN
from callctl.reports.stories.rest_facts import RestFacts


@pytest.fixture
def told() -> Told:
    return Told()


def endings(told: Told, call: int) -> list[tuple[str, str | None, str]]:
    """Return by whom, whose and how each leg of a family ended."""
    return [(one.ending.by, one.ending.who, one.ending.words) for one in told.story(call).legs]


def test_by_a_command_with_its_family(told: Told) -> None:
    assert endings(told, dials(told, 0)) == [
        ("command", COLLEAGUE, f"hung up by {COLLEAGUE}"),
        ("command", COLLEAGUE, f"hung up with the call that dialled it, by {COLLEAGUE}"),
        ("family", None, "no longer needed: sip:agent@example.com answered first"),
    ]


def test_by_a_rule(told: Told) -> None:
    assert endings(told, rings_too_long(told, 0)) == [("rule", "ring-limit", "canceled by rule ring-limit")]


def test_by_the_far_end_or_by_twilio(told: Told) -> None:
    assert endings(told, busy(told, 0)) == [("far-end", None, "+12025550102 was busy")]
    assert endings(told, failed(told, 0, code="404")) == [
        ("twilio", None, "could not be connected: SIP 404 (not found)")
    ]
    no_answer = told.leg(("initiated", 0), ("ringing", 1), ("no-answer", 60), to="client:ann", SipResponseCode="480")
    assert endings(told, no_answer) == [
        ("far-end", None, "client:ann did not answer: SIP 480 (temporarily unavailable)")
    ]


def test_what_callbacks_do_not_say_is_not_said(told: Told) -> None:
    assert endings(told, talk(told, 0, 30)) == [("unclear", None, "+12025550100 hung up, or its TwiML was over")]
    canceled = told.leg(("initiated", 0), ("ringing", 1), ("canceled", 9), to="client:ann")
    assert endings(told, canceled) == [("unclear", None, "canceled before it was answered, not by callctl")]
    assert endings(told, told.leg(("ringing", 0), to="client:ann")) == [
        ("nobody", None, "not over when it was last reported")
    ]


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (20, ["+12025550100 hung up, or its TwiML was over", "client:ann hung up, it seems"]),
        (32, ["+12025550100 hung up, or its TwiML was over", "ended in the same second as the call that dialled it"]),
        (34, ["+12025550100 hung up, it seems", "ended with the call that dialled it"]),
    ],
)
def test_which_of_two_phones_hung_up_first(told: Told, end: int, expected: list[str]) -> None:
    parent = talk(told, 0, 30)
    told.leg(("ringing", 3), ("in-progress", 5), ("completed", end), to="client:ann", parent=parent)
    assert [words for _, _, words in endings(told, parent)] == expected


def test_a_call_that_reached_nobody(told: Told) -> None:
    parent = talk(told, 0, 6)
    told.leg(("initiated", 3), ("busy", 8), to="client:ann", parent=parent)
    assert endings(told, parent)[0] == ("family", None, "over when nobody was reached")


def test_a_redirect_of_the_parent_drops_what_it_dialled(told: Told) -> None:
    parent = talk(told, 0, 60)
    told.leg(("ringing", 3), ("in-progress", 5), ("completed", 20), to="client:ann", parent=parent)
    told.act(parent, "redirect", 19.4, "to survey")
    assert endings(told, parent)[1] == (
        "command", COLLEAGUE, f"dropped when the call that dialled it was redirected by {COLLEAGUE}",
    )  # fmt: skip
    assert endings(told, parent)[0][0] == "unclear"  # it went on for 42 seconds


@pytest.mark.parametrize("result", [LATE, REFUSED])
def test_a_request_that_was_not_carried_out_ended_nothing(told: Told, result: str) -> None:
    call = talk(told, 0, 30)
    told.act(call, "hangup", 31.5, "it has ended", result=result)
    assert endings(told, call)[0][0] == "unclear"


def test_a_request_without_an_answer_ended_it_probably(told: Told) -> None:
    call = talk(told, 0, 30)
    told.act(call, "hangup", 31.5, "no answer", result=UNKNOWN)
    assert endings(told, call) == [
        ("command", COLLEAGUE, f"hung up by {COLLEAGUE} (probably: no answer to the request was recorded)")
    ]


def test_a_request_long_before_or_after_the_end_ended_nothing(told: Told) -> None:
    call = talk(told, 0, 300)
    told.act(call, "hangup", 100, "completed", result=UNKNOWN)
    told.act(call, "hangup", 400, "completed")
    assert endings(told, call)[0][0] == "unclear"


def test_no_request_makes_a_phone_busy(told: Told) -> None:
    call = busy(told, 0)
    told.act(call, "cancel", 0.8, "canceled")
    assert endings(told, call)[0][0] == "far-end"


def test_a_time_limit_that_was_set(told: Told) -> None:
    call = talk(told, 0, 30)
    told.act(call, "limit", 3, "at most 30 s", rule="short", request=(("TimeLimit", "30"),))
    assert endings(told, call) == [("rule", "short", "its time limit was reached, set by rule short")]
    early = talk(told, 100, 12)
    told.act(early, "limit", 103, "at most 30 s", rule="short", request=(("TimeLimit", "30"),))
    assert endings(told, early)[0][0] == "unclear"


def test_a_command_of_nobody_in_particular(told: Told) -> None:
    call = talk(told, 0, 30)
    told.act(call, "hangup", 31.5, "completed", by=None)
    assert endings(told, call) == [("command", None, "hung up by a command")]
    assert told.story(call).sid == sid(call)


def test_an_error_of_the_same_moment_ended_it(told: Told) -> None:
    call = talk(told, 0, 3)
    at_the_end, before = (Notification("NO1", "11200", "error", "failure", None, None, moment(at)) for at in (5, 2))
    warning = Notification("NO2", "13224", "warning", "odd", None, None, moment(5))

    def ending(*notes: Notification) -> tuple[str, str]:
        story = told.story(call, facts=RestFacts({}, {sid(call): notes}))
        return story.legs[0].ending.by, story.outcome

    assert ending(warning, at_the_end) == ("twilio", "failed")
    assert ending(warning, before) == ("unclear", "completed")


def test_callbacks_that_were_not_delivered_end_no_call(told: Told) -> None:
    call = talk(told, 0, 3)

    def failed(at: float, url: str | None = "https://app.example.com/status") -> Notification:
        return Notification("NO1", "11200", "error", "failure", None, url, moment(at))

    def by(*notes: Notification) -> str:
        return told.story(call, facts=RestFacts({}, {sid(call): notes})).legs[0].ending.by

    assert by(failed(5), failed(3), failed(1), failed(0)) == "unclear"  # newest first, as REST lists them
    assert by(failed(6)) == "unclear"
    assert by(failed(5)) == "twilio"
    assert by(failed(5), failed(1, "https://app.example.com/other")) == "twilio"
    assert by(failed(5, None), failed(1, None)) == "twilio"


def test_what_a_rule_does_once_a_leg_has_ended_did_not_end_it(told: Told) -> None:
    parent = talk(told, 0, 60)
    child = told.leg(("ringing", 3), ("in-progress", 5), ("completed", 20), to="client:ann", parent=parent)
    told.act(parent, "redirect", 21.2, "to survey", rule="after-dial")
    recorded = {"CallSid": sid(child), "RecordingSid": "RE1", "RecordingStatus": "completed"}
    told.events.append(event_of(recorded, received=23))  # of the leg that has ended
    assert endings(told, parent)[1] == ("far-end", None, "client:ann hung up, it seems")


def test_nor_where_this_machines_clock_is_behind_twilios(told: Told) -> None:
    parent = talk(told, 0, 60)
    child = told.leg(("ringing", 3), ("in-progress", 5), to="client:ann", parent=parent)
    told.events.append(event(child, "completed", number=2, at=20, received=18.1, parent=parent, To="client:ann"))
    told.act(parent, "redirect", 19.2, "to survey", rule="after-dial")
    assert endings(told, parent)[1][0] == "far-end"
    told.act(parent, "redirect", 17.9, "to survey")
    assert endings(told, parent)[1][0] == "command"


def test_where_this_machines_clock_is_ahead_of_twilios(told: Told) -> None:
    call = told.leg(("in-progress", 0), to="+12025550100")
    told.events.append(event(call, "completed", number=1, at=20, received=26.1))
    told.act(call, "hangup", 25.7, "completed")
    assert endings(told, call)[0][:2] == ("command", COLLEAGUE)
