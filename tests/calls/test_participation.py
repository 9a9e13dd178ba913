"""In which conference a leg is: what the callbacks of conferences and recordings make of a leg on the board."""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import format_datetime
from itertools import permutations
from typing import Any

import pytest
from events import event, event_of, moment, sid

from callctl.calls.board import Board
from callctl.calls.event import CallEvent
from callctl.calls.leg import Leg
from callctl.calls.participation import Participation

ANSWERED = event(1, "in-progress", at=0, number=2)


def reported(name: str, number: int, *, at: float, call: int = 1, room: int = 1, **more: str) -> CallEvent:
    """Return a conference's callback about a participant."""
    fields = {
        "ConferenceSid": f"CF{room}",
        "FriendlyName": f"room-{room}",
        "SequenceNumber": str(number),
        "Timestamp": format_datetime(moment(at)),
        "StatusCallbackEvent": name,
        "CallSid": sid(call),
        "Muted": "false",
        "Hold": "false",
    }
    return event_of(fields | more, received=at)


def ended(number: int, *, at: float, room: int = 1) -> CallEvent:
    """Return the callback of a conference's end, which is about no participant."""
    fields = {
        "ConferenceSid": f"CF{room}",
        "SequenceNumber": str(number),
        "Timestamp": format_datetime(moment(at)),
        "StatusCallbackEvent": "conference-end",
    }
    return event_of(fields, received=at)


def recorded(status: str, recording: int = 1) -> CallEvent:
    fields = {"CallSid": sid(1), "RecordingSid": f"RE{recording}", "RecordingStatus": status}
    return event_of(fields, received=5)


def leg_after(events: Sequence[CallEvent], call: int = 1) -> Leg:
    board = Board()
    for one in events:
        board.apply(one)
    leg = board.snapshot().leg(sid(call))
    assert leg is not None
    return leg


def room_after(*events: CallEvent) -> Participation | None:
    """Return the same, whatever the order of the events."""
    rooms = [leg_after(order).conference for order in permutations([ANSWERED, *events])]
    assert [one for one in rooms if one != rooms[0]] == []
    return rooms[0]


JOIN = reported("participant-join", 0, at=3, ParticipantLabel="agent")


def test_who_joined_is_in_the_conference_since_then() -> None:
    assert room_after(JOIN) == Participation("CF1", "room-1", "agent", moment(3), False, False, False)


@pytest.mark.parametrize(
    ("name", "flags", "states"),
    [
        ("participant-hold", {"Hold": "true"}, ("on hold",)),
        ("participant-mute", {"Muted": "true"}, ("muted",)),
        ("participant-modify", {"Hold": "true", "Muted": "true", "Coaching": "true"}, ("on hold", "muted", "coaching")),
    ],
)
def test_hold_and_mute_show_until_they_are_over(name: str, flags: dict[str, str], states: tuple[str, ...]) -> None:
    on = reported(name, 2, at=5, call=1, room=1, **flags)
    held = room_after(JOIN, on)
    assert held is not None
    assert (held.states, held.since) == (states, moment(3))
    free = room_after(JOIN, on, reported("participant-modify", 3, at=5))
    assert free is not None
    assert (free.states, free.since) == ((), moment(3))


def test_who_left_is_in_none_and_who_comes_again_is_since_then() -> None:
    left = reported("participant-leave", 2, at=3)
    assert room_after(JOIN, left) is None
    again = room_after(JOIN, left, reported("participant-join", 3, at=9))
    assert again is not None
    assert again.since == moment(9)
    # The callback of the second join was lost.
    somehow = room_after(JOIN, left, reported("participant-mute", 4, at=9, Muted="true"))
    assert somehow is not None
    assert (somehow.since, somehow.states) == (None, ("muted",))


def test_who_goes_from_one_to_another_in_one_second_is_in_the_other() -> None:
    other = room_after(JOIN, reported("participant-leave", 7, at=8), reported("participant-join", 0, at=8, room=2))
    assert other is not None
    assert (other.conference_sid, other.since) == ("CF2", moment(8))


def test_who_could_not_be_added_was_never_in_it() -> None:
    assert room_after(reported("participant-leave", 4, at=3, ReasonParticipantLeft="participant_add_failed")) is None


def test_nobody_is_in_a_conference_that_is_over_whose_leave_was_lost() -> None:
    assert room_after(JOIN, ended(5, at=9)) is None
    assert room_after(JOIN, ended(5, at=9, room=2)) is not None


def test_an_end_changes_the_legs_that_are_shown_and_families_stay() -> None:
    board = Board()
    for one in (ANSWERED, JOIN, event(2, "in-progress", at=1, number=2, parent=1)):
        board.apply(one)
    before = board.snapshot()
    assert board.apply(ended(5, at=9)) is None
    after = board.snapshot()
    assert [leg.conference and leg.conference.name for leg in before.families[0].legs] == ["room-1", None]
    assert [leg.conference for leg in after.families[0].legs] == [None, None]
    assert (after.live, after.ended) == (before.live, before.ended)


def test_a_leg_that_has_ended_is_in_none() -> None:
    assert room_after(JOIN, event(1, "completed", at=9, number=3)) is None


def test_what_a_sender_reports_without_end_does_not_fill_the_memory() -> None:
    board = Board()
    board.apply(ANSWERED)
    for room in range(100):
        board.apply(reported("participant-join", 0, at=room, room=room))
        board.apply(event_of({"CallSid": sid(1), "RecordingSid": f"RE{room}", "RecordingStatus": "in-progress"}))
    leg = board.snapshot().leg(sid(1))
    assert leg is not None
    assert leg.conference is not None
    assert leg.conference.name == "room-99"
    fold = board._folds[sid(1)]
    assert fold._participations is not None
    assert (len(fold._participations._stays), len(fold._recordings or ())) == (8, 16)


def test_the_memory_of_conferences_that_are_over_is_dropped() -> None:
    board = Board()
    board.apply(ended(5, at=9))
    board.forget(before=moment(9), now=moment(9))
    assert list(board._ended_conferences) == ["CF1"]
    board.forget(before=moment(10), now=moment(10))
    assert list(board._ended_conferences) == []


@pytest.mark.parametrize(
    ("events", "is_recorded"),
    [
        ([], False),
        ([recorded("in-progress")], True),
        ([recorded("in-progress"), recorded("paused")], True),
        ([recorded("in-progress"), recorded("completed")], False),
        ([recorded("in-progress"), recorded("absent")], False),
        ([recorded("completed"), recorded("in-progress", 2)], True),
        ([recorded("in-progress"), event(1, "completed", at=9, number=3)], False),
    ],
)
def test_a_leg_is_recorded_until_its_recording_is_over(events: list[CallEvent], is_recorded: bool) -> None:
    for order in permutations([ANSWERED, *events]):
        assert leg_after(order).is_recorded is is_recorded


def test_json_has_it_and_null_where_there_is_none() -> None:
    def json_after(*events: CallEvent) -> tuple[Any, Any]:
        record = leg_after([ANSWERED, *events]).to_json()
        return record["conference"], record["recording"]

    assert json_after() == (None, False)
    assert json_after(JOIN, recorded("in-progress")) == (
        {
            "conference_sid": "CF1",
            "friendly_name": "room-1",
            "participant_label": "agent",
            "since": "2026-11-23T10:00:03Z",
            "muted": False,
            "hold": False,
            "coaching": False,
        },
        True,
    )
