from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import permutations

import pytest
from events import WORLD, event, event_of, form, moment, sid
from hypothesis import given
from hypothesis import strategies as st

from callctl.calls.board import Board
from callctl.calls.call import Call
from callctl.calls.event import MISSED, CallEvent
from callctl.reports.leg_facts import CALLBACKS, OTHER, REQUESTS, REST, UNVERIFIED, LegFacts, facts_of_events
from callctl.support.dates import microseconds
from reports.forms import events_of_a_leg

LIFE = [
    event(1, "initiated", number=0, at=0, received=0.25),
    event(1, "ringing", number=1, at=2, received=2.5),
    event(1, "in-progress", number=2, at=7, received=8),
    event(1, "completed", number=3, at=49, received=49.125, CallDuration="42", SipResponseCode="200"),
]
UNANSWERED = [*LIFE[:2], event(1, "no-answer", number=2, at=32, SipResponseCode="487")]
REQUEST = {**form(1, "ringing"), "ApiVersion": "2010-04-01"}
del REQUEST["CallbackSource"]


def facts(events: Sequence[CallEvent]) -> LegFacts:
    leg = facts_of_events(events)
    assert leg is not None
    return leg


def polled(status: str, *, kind: str = "polled", **resource: str) -> CallEvent:
    call = Call.from_resource({"sid": sid(1), "status": status, "to": "+12025550100", **resource})
    return CallEvent.from_call(call, received_at=moment(60), world=WORLD, kind=kind)


def test_of_a_leg_that_was_answered() -> None:
    leg = facts(LIFE)
    assert (leg.call_sid, leg.from_, leg.to) == (sid(1), "+15005550006", "+12025550100")
    assert leg.kind == ("completed", True, "200", True, True, False, CALLBACKS)
    assert leg.started_at == microseconds(moment(0))
    assert (leg.post_dial_delay, leg.ring_time, leg.talk_time) == (2000, 5000, 42_000)
    assert sorted(leg.delays) == [125, 250, 500, 1000]
    assert (leg.missing, leg.end_missed) == (0, False)


def test_of_a_leg_that_was_not_answered_it_rang_until_its_end() -> None:
    leg = facts(UNANSWERED)
    assert leg.kind == ("no-answer", True, "487", False, True, False, CALLBACKS)
    assert (leg.post_dial_delay, leg.ring_time, leg.talk_time) == (2000, 30_000, None)


def test_of_a_live_leg_nothing_is_said_that_is_not_over() -> None:
    leg = facts(LIFE[:2])
    assert (leg.kind.has_ended, leg.kind.is_answered, leg.ring_time, leg.talk_time) == (False, False, None, None)


def test_an_end_alone_tells_that_it_was_answered_and_for_how_long() -> None:
    leg = facts(LIFE[3:])
    assert (leg.kind.is_answered, leg.post_dial_delay, leg.ring_time, leg.talk_time) == (True, None, None, 42_000)


def test_without_a_duration_it_talked_from_answer_to_end() -> None:
    assert facts([*LIFE[:3], event(1, "completed", number=3, at=50)]).talk_time == 43_000


def test_a_time_that_ends_before_it_begins_is_none() -> None:
    assert facts([event(1, "initiated", number=0, at=9), event(1, "ringing", number=1, at=2)]).post_dial_delay is None


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_neither_order_nor_repetition_of_events_counts(order: tuple[int, ...]) -> None:
    shuffled = facts([LIFE[number] for number in order] + [LIFE[order[0]]])
    assert shuffled._replace(delays=sorted(shuffled.delays)) == facts(LIFE)._replace(delays=sorted(facts(LIFE).delays))


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [([0, 1, 2], 0), ([0, 2], 1), ([3], 3), ([0, 0], 0), ([0, 10**9], 0), ([-5, 1], 1), ([None, None], 0)],
)
def test_gaps_in_the_numbers_are_callbacks_that_did_not_arrive(numbers: list[int | None], missing: int) -> None:
    events = [event(1, "ringing", number=number, at=at) for at, number in enumerate(numbers)]
    assert facts(events).missing == missing


def test_an_end_that_rest_alone_reported_is_missed() -> None:
    end = polled("completed", kind=MISSED, duration="12")
    assert facts([LIFE[0], end]).end_missed
    assert facts([LIFE[0], end]).talk_time == 12_000
    assert not facts([*LIFE, end]).end_missed
    assert not facts([polled("completed")]).end_missed


def test_what_it_is_known_by() -> None:
    request = event_of(REQUEST)
    unverified = event_of(form(1, "ringing", number=0), verified=False)
    known = [
        facts(events).kind.evidence
        for events in (
            [polled("ringing")],
            [polled("ringing"), event_of(REQUEST, verified=False)],
            [unverified, polled("ringing")],
            [unverified, request],
            [unverified, request, LIFE[0]],
        )
    ]
    assert known == [REST, UNVERIFIED, UNVERIFIED, REQUESTS, CALLBACKS]


def test_polls_and_requests_tell_no_times() -> None:
    leg = facts([polled("in-progress", start_time="Mon, 23 Nov 2026 09:59:00 +0000"), event_of(REQUEST, received=5)])
    assert (leg.post_dial_delay, leg.ring_time, leg.delays, leg.kind.is_answered) == (None, None, [], True)
    assert leg.started_at == microseconds(moment(-60))


def test_what_others_make_up_is_of_one_kind() -> None:
    assert facts([event(1, "teleporting", SipResponseCode="9" * 40)]).kind[:3] == (OTHER, False, OTHER)


def test_a_recording_alone_is_no_leg() -> None:
    recording = {"CallSid": sid(1), "RecordingSid": "RE" + "0" * 32, "RecordingStatus": "completed"}
    assert facts_of_events([event_of(recording)]) is None
    assert facts_of_events([]) is None


@given(events_of_a_leg(), st.randoms(use_true_random=False))
def test_they_are_those_of_the_board(events: list[CallEvent], chance: random.Random) -> None:
    board = Board()
    for one in events:
        board.apply(one)
    on_board = next(iter(board.snapshot().legs.values()), None)
    leg = facts_of_events(events)
    assert (leg is None) == (on_board is None)
    if leg is None or on_board is None:
        return
    assert (leg.from_, leg.to, leg.call_sid) == (on_board.from_, on_board.to, on_board.call_sid)
    assert leg.kind.has_ended == on_board.is_final
    assert leg.status in (on_board.status, OTHER)
    assert leg.kind.sip_response_code in (on_board.sip_response_code or "", OTHER)
    assert leg.kind.is_child == (on_board.parent_call_sid is not None)
    shuffled = facts_of_events(chance.sample(events, len(events)))
    assert shuffled is not None
    assert shuffled._replace(delays=sorted(shuffled.delays)) == leg._replace(delays=sorted(leg.delays))
