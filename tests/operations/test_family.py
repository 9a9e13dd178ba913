"""The other legs of a call."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from calls_api import UnexpectedRequest
from operations.fake_api import PARENT, SID, FakeApi, call

from callctl.calls.call import Call
from callctl.calls.filter import CallFilter
from callctl.errors import AuthenticationError, NotFoundError, UnknownCallError
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
    assert fetch_with_children(api, SID) == CallAndChildren(call("in-progress"), (live,))
    assert children_of(api, SID) == ("CA3",)
    assert list(family_of(api, SID).items()) == [(SID, None), ("CA3", SID)]


def test_a_family_is_found_from_its_child() -> None:
    child = call("in-progress", parent_call_sid=PARENT)
    api = FakeApi(fetches=[child], listed=[child, call("ringing", "CA3", parent_call_sid=PARENT)])
    assert list(family_of(api, SID).items()) == [(PARENT, None), (SID, PARENT), ("CA3", PARENT)]
    assert parent_of(api, SID) == PARENT


def test_a_leg_that_is_not_there_is_said_to_be_missing() -> None:
    api = FakeApi(fetches=[call("in-progress")])
    with pytest.raises(UnknownCallError, match="no parent leg"):
        parent_of(api, SID)
    with pytest.raises(UnknownCallError, match="no live child"):
        children_of(api, SID)


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
        assert page_size == limit
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
