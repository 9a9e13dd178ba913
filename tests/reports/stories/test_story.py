"""A story as data: its legs and steps, what stands out in it, and how it came out."""

from __future__ import annotations

from decimal import Decimal

import pytest
from events import event, event_of, moment, sid
from hypothesis import given
from hypothesis import strategies as st
from legs import in_conference
from reports.evening import COLLEAGUE, StoredCalls, busy, dials, evening, failed, rings_too_long, storm, talk

from callctl.api.resources import Notification
from callctl.calls.action import DRY_RUN, LATE
from callctl.calls.call import Call
from callctl.calls.event import MISSED, CallEvent
from callctl.reports.stories.rest_facts import RestFacts
from callctl.reports.stories.story import story_of


@pytest.fixture
def stored() -> StoredCalls:
    return StoredCalls()


def test_a_leg_has_its_times(stored: StoredCalls) -> None:
    story = stored.story(talk(stored, 10, 30))
    (leg,) = story.legs
    assert (story.began_at, story.ended_at, story.seconds) == (moment(10), moment(42), 32)
    assert (leg.ring_seconds, leg.talk_seconds, leg.callbacks, leg.missing_callbacks) == (2, 30, 4, ())
    assert (story.outcome, story.remarks, story.trouble) == ("completed", (), 0)


def test_steps_have_the_time_since_the_first_and_since_the_one_before(stored: StoredCalls) -> None:
    story = stored.story(talk(stored, 10, 30))
    assert [(step.words, step.after, step.gap) for step in story.steps] == [
        ("initiated", 0, 0),
        ("ringing", 0, 0),
        ("in-progress", 2, 2),
        ("completed", 32, 30),
    ]
    assert story.steps[-1].facts == ("00:30",)


def test_a_family_is_told_whole_whichever_leg_is_named(stored: StoredCalls) -> None:
    parent = dials(stored, 0)
    story = stored.story(parent + 1)
    assert story.sid == sid(parent)
    assert [one.far_end for one in story.legs] == ["+12025550100", "sip:agent@example.com", "client:ben"]
    assert story == stored.story(parent)
    assert {step.leg for step in story.steps} == {0, 1, 2}


def test_what_commands_and_rules_did_are_steps(stored: StoredCalls) -> None:
    cut = stored.story(rings_too_long(stored, 0)).steps[-2:]
    assert [(step.kind, step.words, step.facts) for step in cut] == [
        ("rule", "cancel: ended before it was answered", ("by rule ring-limit",)),
        ("callback", "canceled", ()),
    ]
    hangup = next(step for step in stored.story(dials(stored, 100)).steps if step.kind == "command")
    assert (hangup.words, hangup.facts, hangup.is_bad) == ("hangup: completed", (f"by {COLLEAGUE}",), False)


def test_a_storm_of_redirects_stands_out(stored: StoredCalls) -> None:
    story = stored.story(storm(stored, 0))
    assert story.redirects == 9
    assert [remark.words for remark in story.remarks] == [
        f"+12025550100 was redirected 9 times within 00:16, by {COLLEAGUE}",
        f"a redirect by {COLLEAGUE} came to nothing: the call is not in progress",
    ]
    refused = story.steps[-1]
    assert (refused.is_bad, refused.facts) == (True, (f"by {COLLEAGUE}", "error 21220"))


def test_who_redirected_is_counted_apart(stored: StoredCalls) -> None:
    call = talk(stored, 0, 60)
    for second in (5, 6, 7):
        stored.act(call, "redirect", second, "to survey", rule="after-dial")
    stored.act(call, "redirect", 9, "to survey")
    (remark,) = stored.story(call).remarks
    assert remark.words.endswith(f"4 times within 00:04, by rule after-dial (3), {COLLEAGUE} (1)")


def test_requests_that_come_to_nothing_again_and_again_are_one_remark(stored: StoredCalls) -> None:
    call = talk(stored, 0, 20)
    late = f"{sid(call)} can't be redirected: it is completed"
    stored.act(call, "redirect", 25, late, result=LATE)
    (once,) = stored.story(call).remarks
    assert (once.words, once.is_bad) == (
        f"a redirect by {COLLEAGUE} came to nothing: can't be redirected: it is completed", False,
    )  # fmt: skip
    for second in (26, 27):
        stored.act(call, "redirect", second, late, result=LATE, by="ben@ops")
    (thrice,) = stored.story(call).remarks
    assert thrice.words.startswith(
        f"3 requests (redirect) by ben@ops (2), {COLLEAGUE} (1) came to nothing; the last: can't"
    )
    assert thrice.is_bad
    assert stored.story(call).steps[-1].words == "redirect: can't be redirected: it is completed"


def test_what_only_would_have_been_done_is_no_trouble(stored: StoredCalls) -> None:
    call = talk(stored, 0, 60)
    stored.act(call, "hangup", 5, "would end it", result=DRY_RUN, rule="limit")
    story = stored.story(call)
    assert (story.remarks, [step.is_dry for step in story.steps].count(True)) == ((), 1)


@pytest.mark.parametrize(
    ("add", "outcome", "words"),
    [
        (busy, "unanswered", []),
        (failed, "failed", ["+12025550104 could not be connected: SIP 503 (service unavailable)"]),
        (rings_too_long, "unanswered", ["+12025550103 rang for 00:35"]),
        (dials, "completed", []),
    ],
)
def test_how_it_came_out(stored: StoredCalls, add: object, outcome: str, words: list[str]) -> None:
    story = stored.story(add(stored, 0))  # type: ignore[operator]
    assert (story.outcome, [remark.words for remark in story.remarks]) == (outcome, words)


def test_a_call_that_reached_nobody_is_not_answered_though_it_was_itself(stored: StoredCalls) -> None:
    parent = talk(stored, 0, 20)
    stored.leg(("initiated", 3), ("busy", 5), to="client:ann", parent=parent)
    assert stored.story(parent).outcome == "unanswered"
    stored.leg(("initiated", 6), ("failed", 7), to="client:ben", parent=parent, SipResponseCode="404")
    assert stored.story(parent).outcome == "failed"
    assert stored.story(parent).trouble == 2


def test_a_live_call_is_not_over(stored: StoredCalls) -> None:
    story = stored.story(stored.leg(("initiated", 0), ("ringing", 1), to="+12025550100"))
    assert (story.outcome, story.ended_at, story.seconds) == ("live", None, None)
    assert (story.legs[0].ring_seconds, story.legs[0].talk_seconds) == (None, None)


def test_callbacks_that_are_missing_between_others_are_counted(stored: StoredCalls) -> None:
    stored.events += [event(1, "initiated", number=0, at=0), event(1, "completed", number=3, at=9)]
    story = stored.story(1)
    assert story.legs[0].missing_callbacks == (1, 2)
    assert [remark.words for remark in story.remarks] == ["2 callbacks never arrived: of +12025550100"]


@pytest.mark.parametrize("numbers", [(0, 500), (2, 7, 7), (3, 10**12), (10**12,), (-5, 1), (999,), (1000,), ()])
def test_as_many_are_missing_as_in_figures(stored: StoredCalls, numbers: tuple[int, ...]) -> None:
    stored.events.append(event(1, "initiated", at=0))
    stored.events += [event(1, "ringing", number=number, at=at) for at, number in enumerate(numbers)]
    leg = stored.story(1).legs[0]
    assert leg.facts is not None
    assert len(leg.missing_callbacks) == leg.facts.missing


def test_senders_that_number_nothing_or_everything_0_miss_nothing(stored: StoredCalls) -> None:
    stored.events += [event(1, "initiated", at=0), event(1, "completed", at=9)]
    stored.events += [event(2, "initiated", number=0, at=0), event(2, "completed", number=0, at=9)]
    assert [stored.story(number).legs[0].missing_callbacks for number in (1, 2)] == [(), ()]


def test_late_and_unsigned_callbacks_stand_out(stored: StoredCalls) -> None:
    stored.events.append(event(1, "completed", number=0, at=0, received=75))
    unsigned = event_of({"CallSid": sid(1), "CallStatus": "ringing"}, received=3, verified=False)
    stored.events.append(unsigned)
    assert [remark.words for remark in stored.story(1).remarks] == [
        "a callback arrived 01:15 late",
        "not all callbacks are signed by Twilio: anybody may have sent them",
    ]


def test_an_end_alone_tells_when_the_call_began() -> None:
    story = story_of([event(1, "completed", number=0, at=100, CallDuration="40")], [], sid=sid(1))
    assert story is not None
    assert (story.began_at, story.seconds, story.legs[0].talk_seconds) == (moment(60), 40, 40)


def test_an_end_that_no_callback_reported(stored: StoredCalls) -> None:
    call = stored.leg(("initiated", 0), ("in-progress", 2), to="+12025550100")
    rest = Call(sid(call), "completed", end_time=moment(30), duration=28)
    stored.events.append(CallEvent.from_call(rest, received_at=moment(60), world="w", kind=MISSED))
    story = stored.story(call)
    assert story.steps[-1].kind == "rest"
    assert [remark.words for remark in story.remarks] == ["no callback reported the end: the API did"]


def test_conferences_are_steps_of_their_leg(stored: StoredCalls) -> None:
    call = talk(stored, 0, 30)
    stored.events.append(in_conference(sid(call), "room", second=4, label="ann"))
    step = next(step for step in stored.story(call).steps if step.kind == "feature")
    assert (step.leg, step.words) == (0, "conference room: participant-join ann")


def test_a_request_of_this_machines_clock_ahead_puts_no_step_before_another(stored: StoredCalls) -> None:
    call = talk(stored, 0, 8)
    stored.act(call, "hangup", 14, "completed")  # the callback of the end, of second 10, arrives after it
    stored.events[-1] = event(call, "completed", number=3, at=10, received=14.4)
    story = stored.story(call)
    assert [step.words for step in story.steps][-2:] == ["hangup: completed", "completed"]
    assert all(step.gap >= 0 and step.after >= 0 for step in story.steps)


def test_without_a_leg_there_is_no_story(stored: StoredCalls) -> None:
    stored.events.append(in_conference(sid(1), "room", second=4))
    assert story_of(stored.events, [], sid=sid(1)) is None
    assert story_of([], [], sid=sid(1)) is None


def test_what_rest_adds(stored: StoredCalls) -> None:
    call = talk(stored, 0, 30)
    note = Notification("NO1", "11200", "error", "HTTP retrieval failure", None, None, moment(3))
    price = Call(sid(call), "completed", price=Decimal("-0.013"), price_unit="USD")
    facts = RestFacts({sid(call): price}, {sid(call): [note, note]})
    story = stored.story(call, facts=facts)
    assert story.cost == (Decimal("0.013"), "USD")
    assert [remark.words for remark in story.remarks] == ["error 11200 (2 times): HTTP retrieval failure"]


def test_sixty_calls_of_a_bad_evening() -> None:
    stories = evening().stories()
    assert len(stories) == 60
    worst = max(stories, key=lambda story: story.trouble)
    assert (worst.redirects, [remark.is_bad for remark in worst.remarks]) == (9, [True, True])


@given(
    st.lists(st.sampled_from(["initiated", "ringing", "in-progress", "completed", "odd"]), min_size=1),
    st.data(),
)
def test_any_events_make_a_story_with_all_of_them(statuses: list[str], data: st.DataObject) -> None:
    times = data.draw(st.lists(st.integers(0, 9999), min_size=len(statuses), max_size=len(statuses)))
    events = [event(1, status, number=n, at=at) for n, (status, at) in enumerate(zip(statuses, times, strict=True))]
    story = story_of(events, [], sid=sid(1))
    assert story is not None
    assert len(story.steps) == len(events)
    assert story.seconds is None or story.seconds >= 0
    assert story.began_at == min(step.at for step in story.steps)
