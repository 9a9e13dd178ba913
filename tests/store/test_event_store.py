"""What every event store promises, held against each of them: the SQLite file and PostgreSQL."""

from __future__ import annotations

import asyncio
import itertools
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest
from claims import claimed
from events import START, WORLD, event, event_of, form, moment, sid
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paths import TESTS

from callctl.calls.action import DECLINED, LATE, REFUSED, UNKNOWN, ActionEvent
from callctl.calls.board import Board
from callctl.calls.call import Call, is_final
from callctl.calls.event import MISSED, CallEvent
from callctl.errors import StoreError
from callctl.store.event_store import EventStore
from callctl.store.postgresql.store import PostgresStore
from callctl.store.records import ActionLimit, OpenClaim, Refusal, Undelivered, declined_rule
from callctl.store.sqlite.store import SqliteStore

CLAIM = OpenClaim("after-dial", sid(1), sid(2), "redirect")
DONE = ActionEvent(START, sid(1), "redirect", (("Url", "https://example.com/"),), "redirected", rule="after-dial")
LEASE = timedelta(seconds=90)
PROCESS = TESTS / "store_process.py"
_worlds = itertools.count(1)


class Opens(Protocol):
    """Opens the same store once more, as another process would."""

    location: str

    def __call__(self, *, world: str = WORLD, by: str = "ann@desk") -> EventStore: ...


class _Files:
    def __init__(self, path: Path) -> None:
        self.location = str(path)
        self.opened: list[EventStore] = []

    def __call__(self, *, world: str = WORLD, by: str = "ann@desk") -> EventStore:  # noqa: ARG002
        self.opened.append(SqliteStore.open_for_watch(Path(self.location), world=world))
        return self.opened[-1]


class _Databases:
    def __init__(self, url: str) -> None:
        self.location = url
        self.opened: list[EventStore] = []

    def __call__(self, *, world: str = WORLD, by: str = "ann@desk") -> EventStore:
        self.opened.append(PostgresStore.open(self.location, world=world, by=by))
        return self.opened[-1]


@pytest.fixture(params=["sqlite", "postgresql"])
def opens(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opens]:
    made: _Files | _Databases
    if request.param == "sqlite":
        made = _Files(tmp_path / "events.db")
    else:
        made = _Databases(request.getfixturevalue("shared_store"))
    yield made
    for store in made.opened:
        store.close()


@pytest.fixture
def store(opens: Opens) -> EventStore:
    return opens()


def all_events(store: EventStore) -> list[CallEvent]:
    return list(store.replay(since=None))


# Events


def test_what_is_acknowledged_is_there_for_a_new_connection_and_counts_once(store: EventStore, opens: Opens) -> None:
    first, second = event(1, "ringing", number=0, at=1), event(1, "in-progress", number=1, at=2)
    assert store.append(first)
    assert all_events(opens()) == [first]
    assert [store.append(second), store.append(first), opens().append(second)] == [True, False, False]
    assert all_events(opens()) == [first, second]


def test_of_one_event_twice_in_a_commit_the_first_is_new(store: EventStore) -> None:
    events = [event(number % 3, "ringing", number=0, at=1) for number in range(60)]
    outcomes = [store.submit(one) for one in events]
    assert [outcome.result(timeout=60) for outcome in outcomes] == [True] * 3 + [False] * 57
    assert all_events(store) == events[:3]


async def test_events_of_a_loop_are_acknowledged_too(store: EventStore) -> None:
    events = [event(number, "ringing", number=0, at=number) for number in range(300)]
    assert all(await asyncio.gather(*map(store.append_async, events)))
    assert sorted(one.call_sid for one in all_events(store)) == [sid(number) for number in range(300)]


def test_a_test_that_something_can_be_stored_changes_nothing_that_others_see(store: EventStore, opens: Opens) -> None:
    other, unused = opens(), opens(world="ffffffffffffffff")
    first, second = event(1, "ringing", number=0, at=1), event(2, "ringing", number=0, at=1)
    assert store.append(first)
    for one in (store, other, unused, store):
        one.check_writable()
    assert other.after(0) == [(1, first)]
    assert (store.last_event_id(), other.last_event_id(), unused.after(0)) == (1, 1, [])
    assert [row.call_sid for row in (*other.calls_starting("CA"), *unused.calls_starting("CA"))] == [first.call_sid]
    assert other.append(second)
    assert [store.after(1), other.after(1)] == [[(2, second)], [(2, second)]]


ODD = [
    "",
    "\0",
    "a\0b",
    "\ue000",
    "\ue0000041",
    "\ue000e000",
    "\n",
    "\\u0000",
    "😀",
    "\x1b[2J\u202e",
    '"',
    '","',
    "\\",
    "\x7f",
    "{}",
    "\ufffd",
    "%s",
]


@pytest.mark.parametrize("text", ODD)
def test_any_text_of_a_form_comes_back(store: EventStore, opens: Opens, text: str) -> None:
    one = event_of({**form(1, "ringing", number=0, at=1), "CallerName": text, f"Odd{text}": text})
    assert store.append(one)
    assert all_events(opens()) == [one]
    assert [found for _, found in store.after(0)] == [one]


def test_half_a_surrogate_pair_and_a_form_of_64_kib_come_back(store: EventStore) -> None:
    fields = {f"Field{number}": "ü" * 1000 for number in range(32)}
    large = event_of({**form(1, "ringing", number=0, at=1), **fields})
    half = event_of({**form(2, "ringing", number=0, at=1), "CallerName": "\ud83d"})
    assert store.append(large)
    assert store.append(half)
    found = all_events(store)
    assert found == [large, half]


_NUMBERS = itertools.count(1)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["queued", "initiated", "ringing", "in-progress", "completed", "busy", "failed", "odd"]),
            st.none() | st.integers(0, 4),
            st.none() | st.integers(0, 90),
            st.booleans(),
        ),
        min_size=1,
        max_size=8,
    ),
    order=st.randoms(use_true_random=False),
)
def test_a_calls_row_says_what_the_board_makes_of_its_events_in_any_order(
    store: EventStore, steps: list[tuple[str, int | None, int | None, bool]], order: random.Random
) -> None:
    call = next(_NUMBERS)  # the store is that of the examples before
    events = [
        event(call, status, number=number, at=at, parent="CA-parent" if is_child else None, received=index)
        for index, (status, number, at, is_child) in enumerate(steps)
    ]
    order.shuffle(events)
    for outcome in [store.submit(one) for one in events]:
        outcome.result(timeout=60)
    board = Board()
    for one in order.sample(events, len(events)):
        board.apply(one)
    leg, row = board.snapshot().leg(sid(call)), store.call(sid(call))
    assert leg is not None
    assert row is not None
    assert (row.status, row.parent_call_sid) == (leg.status, leg.parent_call_sid)
    assert row.is_final == is_final(leg.status)
    assert row.last_event_at == max(max(one.received_at, one.moment) for one in events)


def _sorted(calls: Iterable[list[CallEvent]]) -> list[list[CallEvent]]:
    return sorted((sorted(each, key=lambda one: one.key) for each in calls), key=lambda each: each[0].call_sid)


def by_call(events: Iterable[CallEvent]) -> list[list[CallEvent]]:
    calls: dict[str, list[CallEvent]] = {}
    for one in events:
        calls.setdefault(one.call_sid, []).append(one)
    return _sorted(calls.values())


def events_in(records: Iterable[list[str]]) -> list[list[CallEvent]]:
    return _sorted([CallEvent.from_record(record) for record in of_a_call] for of_a_call in records)


def test_records_come_call_by_call_and_read_as_the_events_do(store: EventStore, opens: Opens) -> None:
    texts = [*ODD, '", "', "[]", "\\u2028", "\\\\ue000", '"\\n"']
    events = [
        event_of({**form(number % 300, "ringing", number=number, at=number), "CallerName": text, f"Odd{text}": text})
        for number, text in zip(range(900), itertools.cycle(texts), strict=False)
    ]
    events.append(CallEvent.from_call(Call(sid(7), "completed"), received_at=moment(9), world=WORLD, kind=MISSED))
    opens(world="another").append(event(1, "ringing", number=0, at=1))
    for outcome in [store.submit(one) for one in events]:
        assert outcome.result(timeout=60)
    found = list(store.records())
    assert len(found) == 300
    assert events_in(found) == by_call(all_events(store)) == by_call(events)


def test_records_of_calls_that_were_touched_since_are_whole(store: EventStore) -> None:
    events = [
        event(1, "ringing", number=0, at=1),
        event(2, "ringing", number=0, at=2),
        event(1, "completed", number=1, at=60),
        event(3, "ringing", number=0, at=50),
    ]
    for one in events:
        store.append(one)
    assert events_in(store.records(since=moment(50))) == by_call(one for one in events if one.call_sid != sid(2))
    assert list(store.records(since=moment(61))) == []


def test_each_call_is_in_one_of_the_parts(store: EventStore) -> None:
    events = [event(number, "ringing", number=0, at=number) for number in range(1200)]
    for outcome in [store.submit(one) for one in events]:
        outcome.result(timeout=60)
    parts = [list(store.records(part=part, of=3)) for part in range(3)]
    assert all(parts)
    assert events_in(itertools.chain(*parts)) == by_call(events)


def test_what_comes_while_records_are_read_is_not_among_them(store: EventStore) -> None:
    events = [event(number, "ringing", number=0, at=number) for number in range(600)]
    for outcome in [store.submit(one) for one in events]:
        outcome.result(timeout=60)
    found = []
    for number, records in enumerate(store.records()):
        found.append(records)
        if number == 0:  # of a call that was read, of one that is still to be read, and of a new one
            for call in (0, 599, 600):
                store.append(event(call, "completed", number=1, at=1000))
    assert events_in(found) == by_call(events)


def test_replay_has_whole_families_and_no_old_ones_and_ends_where_reading_on_begins(store: EventStore) -> None:
    old = [event(1, "ringing", number=0, at=1), event(1, "completed", number=1, at=2)]
    live = [event(2, "in-progress", number=0, at=3), event(3, "completed", number=0, at=4, parent=2)]
    recent = [event(5, "completed", number=0, at=5, parent=4), event(4, "completed", number=1, at=9000)]
    for one in [*old, *live, *recent]:
        assert store.append(one)
    last = store.last_event_id()
    later = event(2, "completed", number=1, at=9001)
    store.append(later)
    assert list(store.replay(since=moment(8000), up_to=last)) == [*live, *recent]
    assert [one for _, one in store.after(last)] == [later]
    assert list(store.replay(since=moment(8000))) == [*live, *recent, later]
    assert list(store.family(sid(3))) == [*live, later]
    assert list(store.family(sid(4))) == recent
    assert list(store.family("CA-unknown")) == []


def test_a_whole_family_is_read_whichever_leg_is_named(store: EventStore, opens: Opens) -> None:
    # 9, of which no event came, dialled 1 and 2; 2 dialled 3, and that one 4. 6 and 7 name each other.
    family = [event(number, "ringing", at=at, parent=parent) for at, (number, parent) in enumerate(
        [(4, 3), (1, 9), (3, 2), (2, 9)]
    )]  # fmt: skip
    circle = [event(6, "ringing", parent=7), event(7, "ringing", parent=6)]
    for one in (*family, event(5, "ringing"), *circle):
        store.append(one)
    opens(world="fedcba9876543210").append(event(8, "ringing", parent=4))
    for number in (1, 2, 3, 4, 9):
        assert list(store.whole_family(sid(number))) == family
    assert list(store.whole_family(sid(6))) == list(store.whole_family(sid(7))) == circle
    assert [one.call_sid for one in store.whole_family(sid(5))] == [sid(5)]
    assert list(store.whole_family("CA-unknown")) == []


def test_ends_that_no_callback_reported_are_read_on_by_themselves(store: EventStore, opens: Opens) -> None:
    def end(number: int, name: str = "") -> CallEvent:
        call = Call(sid(number), "completed", caller_name=name, to="missed", date_created=START)
        return CallEvent.from_call(call, received_at=START, world=WORLD, kind=MISSED)

    assert store.missed_after(0) == (0, [])
    for one in (event(1, "ringing"), end(1), event(2, "ringing", CallerName="missed"), end(2, "two\nlines")):
        store.append(one)
    opens(world="fedcba9876543210").append(end(3))
    last, missed = store.missed_after(0)
    assert last == store.last_event_id()
    assert [(one.kind, one.call_sid) for one in missed] == [(MISSED, sid(1)), (MISSED, sid(2))]
    assert store.missed_after(last) == (last, [])
    store.append(event(4, "ringing"))
    newest, missed = store.missed_after(last)
    assert (newest > last, missed) == (True, [])


def test_calls_are_found_by_the_beginning_of_their_sids_and_live_and_ended_ones_listed(store: EventStore) -> None:
    for number, status in ((11, "ringing"), (12, "completed"), (2, "in-progress")):
        store.append(event(number, status, number=0, at=number))
    assert [row.call_sid for row in store.calls_starting(sid(11)[:-1])] == [sid(12), sid(11)]
    assert store.calls_starting("CA%") == store.calls_starting("CA\0") == []
    assert [row.call_sid for row in store.live_calls()] == [sid(2), sid(11)]
    store.append(event(3, "busy", number=0, at=13))
    assert [(row.call_sid, row.status) for row in store.ended_calls(limit=3)] == [
        (sid(3), "busy"),
        (sid(12), "completed"),
    ]
    assert [row.call_sid for row in store.ended_calls(limit=1)] == [sid(3)]


def test_old_calls_are_deleted_in_steps_with_what_was_done_to_them(store: EventStore) -> None:
    for number in range(5):
        store.append(event(number, "completed", number=0, at=number))
    store.append(event(9, "completed", number=0, at=5000))
    store.record_actions([ActionEvent(moment(1), sid(number), "hangup", (), "done") for number in (1, 9)])
    assert [store.delete_older_than(moment(100), limit=3) for _ in range(3)] == [3, 2, 0]
    assert [one.call_sid for one in all_events(store)] == [sid(9)]
    assert store.actions(sid(1)) == []
    assert len(store.actions(sid(9))) == 1
    assert store.cap_times(moment(50)) == 1
    assert store.cap_times(moment(50)) == 0
    row = store.call(sid(9))
    assert row is not None
    assert row.last_event_at == moment(50)


def test_an_event_that_is_deleted_may_be_stored_anew_and_is_read_on(store: EventStore) -> None:
    store.append(event(1, "completed", number=0, at=1))
    last = store.last_event_id()
    store.delete_older_than(moment(100))
    assert store.append(event(1, "completed", number=0, at=1))
    assert len(store.after(last)) == 1


def test_two_worlds_never_see_each_other(store: EventStore, opens: Opens) -> None:
    other = opens(world="fedcba9876543210")
    one = event(1, "ringing", number=0, at=1)
    assert store.append(one)
    assert (all_events(other), other.call(sid(1)), other.live_calls(), other.after(0)) == ([], None, [], [])
    assert other.ended_calls(limit=1) == []
    assert other.append(one)
    held = claimed(store, CLAIM, now=START, until=START + LEASE)
    store.remember_placed(sid(1), at=START, callback="https://example.com/status")
    store.add_intents([sid(1)], now=START, until=START + LEASE)
    store.record_actions([DONE])
    assert not other.renew(held, now=START, until=START + LEASE)
    assert not other.settle(held, DONE)
    assert other.claim_keys() == set()
    assert (other.last_placed(), other.was_placed(sid(1)), other.actions(sid(1))) == (None, False, [])
    assert not other.had_intent(sid(1))
    other.delete_older_than(moment(10**6))
    assert all_events(store) == [one]
    assert store.claim_keys() == {("after-dial", sid(1))}


# Two processes


def test_the_same_events_over_two_processes_at_once_count_once_and_a_follower_misses_none(opens: Opens) -> None:
    count, reader = 2000, opens()
    command = [sys.executable, str(PROCESS), "write", opens.location]
    writers = [
        subprocess.Popen([*command, str(seed), str(count), "1"], stdout=subprocess.PIPE, text=True) for seed in (1, 2)
    ]
    last, read, is_over = 0, list[CallEvent](), False
    while not is_over:
        is_over = all(writer.poll() is not None for writer in writers)
        while found := reader.after(last, limit=100):
            last = found[-1][0]
            read += [one for _, one in found]
    new = [int(number) for writer in writers for number in writer.communicate()[0].split()]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert sorted(new) == list(range(count))
    assert len(read) == len({one.key for one in read}) == count
    assert {one.key for one in all_events(opens())} == {one.key for one in read}


def test_who_comes_while_two_processes_write_reads_what_was_and_what_comes_without_a_gap_or_a_repeat(
    opens: Opens,
) -> None:
    count, reader = 2000, opens()
    command = [sys.executable, str(PROCESS), "write", opens.location]
    writers = [
        subprocess.Popen(
            [*command, str(seed), str(count), "4"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for seed in (1, 2)
    ]
    lasts, joined = list[int](), list[list[CallEvent]]()
    is_over = False
    while not is_over:
        is_over = all(writer.poll() is not None for writer in writers)
        last = reader.last_event_id()
        if not lasts or last > lasts[-1]:
            lasts.append(last)
            joined.append(list(reader.replay(since=None, up_to=last)))
            joined[-1] += [one for _, one in reader.after(last)]
            for writer in writers:  # each writes the next part; the last one not before it came in the middle twice
                assert writer.stdin is not None
                with suppress(BrokenPipeError):  # it has ended
                    writer.stdin.write("\n")
                    writer.stdin.flush()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    assert len([last for last in lasts if 0 < last < count]) > 1  # it came in the middle
    whole = all_events(opens())
    assert len(whole) == count
    for events in joined:
        assert events == whole[: len(events)]


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9), st.booleans()), max_size=40))
def test_who_writes_and_reads_reads_the_same_as_others(opens: Opens, steps: list[tuple[int, int, bool]]) -> None:
    world = f"{next(_worlds):016x}"
    with closing(opens(world=world)) as one, closing(opens(world=world)) as other:
        read: list[list[tuple[int, CallEvent]]] = [[], []]
        stores = (one, other)
        for writer, number, reads in steps:
            stores[writer].append(event(number, "ringing", number=number, at=number))
            if reads:
                read[writer] += stores[writer].after(read[writer][-1][0] if read[writer] else 0)
        for mine, store in zip(read, stores, strict=True):
            mine += store.after(mine[-1][0] if mine else 0)
        again = one.after(0)
    assert read == [again, again]
    assert [found.received_at for _, found in read[0]] == [found.received_at for _, found in again]
    assert len(again) == len({number for _, number, _ in steps})


# Placed calls, actions, intents


def test_placed_calls_are_kept_with_what_rules_and_polls_ask_of_them(store: EventStore, opens: Opens) -> None:
    assert store.last_placed() is None
    store.remember_placed(
        sid(1), at=START, callback="https://example.com/status", events=("ringing", "completed"), dial_action="survey"
    )
    again = opens()
    assert again.last_placed() == sid(1)
    assert again.was_placed(sid(1))
    assert not again.was_placed(sid(2))
    assert (again.placed_at(sid(1)), again.placed_at(sid(2))) == (START, None)
    assert (again.dial_action(sid(1)), again.dial_action(sid(2))) == ("survey", None)
    (placed,) = again.placed_since(START, callback="https://example.com/status")
    assert (placed.call_sid, placed.at, placed.events) == (sid(1), START, ("ringing", "completed"))
    assert again.placed_since(moment(1), callback="https://example.com/status") == []
    assert store.forget_last_placed(at=START).former == sid(1)
    assert again.last_placed() == ""


def test_a_placed_call_that_its_dial_sends_nowhere_is_told_from_one_of_which_that_is_not_known(
    store: EventStore, opens: Opens
) -> None:
    for number, action in enumerate(("survey", "", None), 1):
        store.remember_placed(sid(number), at=START, dial_action=action)
    assert [opens().dial_action(sid(number)) for number in (1, 2, 3, 4)] == ["survey", "", None, None]


def test_a_call_that_was_not_placed_gives_way_to_the_one_before_unless_more_was_stored_since(store: EventStore) -> None:
    forgotten = store.forget_last_placed(at=START)
    assert (forgotten.former, store.last_placed()) == (None, "")
    store.restore_last_placed(forgotten)
    assert store.last_placed() is None
    store.remember_placed(sid(1), at=START)
    forgotten = store.forget_last_placed(at=moment(1))
    assert forgotten.former == sid(1)
    store.restore_last_placed(forgotten)
    assert store.last_placed() == sid(1)
    # Two at once: the first is refused while nothing is known of the second, and the second after the third was placed.
    first, second = store.forget_last_placed(at=moment(2)), store.forget_last_placed(at=moment(3))
    assert (first.former, second.former) == (sid(1), "")
    store.restore_last_placed(first)
    assert store.last_placed() == ""
    store.remember_placed(sid(2), at=moment(4))
    store.restore_last_placed(first)
    assert store.last_placed() == sid(2)


@pytest.mark.parametrize("second_at", [2, 1, -7200, 7200], ids=["right", "same", "behind", "ahead"])
def test_of_two_calls_that_are_placed_at_once_the_later_one_is_the_last_or_it_is_not_known(
    store: EventStore, second_at: int
) -> None:
    """The later one is the one that was forgotten for later, whatever the clock of each says."""
    store.remember_placed(sid(1), at=START)
    first, second = (store.forget_last_placed(at=moment(at)).turn for at in (1, second_at))
    store.remember_placed(sid(2), at=moment(3), turn=first)
    assert store.last_placed() == ""  # what becomes of the other is not known
    assert store.was_placed(sid(2))
    store.remember_placed(sid(3), at=moment(4), turn=second)
    assert store.last_placed() == sid(3)
    first, second = (store.forget_last_placed(at=moment(at)).turn for at in (5, 5 + second_at))
    store.remember_placed(sid(4), at=moment(7), turn=second)
    store.remember_placed(sid(5), at=moment(8), turn=first)
    assert store.last_placed() == sid(4)


def test_a_call_that_is_known_not_to_be_the_last_one_is_only_placed(store: EventStore) -> None:
    store.remember_placed(sid(1), at=START, is_last=False)
    assert (store.last_placed(), store.was_placed(sid(1))) == (None, True)
    store.remember_placed(sid(2), at=START)
    first = store.forget_last_placed(at=moment(1)).turn
    store.remember_placed(sid(3), at=moment(2))  # by a command that could not forget: in any case
    store.remember_placed(sid(4), at=moment(3), turn=first)
    assert store.last_placed() == sid(3)


def test_actions_are_kept_in_order_and_read_on(store: EventStore, opens: Opens) -> None:
    odd = ActionEvent(moment(1), sid(1), "hangup", (("Twiml", "a\0b"),), "refused: \ud83d \ue000", by="bob@desk")
    store.record_actions([DONE, odd])
    last = store.last_action_id()
    store.record_actions([ActionEvent(moment(2), sid(2), "hangup", (), "done")])
    assert opens().actions(sid(1)) == store.all_actions(sid(1)) == [DONE, odd]
    assert [action.call_sid for _, action in store.actions_after(last)] == [sid(2)]
    assert [action for _, action in store.actions_after(0)][:2] == [DONE, odd]


def test_intents_last_for_a_while_and_end_with_the_action(store: EventStore, now: Now) -> None:
    def is_over(until: datetime) -> bool:
        return until <= now()

    assert store.add_intents([sid(1), sid(2)], now=now(), until=now() + LEASE) == set()
    assert store.add_intents([sid(2), sid(3)], now=now(), until=now() + LEASE) == {sid(2)}
    store.remove_intents([sid(3)])
    store.record_actions([DONE])
    assert [store.has_intent(sid(call), is_over=is_over) for call in (1, 2, 3)] == [False, True, False]
    for result in (REFUSED, LATE):  # of another command than the one that is about to end it
        store.record_actions([ActionEvent(moment(2), sid(2), "redirect", (), "refused", result=result)])
        assert store.has_intent(sid(2), is_over=is_over)
    store.record_actions([ActionEvent(moment(2), sid(2), "hangup", (), "no answer", result=UNKNOWN)])
    assert not store.had_intent(sid(2))
    store.add_intents([sid(2)], now=now(), until=now() - LEASE)
    assert not store.has_intent(sid(2), is_over=is_over)
    assert store.had_intent(sid(2))


def test_an_intent_is_removed_by_nobody_else(store: EventStore, opens: Opens, now: Now) -> None:
    """Of two commands on one leg the first to end is not the last that is under way."""
    other = opens()
    store.add_intents([sid(1), sid(2)], now=now(), until=now() + LEASE)
    assert other.add_intents([sid(1)], now=now(), until=now() + 2 * LEASE) == {sid(1)}
    store.remove_intents([sid(1), sid(2), sid(3)])
    assert [store.had_intent(sid(call)) for call in (1, 2)] == [True, False]
    other.remove_intents([sid(1)])
    assert not store.had_intent(sid(1))


def test_who_listens_is_known_for_a_while(store: EventStore, opens: Opens) -> None:
    store.announce("one", {"callback_url": "https://example.com/status"}, lasting=LEASE)
    store.announce("two", {"callback_url": "\0"}, lasting=LEASE)
    store.announce("gone", {}, lasting=-LEASE)
    found = opens().announced()
    assert found == {"two": {"callback_url": "\0"}, "one": {"callback_url": "https://example.com/status"}}
    assert list(opens().announced(limit=1)) == ["two"]
    store.withdraw("two", "gone")
    assert opens(world="fedcba9876543210").announced() == {}
    assert list(opens().announced()) == ["one"]
    store.announce("one", {"callback_url": "https://example.com/other"}, lasting=LEASE)
    assert opens().announced() == {"one": {"callback_url": "https://example.com/other"}}
    store.announce("one", {}, lasting=-LEASE)
    assert opens().announced() == {}


# Requests that were to be passed on


def undelivered(one: CallEvent, *, url: str = "http://127.0.0.1:5000/", tried_for: float = 0.0) -> Undelivered:
    return Undelivered(one.call_sid, one.key, url, one.received_at, "no answer", timedelta(seconds=tried_for))


def test_what_was_not_passed_on_is_kept_once_for_each_url_and_forgotten_once_it_was(
    store: EventStore, opens: Opens
) -> None:
    first, second = event(1, "ringing", number=0, at=1), event(1, "in-progress", number=1, at=2)
    other = event(2, "ringing", number=0, at=3)
    for one in (first, other, second):
        assert store.append(one)
    now, long = moment(4), "http://127.0.0.1:5001/" + "x" * 8000
    store.keep_undelivered([undelivered(second), undelivered(first, tried_for=100)], now=now)
    store.keep_undelivered([undelivered(second, url=long), undelivered(first)._replace(why="HTTP 503")], now=now)
    store.keep_undelivered([undelivered(other, tried_for=100)], now=now)
    found = opens().undelivered(now=now)
    assert [one for _, one in found] == [first, other, second, second]
    assert [(kept.call_sid, kept.url, kept.at, kept.why) for kept, _ in found] == [
        (sid(1), "http://127.0.0.1:5000/", first.received_at, "HTTP 503"),
        (sid(2), "http://127.0.0.1:5000/", other.received_at, "no answer"),
        (sid(1), "http://127.0.0.1:5000/", second.received_at, "no answer"),
        (sid(1), long, second.received_at, "no answer"),
    ]
    # Where the store has a clock of its own, it counts by that.
    assert [timedelta(0) < kept.tried_for <= timedelta(seconds=100) for kept, _ in found] == [False, True, False, False]
    store.forget_undelivered([found[0][0], found[3][0]])  # as they were read, with the beginning of the key
    assert [one for _, one in store.undelivered(now=now)] == [other, second]
    assert opens(world="another").undelivered(now=now) == []


def test_what_was_not_passed_on_goes_with_its_call_and_of_an_event_that_is_not_stored_nothing_is_returned(
    store: EventStore,
) -> None:
    old, new = event(1, "completed", number=0, at=1), event(2, "ringing", number=0, at=100)
    assert store.append(old)
    assert store.append(new)
    kept = [undelivered(one) for one in (old, new, event(3, "ringing", at=5))]
    store.keep_undelivered(kept, now=moment(200))
    assert store.delete_older_than(moment(50)) == 1
    assert store.append(old)  # it comes once more
    assert [one for _, one in store.undelivered(now=moment(200))] == [new]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 1), st.booleans()), max_size=12))
def test_what_was_not_passed_on_is_what_was_kept_last_and_not_forgotten_since(
    store: EventStore, steps: list[tuple[bool, int, int, bool]]
) -> None:
    """Each step keeps or forgets one of some requests, which is given up or still tried."""
    first = 10 * next(_NUMBERS)  # the store is that of the examples before
    events = [event(first + number, "ringing", number=0, at=number) for number in range(4)]
    for one in events:
        store.append(one)
    left: dict[tuple[str, str], bool] = {}
    for is_kept, number, place, is_tried in steps:
        url = f"http://127.0.0.1:500{place}/"
        request = undelivered(events[number], url=url, tried_for=900 if is_tried else 0)
        if is_kept:
            store.keep_undelivered([request], now=moment(4))
            left[request.call_sid, url] = is_tried
        else:
            store.forget_undelivered([request])
            left.pop((request.call_sid, url), None)
    sids = {one.call_sid for one in events}
    found = [kept for kept, _ in store.undelivered(now=moment(4)) if kept.call_sid in sids]
    assert {(kept.call_sid, kept.url): bool(kept.tried_for) for kept in found} == left
    assert len(found) == len(left)


def test_of_what_was_not_passed_on_the_newest_are_kept(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("sqlite", "postgresql"):
        monkeypatch.setattr(f"callctl.store.{kind}.store.MOST_UNDELIVERED", 3)
    events = [event(number, "ringing", number=0, at=number) for number in range(5)]
    for one in events:
        assert store.append(one)
    store.keep_undelivered([undelivered(one) for one in events], now=moment(9))
    assert [one for _, one in store.undelivered(now=moment(9))] == events[2:]


# Claims


def test_of_eight_who_claim_at_once_one_gets_it(opens: Opens, now: Now) -> None:
    outcomes: list[OpenClaim | Refusal] = []
    stores = [opens() for _ in range(8)]
    together = threading.Barrier(8)

    def claim(mine: EventStore) -> None:
        together.wait()
        outcomes.append(mine.claim(CLAIM, now=now(), until=now() + LEASE))

    in_threads([partial(claim, mine) for mine in stores])
    assert len([outcome for outcome in outcomes if isinstance(outcome, OpenClaim)]) == 1
    assert outcomes.count(Refusal.CLAIMED_BEFORE) == 7


def test_of_eight_rules_that_claim_a_leg_for_themselves_one_gets_it(opens: Opens, now: Now) -> None:
    outcomes: list[OpenClaim | Refusal] = []
    stores = [opens() for _ in range(8)]

    def claim(number: int) -> None:
        wanted = OpenClaim(f"rule-{number}", sid(1), sid(2), "redirect")
        outcomes.append(stores[number].claim(wanted, now=now(), until=now() + LEASE, exclusive=True))

    in_threads([partial(claim, number) for number in range(8)])
    assert outcomes.count(Refusal.OTHER_IN_PROGRESS) == 7


def test_of_eight_who_take_a_claim_over_at_once_one_does(opens: Opens, now: Now) -> None:
    claimed(opens(), CLAIM, now=now(), until=now() - LEASE)
    stores, taken = [opens() for _ in range(8)], list[OpenClaim]()

    def take(mine: EventStore) -> None:
        for expired in mine.expired_claims(is_over=lambda claim: claim.lease is not None and claim.lease <= now()):
            if (held := mine.take_over(expired, now=now(), until=now() + LEASE)) is not None:
                taken.append(held)

    in_threads([partial(take, mine) for mine in stores])
    assert len(taken) == 1
    assert stores[0].renew(taken[0], now=now(), until=now() + LEASE)


def test_a_stale_fence_can_neither_renew_nor_settle_nor_release(store: EventStore, opens: Opens, now: Now) -> None:
    held = claimed(store, CLAIM, now=now(), until=now() - LEASE)
    other = opens()
    taken = other.take_over(other.expired_claims(is_over=lambda _: True)[0], now=now(), until=now() + LEASE)
    assert taken is not None
    assert not store.renew(held, now=now(), until=now() + LEASE)
    assert not store.settle(held, DONE)
    store.release(held)
    assert store.actions(sid(1)) == []
    assert other.settle(taken, DONE)
    assert not other.settle(taken, DONE)
    assert store.all_actions(sid(1)) == [DONE]
    assert store.open_claims() == 0
    assert store.claim(CLAIM, now=now(), until=now() + LEASE) is Refusal.CLAIMED_BEFORE


def test_a_claim_that_is_released_is_free_and_has_another_fence_then(store: EventStore, now: Now) -> None:
    held = claimed(store, CLAIM, now=now(), until=now() + LEASE)
    assert store.action_in_progress(sid(1), other_than="another") == "redirect"
    claimed(store, replace(CLAIM, rule="hangs-up", action="hangup"), now=now(), until=now() + LEASE)
    in_progress = [
        store.action_in_progress(sid(1), other_than=CLAIM.rule, action=what) for what in ("hangup", "redirect", "")
    ]
    assert in_progress == ["hangup", None, "hangup"]
    store.release(held)
    anew = claimed(store, CLAIM, now=now(), until=now() + LEASE)
    assert not store.renew(held, now=now(), until=now() + LEASE)
    assert store.renew(anew, now=now(), until=now() + LEASE)
    assert store.expired_claims(is_over=lambda claim: claim.lease is not None and claim.lease <= now()) == []
    assert store.open_claims() == 2


def declined_about(number: int) -> ActionEvent:
    return replace(DONE, outcome="too old", result=DECLINED, about=sid(number))


def test_what_was_declined_because_of_one_leg_may_be_claimed_because_of_another(
    store: EventStore, opens: Opens, now: Now
) -> None:
    other, of_next = opens(), replace(CLAIM, about=sid(3))
    assert store.decline(CLAIM, declined_about(2))
    assert not other.decline(CLAIM, declined_about(2))
    assert other.claim(CLAIM, now=now(), until=now() + LEASE) is Refusal.CLAIMED_BEFORE
    assert (store.open_claims(), store.action_in_progress(sid(1), other_than="another")) == (0, None)
    assert (other.is_settled(CLAIM), store.is_settled(of_next)) == (True, False)
    held = claimed(other, of_next, now=now(), until=now() + LEASE)
    assert not store.decline(replace(CLAIM, about=sid(4)), declined_about(4))
    assert not store.is_settled(of_next)  # it may yet be let go of
    assert other.settle(held, DONE)
    assert store.is_settled(of_next)
    assert store.claim(replace(CLAIM, about=sid(5)), now=now(), until=now() + LEASE) is Refusal.CLAIMED_BEFORE
    assert not store.decline(replace(CLAIM, about=sid(5)), declined_about(5))
    assert store.all_actions(sid(1)) == [declined_about(2), DONE]
    keys = {(declined_rule("after-dial", sid(1), about=sid(2)), sid(1)), ("after-dial", sid(1))}
    assert store.claim_keys() == other.claim_keys() == keys


def test_a_claim_that_is_declined_is_free_for_another_leg(store: EventStore, now: Now) -> None:
    held = claimed(store, CLAIM, now=now(), until=now() + LEASE)
    assert store.decline(held, declined_about(2))
    assert not store.decline(held, declined_about(2))
    assert not store.settle(held, DONE)
    assert store.open_claims() == 0
    assert store.claim(CLAIM, now=now(), until=now() + LEASE) is Refusal.CLAIMED_BEFORE
    assert store.claim(replace(CLAIM, about=sid(3)), now=now(), until=now() + LEASE)
    assert store.all_actions(sid(1)) == [declined_about(2)]


@pytest.mark.parametrize("is_claimed", [True, False])
def test_what_was_declined_of_a_leg_itself_is_not_claimed_again(store: EventStore, now: Now, is_claimed: bool) -> None:
    mine, event = replace(CLAIM, about=sid(1)), replace(declined_about(1), about=None)
    held = claimed(store, mine, now=now(), until=now() + LEASE) if is_claimed else mine
    assert store.decline(held, event)
    assert not store.decline(mine, event)
    assert store.claim(mine, now=now(), until=now() + LEASE) is Refusal.CLAIMED_BEFORE
    assert store.all_actions(sid(1)) == [event]


def test_who_stood_still_declines_nothing_that_another_took_over(store: EventStore, opens: Opens, now: Now) -> None:
    held = claimed(store, CLAIM, now=now(), until=now() - LEASE)
    other = opens()
    taken = other.take_over(other.expired_claims(is_over=lambda _: True)[0], now=now(), until=now() + LEASE)
    assert taken is not None
    assert not store.decline(held, declined_about(2))
    assert store.all_actions(sid(1)) == []
    assert other.settle(taken, DONE)


def test_of_eight_who_decline_at_once_one_says_so(opens: Opens) -> None:
    stores, outcomes = [opens() for _ in range(8)], list[bool]()

    def decline(mine: EventStore) -> None:
        outcomes.append(mine.decline(CLAIM, declined_about(2)))

    in_threads([partial(decline, mine) for mine in stores])
    assert sorted(outcomes) == [False] * 7 + [True]
    assert stores[0].all_actions(sid(1)) == [declined_about(2)]


def test_actions_are_limited_for_all_who_share_the_store(store: EventStore, opens: Opens, now: Now) -> None:
    other, limit = opens(), ActionLimit(per_second=50, per_minute=5)

    def claim(mine: EventStore, number: int) -> OpenClaim | Refusal:
        wanted = OpenClaim("rule", sid(number), sid(number), "hangup")
        return mine.claim(wanted, now=now(), until=now() + LEASE, limit=limit)

    released = claim(store, 1)
    assert isinstance(released, OpenClaim)
    store.release(released)
    declined = claim(store, 2)
    assert isinstance(declined, OpenClaim)
    assert store.decline(declined, replace(declined_about(2), call_sid=sid(2), about=None))
    assert all(claim(mine, number) for number, mine in enumerate([store, other] * 2, start=3))
    assert claim(store, 10)
    assert claim(store, 11) is claim(other, 12) is Refusal.MINUTE_IS_FULL
    assert store.claim(OpenClaim("rule", sid(13), sid(13), "hangup"), now=now(), until=now() + LEASE)  # a refusal
    limit = ActionLimit(per_second=5, per_minute=50)
    assert claim(other, 12) is Refusal.SECOND_IS_FULL


def test_actions_are_limited_for_threads_that_claim_at_once(opens: Opens, now: Now) -> None:
    limit, outcomes = ActionLimit(per_second=100, per_minute=5), list[OpenClaim | Refusal]()
    stores = [opens() for _ in range(4)]

    def claim(number: int) -> None:
        wanted = OpenClaim("rule", sid(number), sid(number), "hangup")
        outcomes.append(stores[number % 4].claim(wanted, now=now(), until=now() + LEASE, limit=limit))

    in_threads([partial(claim, number) for number in range(20)])
    assert outcomes.count(Refusal.MINUTE_IS_FULL) == 15


def test_actions_are_limited_for_two_processes_that_claim_at_once(opens: Opens) -> None:
    store, rounds, command = opens(), 100, [sys.executable, str(PROCESS), "claim", opens.location]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen([*command, first], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for first in ("1000", "2000")
        ]
        for per_minute in range(1, rounds + 1):  # there is room for one of the two
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(f"{per_minute}\n")
                process.stdin.flush()
            outcomes = [process.stdout.readline().strip() for process in processes if process.stdout is not None]
            assert sorted(outcomes) == ["MINUTE_IS_FULL", "claimed"]
    assert [process.returncode for process in processes] == [0, 0]
    assert store.open_claims() == rounds


# Closing


def test_a_store_that_is_closed_says_so(opens: Opens) -> None:
    store = opens()
    store.append(event(1, "ringing", number=0, at=1))
    store.close()
    with pytest.raises(StoreError):
        store.append(event(2, "ringing", number=0, at=1))
    with pytest.raises(StoreError):
        store.call(sid(1))


Now = Callable[[], datetime]


@pytest.fixture
def now() -> Now:
    """Return a clock that stands still. PostgreSQL goes by its own."""
    return lambda: START


def in_threads(work: list[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
