"""The other legs of a call."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from calls_api import UnexpectedRequest
from events import event, event_of, form
from operations.fake_api import PARENT, SID, FakeApi, Reported, call
from thread_limit import ThreadLimit

from callctl.calls.call import Call
from callctl.calls.event import CallEvent
from callctl.calls.filter import CallFilter
from callctl.errors import AuthenticationError, NetworkError, NotFoundError, UnknownCallError
from callctl.operations.family import (
    CallAndChildren,
    children_of,
    family_of,
    fetch_with_children,
    find_parents,
    parent_of,
)


def test_the_other_legs_are_the_live_ones() -> None:
    live, over = call("in-progress", "CA3", parent_call_sid=SID), call("busy", "CA4", parent_call_sid=SID)
    api = FakeApi(fetches=[call("in-progress")], listed=[live, over])
    assert fetch_with_children(api, SID, reported=Reported()) == CallAndChildren(call("in-progress"), (live,))
    assert children_of(api, SID, reported=Reported()) == ("CA3",)
    assert list(family_of(api, SID, reported=Reported()).items()) == [(SID, None), ("CA3", SID)]


def test_a_family_is_found_from_its_child() -> None:
    child = call("in-progress", parent_call_sid=PARENT)
    api = FakeApi(fetches=[child], listed=[child, call("ringing", "CA3", parent_call_sid=PARENT)])
    legs = family_of(api, SID, reported=Reported())
    assert list(legs.items()) == [(PARENT, None), (SID, PARENT), ("CA3", PARENT)]
    assert parent_of(api, SID) == PARENT


def test_a_leg_that_is_not_there_is_said_to_be_missing() -> None:
    api = FakeApi(fetches=[call("in-progress")])
    with pytest.raises(UnknownCallError, match="no parent leg"):
        parent_of(api, SID)
    with pytest.raises(UnknownCallError, match="no live child"):
        children_of(api, SID, reported=Reported())


# What callbacks reported


UNLISTED = [
    event("CA3", "ringing", number=0, at=8, parent=SID, To="client:ann"),
    event("CA3", "in-progress", number=1, at=9, parent=SID, To="client:ann"),
]
OLD = [event("CA3", "in-progress", at=-900, parent=SID)]
UNVERIFIED = [event_of(form("CA3", "in-progress", at=9, parent=SID), received=9, verified=False)]
ENDED = [*UNLISTED, event("CA3", "completed", at=9, parent=SID)]


def found(account: Account, reported: Reported) -> list[Call]:
    """Return the children that are found, whichever leg of the family is named."""
    of_call = fetch_with_children(account, SID, reported=reported).children
    assert [SID, *(child.sid for child in of_call)] == list(family_of(account, SID, reported=reported))
    if of_call:
        assert children_of(account, SID, reported=reported) == tuple(child.sid for child in of_call)
        assert list(family_of(account, "CA3", reported=reported)) == [SID, "CA3"]
    else:
        with pytest.raises(UnknownCallError, match="no <Dial> is under way in it"):
            children_of(account, SID, reported=reported)
    return list(of_call)


def test_a_child_that_callbacks_lately_reported_and_rest_does_not_list_is_fetched_and_counts() -> None:
    child = call("ringing", "CA3", parent_call_sid=SID, to="client:ann")
    account = Account([call("in-progress"), child], unlisted=frozenset({"CA3"}))
    reported = Reported(UNLISTED)
    assert found(account, reported) == [call("in-progress", "CA3", parent_call_sid=SID, to="client:ann")]
    assert reported.unlisted == []


@pytest.mark.parametrize("events", [OLD, UNVERIFIED, ENDED, []], ids=["old", "unverified", "ended", "none"])
def test_of_what_callbacks_do_not_report_as_live_by_now_nothing_is_requested(events: list[CallEvent]) -> None:
    account = Account([call("in-progress"), call("in-progress", "CA3")], unlisted=frozenset({"CA3"}))
    assert found(account, Reported(events)) == []
    assert "CA3" not in account.fetched


@pytest.mark.parametrize("shown", [call("completed", "CA3"), call("in-progress", "CA3", parent_call_sid=PARENT)])
def test_a_child_that_is_over_or_anothers_by_rest_does_not_count(shown: Call) -> None:
    account = Account([call("in-progress"), shown], unlisted=frozenset({"CA3"}))
    assert found(account, Reported(UNLISTED)) == []


@pytest.mark.parametrize("is_unknown", [True, False])
def test_a_child_that_can_not_be_fetched_is_as_callbacks_reported_it(is_unknown: bool) -> None:
    class Failing(Account):
        def fetch(self, sid: str) -> Call:
            if sid == "CA3" and not is_unknown:
                raise NetworkError("no answer")
            return super().fetch(sid)

    account, reported = Failing([call("in-progress")]), Reported(UNLISTED)
    (child,) = fetch_with_children(account, SID, reported=reported).children
    assert (child.sid, child.status, child.to, child.parent_call_sid) == ("CA3", "in-progress", "client:ann", SID)
    assert children_of(account, SID, reported=reported) == ("CA3",)
    assert list(family_of(account, SID, reported=reported)) == [SID, "CA3"]
    assert reported.unlisted == (["CA3"] * 3 if is_unknown else [])


def test_of_many_that_rest_does_not_list_so_many_are_fetched() -> None:
    events = [event(f"CA3{number:03d}", "ringing", at=9, parent=SID) for number in range(150)]
    account, reported = Account([call("in-progress")]), Reported(events)
    assert len(family_of(account, SID, reported=reported)) == 151
    assert (len(account.fetched), len(reported.unlisted)) == (101, 150)


def test_a_listed_child_that_has_ended_by_its_callback_does_not_count() -> None:
    account = Account([call("in-progress"), call("in-progress", "CA3", parent_call_sid=SID)])
    assert found(account, Reported(ENDED)) == []


@pytest.mark.parametrize("is_known", [True, False])
def test_a_parent_that_is_over_by_its_callback_is_known_to_be(is_known: bool) -> None:
    account = Account([call("in-progress", parent_call_sid=PARENT)])
    child = [event(SID, "in-progress", at=8, parent=PARENT)] if is_known else []
    reported = Reported([*child, event(PARENT, "completed", at=9)])
    assert fetch_with_children(account, SID, reported=reported).is_parent_over


def test_without_a_thread_for_it_the_store_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account([call("in-progress"), call("in-progress", "CA3", parent_call_sid=SID)])
    ThreadLimit(monkeypatch, left=0)
    assert list(family_of(account, SID, reported=Reported(ENDED))) == [SID]


# Parents of calls


@dataclass
class Account(UnexpectedRequest):
    """Has some calls, of which lists don't have all; records what is asked."""

    calls: list[Call]
    unlisted: frozenset[str] = frozenset()
    may_list: bool = True
    fetched: list[str] = field(default_factory=list)
    listed: list[tuple[tuple[str, ...], int | None]] = field(default_factory=list)

    def fetch(self, sid: str) -> Call:
        self.fetched.append(sid)
        found = next((call for call in self.calls if call.sid == sid), None)
        if found is None:
            raise NotFoundError("no such call", status=404)
        return found

    def list(self, query: CallFilter, *, page_size: int = 1000, limit: int | None) -> Iterator[Call]:
        assert limit == (None if query.parent else page_size)
        self.listed.append((query.statuses, limit))
        if not self.may_list:
            raise AuthenticationError("not permitted", status=403)
        return iter([call for call in self.calls if query.matches(call) and call.sid not in self.unlisted])


FAMILY = [call("in-progress", "CA1"), call("ringing", "CA2", parent_call_sid="CA1"), call("queued", "CA3")]


def test_parents_of_a_few_are_fetched() -> None:
    account = Account(FAMILY)
    sids = ["CA3", "CA2", "CA1", "CA9"]
    found = find_parents(account, sids, parallel=4, time_left=lambda: 60)
    assert found == {"CA1": None, "CA2": "CA1", "CA3": None}
    assert (sorted(account.fetched), account.listed) == (sorted(sids), [])


def test_parents_of_many_are_in_three_lists_and_only_what_they_lack_is_fetched() -> None:
    account = Account(FAMILY, unlisted=frozenset({"CA2"}))
    found = find_parents(account, ["CA3", "CA2", "CA1"], parallel=2, time_left=lambda: 60)
    assert found == {"CA1": None, "CA2": "CA1", "CA3": None}
    assert account.fetched == ["CA2"]
    assert sorted(account.listed) == [(("in-progress",), 1000), (("queued",), 1000), (("ringing",), 1000)]


def test_where_lists_are_forbidden_parents_are_fetched() -> None:
    account = Account(FAMILY, may_list=False)
    assert find_parents(account, ["CA2", "CA1"], parallel=1, time_left=lambda: 60) == {"CA1": None, "CA2": "CA1"}


def test_parents_that_are_not_known_in_time_are_left_out() -> None:
    over = threading.Event()

    class Slow(Account):
        def fetch(self, sid: str) -> Call:
            if sid == "CA2":
                over.wait()
            return super().fetch(sid)

    left = iter([60.0, 0.0])
    try:
        found = find_parents(Slow(FAMILY), ["CA1", "CA2"], parallel=2, time_left=lambda: next(left, 0.0))
    finally:
        over.set()
    assert found == {"CA1": None}
