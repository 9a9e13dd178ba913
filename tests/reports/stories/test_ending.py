"""How a leg ended and by whom: what callbacks and requests show, and no more than that."""

from __future__ import annotations

import pytest
from events import WORLD, event, event_of, moment, sid
from reports.evening import COLLEAGUE, StoredCalls, busy, dials, failed, rings_too_long, talk

from callctl.api.resources import Notification
from callctl.calls.action import LATE, REFUSED, UNKNOWN
from callctl.calls.call import Call
from callctl.calls.event import CallEvent
from callctl.reports.stories.rest_facts import RestFacts


@pytest.fixture
def stored() -> StoredCalls:
    return StoredCalls()


def endings(stored: StoredCalls, call: int) -> list[tuple[str, str | None, str]]:
    """Return by whom, whose and how each leg of a family ended."""
    return [(one.ending.by, one.ending.who, one.ending.words) for one in stored.story(call).legs]


def test_by_a_command_with_its_family(stored: StoredCalls) -> None:
    assert endings(stored, dials(stored, 0)) == [
        ("command", COLLEAGUE, f"hung up by {COLLEAGUE}"),
        ("command", COLLEAGUE, f"hung up with the call that dialled it, by {COLLEAGUE}"),
        ("family", None, "no longer needed: sip:agent@example.com answered first"),
    ]


def test_by_a_rule(stored: StoredCalls) -> None:
    assert endings(stored, rings_too_long(stored, 0)) == [("rule", "ring-limit", "canceled by rule ring-limit")]


def test_by_the_far_end_or_by_twilio(stored: StoredCalls) -> None:
    assert endings(stored, busy(stored, 0)) == [("far-end", None, "busy at +12025550102")]
    assert endings(stored, failed(stored, 0, code="404")) == [
        ("twilio", None, "could not be connected: SIP 404 (not found)")
    ]
    no_answer = stored.leg(("initiated", 0), ("ringing", 1), ("no-answer", 60), to="client:ann", SipResponseCode="480")
    assert endings(stored, no_answer) == [
        ("far-end", None, "no answer from client:ann: SIP 480 (temporarily unavailable)")
    ]


def test_what_callbacks_do_not_say_is_not_said(stored: StoredCalls) -> None:
    assert endings(stored, talk(stored, 0, 30)) == [("unclear", None, "hung up by +12025550100, or its TwiML was over")]
    canceled = stored.leg(("initiated", 0), ("ringing", 1), ("canceled", 9), to="client:ann")
    assert endings(stored, canceled) == [("unclear", None, "canceled before it was answered, not by callctl")]
    assert endings(stored, stored.leg(("ringing", 0), to="client:ann")) == [
        ("nobody", None, "not over when it was last reported")
    ]


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (20, ["hung up by +12025550100, or its TwiML was over", "hung up by client:ann, it seems"]),
        (
            32,
            ["hung up by +12025550100, or its TwiML was over", "ended in the same second as the call that dialled it"],
        ),
        (34, ["hung up by +12025550100, it seems", "ended with the call that dialled it"]),
    ],
)
def test_which_of_two_phones_hung_up_first(stored: StoredCalls, end: int, expected: list[str]) -> None:
    parent = talk(stored, 0, 30)
    stored.leg(("ringing", 3), ("in-progress", 5), ("completed", end), to="client:ann", parent=parent)
    assert [words for _, _, words in endings(stored, parent)] == expected


def test_a_call_that_reached_nobody(stored: StoredCalls) -> None:
    parent = talk(stored, 0, 6)
    stored.leg(("initiated", 3), ("busy", 8), to="client:ann", parent=parent)
    assert endings(stored, parent)[0] == ("family", None, "over when nobody was reached")


def test_a_redirect_of_the_parent_drops_what_it_dialled(stored: StoredCalls) -> None:
    parent = talk(stored, 0, 60)
    stored.leg(("ringing", 3), ("in-progress", 5), ("completed", 20), to="client:ann", parent=parent)
    stored.act(parent, "redirect", 19.4, "to survey")
    assert endings(stored, parent)[1] == (
        "command", COLLEAGUE, f"dropped when the call that dialled it was redirected by {COLLEAGUE}",
    )  # fmt: skip
    assert endings(stored, parent)[0][0] == "unclear"  # it went on for 42 seconds


@pytest.mark.parametrize("result", [LATE, REFUSED])
def test_a_request_that_was_not_carried_out_ended_nothing(stored: StoredCalls, result: str) -> None:
    call = talk(stored, 0, 30)
    stored.act(call, "hangup", 31.5, "it has ended", result=result)
    assert endings(stored, call)[0][0] == "unclear"


def test_a_request_without_an_answer_ended_it_probably(stored: StoredCalls) -> None:
    call = talk(stored, 0, 30)
    stored.act(call, "hangup", 31.5, "no answer", result=UNKNOWN)
    assert endings(stored, call) == [
        ("command", COLLEAGUE, f"hung up by {COLLEAGUE} (probably: no answer to the request was recorded)")
    ]


def test_a_request_long_before_or_after_the_end_ended_nothing(stored: StoredCalls) -> None:
    call = talk(stored, 0, 300)
    stored.act(call, "hangup", 100, "completed", result=UNKNOWN)
    stored.act(call, "hangup", 400, "completed", result=UNKNOWN)
    assert endings(stored, call)[0][0] == "unclear"


@pytest.mark.parametrize("wrong", [-3600, -75, 3, 75, 3600])
def test_a_hang_up_that_was_done_ended_it_whatever_the_clock_of_who_sent_it(stored: StoredCalls, wrong: int) -> None:
    parent = stored.leg(("in-progress", 0), ("completed", 32), to="+12025550100")
    stored.leg(("in-progress", 5), ("completed", 32), to="client:ann", parent=parent)
    stored.leg(("in-progress", 5), ("completed", 31), to="client:bob", parent=parent)
    stored.act(parent, "hangup", 31.7 + wrong, "completed", status="completed")
    by = f"hung up by {COLLEAGUE}"
    assert [(kind, words) for kind, _, words in endings(stored, parent)] == [
        ("command", by),
        ("command", f"hung up with the call that dialled it, by {COLLEAGUE}"),
        ("far-end", "hung up by client:bob, it seems"),
    ]


def test_a_cancel_that_was_accepted_and_came_too_late_ended_nothing(stored: StoredCalls) -> None:
    call = talk(stored, 0, 300)
    stored.act(call, "cancel", 1.5, "accepted, still ringing", status="ringing")
    assert endings(stored, call)[0][0] == "unclear"


def test_no_request_makes_a_phone_busy(stored: StoredCalls) -> None:
    call = busy(stored, 0)
    stored.act(call, "cancel", 0.8, "canceled")
    assert endings(stored, call)[0][0] == "far-end"


def test_a_time_limit_that_was_set(stored: StoredCalls) -> None:
    call = talk(stored, 0, 30)
    stored.act(call, "limit", 3, "at most 30 s", rule="short", request=(("TimeLimit", "30"),))
    assert endings(stored, call) == [("rule", "short", "its time limit was reached, set by rule short")]
    by_another_clock = talk(stored, 50, 30)
    stored.act(by_another_clock, "limit", 113, "at most 30 s", rule="short", request=(("TimeLimit", "30"),))
    assert endings(stored, by_another_clock)[0][0] == "rule"
    early = talk(stored, 100, 12)
    stored.act(early, "limit", 103, "at most 30 s", rule="short", request=(("TimeLimit", "30"),))
    assert endings(stored, early)[0][0] == "unclear"


def test_a_command_of_nobody_in_particular(stored: StoredCalls) -> None:
    call = talk(stored, 0, 30)
    stored.act(call, "hangup", 31.5, "completed", by=None)
    assert endings(stored, call) == [("command", None, "hung up by a command")]
    assert stored.story(call).sid == sid(call)


def test_an_error_of_the_same_moment_ended_it(stored: StoredCalls) -> None:
    call = talk(stored, 0, 3)
    at_the_end, before = (Notification("NO1", "11200", "error", "failure", None, None, moment(at)) for at in (5, 2))
    warning = Notification("NO2", "13224", "warning", "odd", None, None, moment(5))

    def ending(*notes: Notification) -> tuple[str, str]:
        story = stored.story(call, facts=RestFacts({}, {sid(call): notes}))
        return story.legs[0].ending.by, story.outcome

    assert ending(warning, at_the_end) == ("twilio", "failed")
    assert ending(warning, before) == ("unclear", "completed")


def test_callbacks_that_were_not_delivered_end_no_call(stored: StoredCalls) -> None:
    call = talk(stored, 0, 3)

    def failed(at: float, url: str | None = "https://app.example.com/status") -> Notification:
        return Notification("NO1", "11200", "error", "failure", None, url, moment(at))

    def by(*notes: Notification) -> str:
        return stored.story(call, facts=RestFacts({}, {sid(call): notes})).legs[0].ending.by

    assert by(failed(5), failed(3), failed(1), failed(0)) == "unclear"  # newest first, as REST lists them
    assert by(failed(6)) == "unclear"
    assert by(failed(5)) == "twilio"
    assert by(failed(5), failed(1, "https://app.example.com/other")) == "twilio"
    assert by(failed(5, None), failed(1, None)) == "twilio"


def test_what_a_rule_does_once_a_leg_has_ended_did_not_end_it(stored: StoredCalls) -> None:
    parent = talk(stored, 0, 60)
    child = stored.leg(("ringing", 3), ("in-progress", 5), ("completed", 20), to="client:ann", parent=parent)
    stored.act(parent, "redirect", 21.2, "to survey", rule="after-dial")
    recording = {"CallSid": sid(child), "RecordingSid": "RE1", "RecordingStatus": "completed"}
    stored.events.append(event_of(recording, received=23))  # of the leg that has ended
    assert endings(stored, parent)[1] == ("far-end", None, "hung up by client:ann, it seems")


def test_nor_where_this_machines_clock_is_behind_twilios(stored: StoredCalls) -> None:
    parent = talk(stored, 0, 60)
    child = stored.leg(("ringing", 3), ("in-progress", 5), to="client:ann", parent=parent)
    stored.events.append(event(child, "completed", number=2, at=20, received=18.1, parent=parent, To="client:ann"))
    stored.act(parent, "redirect", 19.2, "to survey", rule="after-dial")
    assert endings(stored, parent)[1][0] == "far-end"
    stored.act(parent, "redirect", 17.9, "to survey")
    assert endings(stored, parent)[1][0] == "command"


def test_where_this_machines_clock_is_ahead_of_twilios(stored: StoredCalls) -> None:
    call = stored.leg(("in-progress", 0), to="+12025550100")
    stored.events.append(event(call, "completed", number=1, at=20, received=26.1))
    stored.act(call, "hangup", 25.7, "completed")
    assert endings(stored, call)[0][:2] == ("command", COLLEAGUE)


def left_by_redirect(stored: StoredCalls, *, parent_ends: float, child_ends: float) -> int:
    """Add a call whose child is redirected out of its ``<Dial>`` in second 10; return the number of the parent."""
    parent = talk(stored, 0, int(parent_ends) - 2)
    steps = (("ringing", 3.0), ("in-progress", 5.0), ("completed", child_ends))
    child = stored.leg(*steps, to="client:ann", parent=parent)
    stored.act(child, "redirect", 9.8, "to survey")
    return parent


@pytest.mark.parametrize(
    ("parent_ends", "child_ends"),
    [(11, 11), (11, 12), (11, 24), (7, 24)],  # in the last case the clock of who redirected it is ahead
)
def test_a_child_that_was_redirected_out_of_its_dial_ends_by_itself(
    stored: StoredCalls, parent_ends: int, child_ends: int
) -> None:
    parent = left_by_redirect(stored, parent_ends=parent_ends, child_ends=child_ends)
    assert endings(stored, parent) == [
        ("command", COLLEAGUE, f"over when the call it dialled was redirected by {COLLEAGUE}"),
        ("unclear", None, "hung up by client:ann, or its TwiML was over"),
    ]


def test_nor_does_a_redirect_of_its_parent_end_it(stored: StoredCalls) -> None:
    parent = left_by_redirect(stored, parent_ends=40, child_ends=14)
    stored.act(parent, "redirect", 10.2, "to a conference")
    by_itself = ("unclear", None, "hung up by +12025550100, or its TwiML was over")
    assert endings(stored, parent) == [by_itself, ("unclear", None, "hung up by client:ann, or its TwiML was over")]


def test_nor_a_hang_up_of_its_parent(stored: StoredCalls) -> None:
    parent = left_by_redirect(stored, parent_ends=15, child_ends=30)
    stored.act(parent, "hangup", 14.6, "completed")
    assert endings(stored, parent) == [
        ("command", COLLEAGUE, f"hung up by {COLLEAGUE}"),
        ("unclear", None, "hung up by client:ann, or its TwiML was over"),
    ]


def test_a_parent_that_goes_on_without_its_child_ends_by_itself(stored: StoredCalls) -> None:
    parent = left_by_redirect(stored, parent_ends=30, child_ends=50)
    assert endings(stored, parent)[0] == ("unclear", None, "hung up by +12025550100, or its TwiML was over")
    redirected = left_by_redirect(stored, parent_ends=16, child_ends=50)
    stored.act(redirected, "redirect", 10.4, "to survey")
    assert endings(stored, redirected)[0][0] == "unclear"


def test_a_child_that_joined_a_conference_ends_by_itself(stored: StoredCalls) -> None:
    parent = talk(stored, 0, 10)
    child = stored.leg(("ringing", 3), ("in-progress", 5), ("completed", 14), to="client:ann", parent=parent)
    assert endings(stored, parent)[1][0] == "family"
    join = {
        "CallSid": sid(child), "ConferenceSid": "CF1", "FriendlyName": "room", "SequenceNumber": "2",
        "StatusCallbackEvent": "participant-join",
    }  # fmt: skip
    stored.events.append(event_of(join, received=11))
    assert [by for by, _, _ in endings(stored, parent)] == ["unclear", "unclear"]


def test_a_child_that_long_outlived_its_parent_was_redirected_by_somebody(stored: StoredCalls) -> None:
    parent = talk(stored, 0, 10)
    stored.leg(("ringing", 3), ("in-progress", 5), ("completed", 27), to="client:ann", parent=parent)
    assert [by for by, _, _ in endings(stored, parent)] == ["unclear", "unclear"]
    stored.act(parent, "hangup", 11.7, "completed")
    assert [by for by, _, _ in endings(stored, parent)] == ["command", "unclear"]


def test_what_was_refused_took_no_child_out_of_its_dial(stored: StoredCalls) -> None:
    parent = talk(stored, 0, 20)
    child = stored.leg(("ringing", 3), ("in-progress", 5), ("completed", 23), to="client:ann", parent=parent)
    stored.act(child, "redirect", 21.5, "not in progress", result=REFUSED)
    assert [by for by, _, _ in endings(stored, parent)] == ["far-end", "family"]


@pytest.mark.parametrize(
    ("code", "by", "words"),
    [
        ("11200", "unclear", "hung up by +12025550100, or its TwiML was over, or ended with error 11200: failure"),
        ("12100", "twilio", "ended with error 12100: failure"),
    ],
)
def test_an_error_may_be_about_the_callback_of_the_end_where_that_is_lacking(
    stored: StoredCalls, code: str, by: str, words: str
) -> None:
    call = Call(sid(1), "completed", to="+12025550100", start_time=moment(0), end_time=moment(9), duration=9)
    stored.events.append(CallEvent.from_call(call, received_at=moment(60), world=WORLD))
    note = Notification("NO1", code, "error", "failure", None, "https://app.example.com/", moment(9))
    ending = stored.story(1, facts=RestFacts({}, {sid(1): [note]})).legs[0].ending
    assert (ending.by, ending.words) == (by, words)
