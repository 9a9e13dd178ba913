"""The other legs of a call."""

from __future__ import annotations

import pytest
from operations.fake_api import PARENT, SID, FakeApi, call

from callctl.errors import UnknownCallError
from callctl.operations.family import CallAndChildren, children_of, family_of, fetch_with_children, parent_of


def test_the_other_legs_are_the_live_ones() -> None:
    live, over = call("in-progress", "CA3", parent_call_sid=SID), call("busy", "CA4", parent_call_sid=SID)
    api = FakeApi(fetches=[call("in-progress")], listed=[live, over])
    assert fetch_with_children(api, SID) == CallAndChildren(call("in-progress"), (live,))
    assert children_of(api, SID) == ("CA3",)
    assert family_of(api, SID) == (SID, "CA3")


def test_a_family_is_found_from_its_child() -> None:
    child = call("in-progress", parent_call_sid=PARENT)
    api = FakeApi(fetches=[child], listed=[child, call("ringing", "CA3", parent_call_sid=PARENT)])
    assert family_of(api, SID) == (PARENT, SID, "CA3")
    assert parent_of(api, SID) == PARENT


def test_a_leg_that_is_not_there_is_said_to_be_missing() -> None:
    api = FakeApi(fetches=[call("in-progress")])
    with pytest.raises(UnknownCallError, match="no parent leg"):
        parent_of(api, SID)
    with pytest.raises(UnknownCallError, match="no live child"):
        children_of(api, SID)
