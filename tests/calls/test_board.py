from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from email.utils import format_datetime
from itertools import permutations

import legs
import pytest
from events import WORLD, event, event_of, form, moment, samples, sid
from hypothesis import given
from hypothesis import strategies as st

from callctl.calls.board import Board, Snapshot
from callctl.calls.call import Call
from callctl.calls.event import CallEvent, NotACallEventError
from callctl.calls.family import FamilyTree
from callctl.calls.leg import Leg


def board_of(events: Sequence[CallEvent]) -> Snapshot:
    board = Board()
    for one in events:
        board.apply(one)
    return board.snapshot()


def leg_of(events: Sequence[CallEvent], call: int = 1) -> Leg:
    leg = board_of(events).leg(sid(call))
    assert leg is not None
    return leg


LIFE = [
    event(1, "initiated", number=0, at=0),
    event(1, "ringing", number=1, at=2),
    event(1, "in-progress", number=2, at=7),
    event(1, "completed", number=3, at=49, CallDuration="42", SipResponseCode="200"),
]


def test_a_leg_goes_through_its_life() -> None:
    leg = leg_of(LIFE)
    assert (leg.status, leg.duration, leg.sip_response_code, leg.source) == ("completed", 42, "200", "callback")
    assert (leg.initiated_at, leg.ringing_at) == (moment(0), moment(2))
    assert (leg.answered_at, leg.ended_at) == (moment(7), moment(49))
    assert leg.is_final
    assert not leg.is_live


@pytest.mark.parametrize(("steps", "since"), [(1, 0), (2, 2), (3, 7), (4, 49)])
def test_since_when_the_status_holds(steps: int, since: float) -> None:
    assert leg_of(LIFE[:steps]).status_since == moment(since)


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_all_orders_of_arrival_give_one_leg(order: tuple[int, ...]) -> None:
    assert board_of([LIFE[index] for index in order]) == board_of(LIFE)


def test_the_same_event_again_changes_nothing() -> None:
    board = Board()
    assert board.apply(LIFE[1]) is not None
    before = board.snapshot()
    assert board.apply(LIFE[1]) is None
    assert board.snapshot() is before


def test_late_events_are_reported_and_add_facts_without_going_back() -> None:
    board = Board()
    board.apply(LIFE[3])
    change = board.apply(
        event_of(form(1, "in-progress", number=2, at=7) | {"AnsweredBy": "human", "CallDuration": "3"})
    )
    assert change is not None
    assert change.late
    assert not change.status_changed
    assert (change.after.status, change.after.answered_by, change.after.duration) == ("completed", "human", 42)
    assert change.after.answered_at == moment(7)


def test_events_in_order_are_not_late() -> None:
    board = Board()
    changes = [board.apply(one) for one in LIFE]
    assert [change and change.late for change in changes] == [False] * 4
    assert [change and change.before and change.before.status for change in changes] == [
        None,
        "initiated",
        "ringing",
        "in-progress",
    ]


def test_a_lone_completed_with_number_0_is_the_end() -> None:
    assert leg_of([event(1, "ringing", number=5, at=9), event(1, "busy", number=0, at=3)]).status == "busy"


def test_of_five_ends_all_numbered_0_the_weightiest_counts() -> None:
    ends = [event(1, status, number=0, at=5) for status in ("busy", "failed", "completed", "canceled", "no-answer")]
    for order in permutations(ends):
        assert leg_of(order).status == "completed"


def test_the_higher_number_wins_among_ends_and_then_the_later_time() -> None:
    assert leg_of([event(1, "completed", number=1, at=9), event(1, "failed", number=2, at=1)]).status == "failed"
    assert leg_of([event(1, "completed", number=1, at=1), event(1, "canceled", number=1, at=2)]).status == "canceled"


def test_an_unknown_status_shows_only_where_nothing_better_is_known() -> None:
    strange = event(1, "teleported", at=5)
    assert leg_of([strange]).status == "teleported"
    assert leg_of([strange]).is_live
    assert leg_of([event(1, "queued", at=0), strange]).status == "queued"


def test_a_poll_adds_what_no_callback_reported_but_not_when_it_was_answered() -> None:
    polled = CallEvent.from_call(
        Call(sid(1), "in-progress", to="client:ann", start_time=moment(1)), received_at=moment(60), world=WORLD
    )
    assert (leg_of([polled]).source, leg_of([polled]).answered_at) == ("polled", moment(1))
    leg = leg_of([polled, event(1, "in-progress", number=2, at=7)])
    assert (leg.source, leg.answered_at) == ("callback", moment(7))


def test_an_end_found_by_asking_is_marked_missed() -> None:
    call = Call(sid(1), "completed", duration=40, end_time=moment(45))
    missed = CallEvent.from_call(call, received_at=moment(60), world=WORLD, kind="missed")
    leg = leg_of([*LIFE[:3], missed])
    assert (leg.status, leg.source, leg.ended_at, leg.duration) == ("completed", "missed", moment(45), 40)


def test_one_unverified_event_marks_the_leg() -> None:
    assert leg_of(LIFE).verified
    assert not leg_of([*LIFE, event_of(form(1, "ringing", number=9), verified=False)]).verified


def test_families_come_newest_first_and_children_as_they_appeared() -> None:
    snapshot = board_of(
        [
            event(1, "in-progress", at=0),
            event(5, "ringing", at=4, parent=1),
            event(2, "ringing", at=9, parent=1),
            event(3, "ringing", at=6),
        ]
    )
    assert [family.sid for family in snapshot.families] == [sid(3), sid(1)]
    family = snapshot.families[1]
    assert family.parent is not None
    assert [leg.call_sid for leg in family.children] == [sid(5), sid(2)]
    assert [leg.call_sid for leg in family.legs] == [sid(1), sid(5), sid(2)]
    assert (family.first_at, family.last_event_at, family.is_live) == (moment(0), moment(9), True)


def test_a_child_seen_before_its_parent_is_joined_later() -> None:
    board = Board()
    board.apply(event(2, "ringing", at=3, parent=1))
    (waiting,) = board.snapshot().families
    assert (waiting.sid, waiting.parent, len(waiting.children)) == (sid(1), None, 1)

    board.apply(event(1, "in-progress", at=1))
    (joined,) = board.snapshot().families
    assert joined.parent is not None
    assert [leg.call_sid for leg in joined.children] == [sid(2)]


def test_a_grandchild_belongs_to_the_family() -> None:
    events = [event(1, "in-progress", at=0), event(2, "in-progress", at=1, parent=1), event(3, "busy", at=2, parent=2)]
    for order in permutations(events):
        (family,) = board_of(order).families
        assert [leg.call_sid for leg in family.legs] == [sid(1), sid(2), sid(3)]


def test_legs_that_are_each_others_parents_make_one_family_in_any_order() -> None:
    circle = [event(1, "ringing", parent=2), event(2, "ringing", parent=3), event(3, "ringing", parent=1)]
    outcomes = {repr(board_of(order).families) for order in permutations(circle)}
    assert len(outcomes) == 1
    assert len(board_of(circle).families) == 1


def test_of_a_long_row_of_parents_each_way_up_is_gone_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted_legs: list[str] = []
    up = FamilyTree._root

    def counted(tree: FamilyTree, leg: str) -> str:
        counted_legs.append(leg)
        return up(tree, leg)

    monkeypatch.setattr(FamilyTree, "_root", counted)
    # Each is reported before its parent, so that all below move with it.
    board = board_of([event(number, "ringing", parent=number + 1) for number in range(200)])
    (family,) = board.families
    assert (family.sid, len(family.legs)) == (sid(200), 200)
    assert len(counted_legs) == 200


def test_a_snapshot_stays_as_it_is() -> None:
    board = Board()
    board.apply(LIFE[0])
    early = board.snapshot()
    board.apply(LIFE[3])
    leg = early.leg(sid(1))
    assert leg is not None
    assert (leg.status, early.live, early.ended) == ("initiated", 1, 0)
    assert (board.snapshot().live, board.snapshot().ended) == (0, 1)


def test_only_changed_families_are_built_anew() -> None:
    board = Board()
    for call in range(1, 50):
        board.apply(event(call, "ringing", at=call))
    before = {family.sid: family for family in board.snapshot().families}
    board.apply(event(7, "completed", at=99))
    changed = [family.sid for family in board.snapshot().families if before[family.sid] is not family]
    assert changed == [sid(7)]


def test_forgetting_drops_ended_families_only() -> None:
    board = Board()
    board.apply(event(1, "completed", at=10))
    board.apply(event(2, "busy", at=10, parent=1))
    board.apply(event(3, "in-progress", at=10))
    board.apply(event(4, "completed", at=90))
    assert board.forget(before=moment(50), now=moment(500)) == 1
    snapshot = board.snapshot()
    assert [family.sid for family in snapshot.families] == [sid(4), sid(3)]
    assert (snapshot.live, snapshot.ended, snapshot.leg(sid(1))) == (1, 1, None)
    assert sorted(snapshot.family_of) == [sid(3), sid(4)]
    board.apply(event(2, "busy", at=10, parent=1))
    assert len(board.snapshot().families) == 3


def test_a_family_that_has_just_ended_stays_where_the_clock_was_behind_when_its_events_came() -> None:
    board = Board()
    for call, at in ((1, 60), (2, 40), (3, 10**9)):  # the last Timestamp can't be right
        board.apply(event(call, "completed", at=at, received=0))
    assert board.forget(before=moment(50), now=moment(100)) == 2
    assert [family.sid for family in board.snapshot().families] == [sid(1)]


def test_a_call_reported_without_end_does_not_fill_the_memory() -> None:
    board = Board()
    for number in range(1000):
        board.apply(event(1, "in-progress", number=number, at=number))
    fold = board._folds[sid(1)]
    assert len(fold._keys) < 100
    leg = board.snapshot().leg(sid(1))
    assert leg is not None
    assert leg.last_event_at == moment(999)


def test_the_samples_give_one_board_in_any_order() -> None:
    events = []
    for index, sample in enumerate(samples("callbacks.jsonl")):
        try:
            events.append(event_of(sample["params"], received=index))
        except NotACallEventError:
            continue
    snapshot = board_of(events)
    assert snapshot.live + snapshot.ended == len({one.call_sid for one in events})
    assert sum(len(family.legs) for family in snapshot.families) == snapshot.live + snapshot.ended
    for seed in range(20):
        shuffled = events * 2
        random.Random(seed).shuffle(shuffled)
        assert board_of(shuffled) == snapshot


STATUSES = [
    "queued",
    "initiated",
    "ringing",
    "in-progress",
    "completed",
    "busy",
    "no-answer",
    "failed",
    "canceled",
    "x",
]
CALLS = st.integers(1, 4)


@st.composite
def any_event(draw: st.DrawFn) -> CallEvent:
    """Any event of a small family, parents in circles and callbacks without numbers or times included."""
    fields = form(
        draw(CALLS),
        draw(st.sampled_from(STATUSES)),
        number=draw(st.none() | st.integers(0, 3)),
        at=draw(st.none() | st.integers(0, 5)),
        parent=draw(st.none() | CALLS),
    )
    extra = {name: draw(st.sampled_from(["", "1", "2"])) for name in ("CallDuration", "AnsweredBy", "SipResponseCode")}
    if draw(st.booleans()):
        del fields["CallbackSource"]
        extra["ApiVersion"] = "2010-04-01"
    return event_of(fields | extra, received=draw(st.integers(0, 9)), verified=draw(st.booleans()))


@st.composite
def polled_event(draw: st.DrawFn) -> CallEvent:
    call = Call(
        sid(draw(CALLS)),
        draw(st.sampled_from(STATUSES)),
        parent_call_sid=draw(st.none() | CALLS.map(sid)),
        start_time=draw(st.none() | st.integers(0, 5).map(moment)),
        end_time=draw(st.none() | st.integers(0, 5).map(moment)),
        duration=draw(st.none() | st.integers(0, 5)),
    )
    kind = draw(st.sampled_from(["polled", "missed"]))
    return CallEvent.from_call(call, received_at=moment(draw(st.integers(0, 9))), world=WORLD, kind=kind)


def feature_event() -> st.SearchStrategy[CallEvent]:
    answers = st.sampled_from(["human", "machine_start", "fax"]).map(lambda answer: {"AnsweredBy": answer})
    recordings = st.integers(1, 3).map(
        lambda one: {"RecordingSid": f"RE{one % 2}", "RecordingStatus": ["completed", "in-progress"][one % 3 == 0]}
    )
    calls = st.integers(1, 4).map(lambda call: {"CallSid": sid(call)})
    of_calls = answers | recordings | participant()
    return st.builds(lambda one, call: event_of(call | one), of_calls, calls) | conference_event().map(event_of)


def conference_event() -> st.SearchStrategy[dict[str, str]]:
    return st.builds(
        lambda room, name: {"ConferenceSid": f"CF{room}", "StatusCallbackEvent": name},
        st.integers(1, 3),
        st.sampled_from(["conference-start", "conference-end"]),
    )


@st.composite
def participant(draw: st.DrawFn) -> dict[str, str]:
    """Anything that may be reported of a participant, without a number or a time as well."""
    number, at = draw(st.none() | st.integers(0, 3)), draw(st.none() | st.integers(0, 3))
    fields = {
        "ConferenceSid": f"CF{draw(st.integers(1, 3))}",
        "StatusCallbackEvent": draw(st.sampled_from(["participant-join", "participant-leave", "participant-hold"])),
        "Hold": draw(st.sampled_from(["true", "false"])),
    }
    fields |= {} if number is None else {"SequenceNumber": str(number)}
    return fields | ({} if at is None else {"Timestamp": format_datetime(moment(at))})


@given(
    events=st.lists(any_event() | polled_event() | feature_event(), max_size=12, unique_by=lambda one: one.key),
    data=st.data(),
)
def test_any_permutation_and_duplication_gives_the_same_board(events: list[CallEvent], data: st.DataObject) -> None:
    repeated = events + data.draw(st.lists(st.sampled_from(events), max_size=6) if events else st.just([]))
    shuffled = data.draw(st.permutations(repeated))
    looked_at = data.draw(st.integers(0, len(shuffled)))

    board = Board()
    for index, one in enumerate(shuffled):
        if index == looked_at:
            board.snapshot()  # looking at it in between must not change what it becomes
        board.apply(one)
    snapshot = board.snapshot()

    assert snapshot == board_of(events)
    assert sorted(snapshot.legs) == sorted({one.call_sid for one in events if one.status})
    assert [leg for family in snapshot.families for leg in family.legs if snapshot.leg(leg.call_sid) != leg] == []
    assert sum(len(family.legs) for family in snapshot.families) == len(snapshot.legs)
    assert snapshot.family_of == {leg.call_sid: family for family in snapshot.families for leg in family.legs}


def test_a_family_is_gone_through_in_the_order_of_arrival_so_that_sorting_thousands_takes_little() -> None:
    tree, children = FamilyTree(), [sid(number) for number in range(100, 200)]
    for child in children:
        tree.place(child, sid(1))
    tree.place(sid(1), None)
    tree.remove(children[50])
    assert list(tree.members(sid(1))) == [*children[:50], *children[51:], sid(1)]


def test_legs_of_one_second_stand_in_the_order_of_their_reports() -> None:
    late, early = "CA" + "1" * 32, "CA" + "2" * 32
    events = [
        replace(legs.callback(one, "initiated", second=5, sequence=0, parent=legs.PARENT), received_at=moment(delay))
        for one, delay in ((late, 8), (early, 7))
    ]
    for order in (events, events[::-1]):
        (family,) = board_of(order).families
        assert [leg.call_sid for leg in family.children] == [early, late]


def test_what_tells_no_status_makes_no_leg_but_is_known_once_there_is_one() -> None:
    board = Board()
    detected = event_of({"CallSid": sid(1), "AnsweredBy": "machine_start"}, received=8)
    assert board.apply(detected) is None
    assert board.apply(event_of({"ConferenceSid": "CF1", "StatusCallbackEvent": "conference-start"})) is None
    assert board.snapshot() == Snapshot()
    change = board.apply(LIFE[2])
    assert change is not None
    assert (change.before, change.after.answered_by, change.after.status) == (None, "machine_start", "in-progress")
    assert board.apply(detected) is None
    (other,) = board.snapshot().legs.values()
    assert other == change.after


def test_a_machine_detection_that_comes_later_changes_its_leg_and_not_its_status() -> None:
    board = Board()
    board.apply(LIFE[2])
    change = board.apply(event_of({"CallSid": sid(1), "AnsweredBy": "fax"}, received=9))
    assert change is not None
    assert change.before is not None
    assert (change.before.answered_by, change.after.answered_by, change.after.status) == (None, "fax", "in-progress")
    assert (change.status_changed, change.late) == (False, False)


def test_what_never_got_a_status_is_forgotten() -> None:
    board = Board()
    detected = event_of({"CallSid": sid(1), "AnsweredBy": "fax"}, received=9)
    board.apply(detected)
    board.forget(before=moment(9), now=moment(9))
    assert list(board._folds) == [sid(1)]
    board.forget(before=moment(10), now=moment(10))
    assert list(board._folds) == []
