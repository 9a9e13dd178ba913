"""Property test of ``@last``: however commands that place calls overlap, it is never an earlier call."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from events import moment, sid
from hypothesis import given, settings
from hypothesis import strategies as st

from callctl.errors import StoreError
from callctl.settings import load
from callctl.store import last_placed
from callctl.store.last_placed import LastPlaced
from callctl.store.opening import open_store

# What one command does next: whether its call is placed, what its clock says (s), and whether the store is locked.
STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.booleans(), st.sampled_from([0, 1, -7200, 7200]), st.booleans()), max_size=8
)


@settings(max_examples=30)
@given(STEPS)
def test_last_is_the_call_that_was_begun_last_or_not_known(steps: list[tuple[int, bool, int, bool]]) -> None:
    is_locked = False

    def open_unless_locked(*args: Any, **options: Any) -> Any:
        if is_locked:
            raise StoreError("the store is locked")
        return open_store(*args, **options)

    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(last_placed, "open_store", open_unless_locked)
        own = load({"HOME": folder, "XDG_STATE_HOME": folder}, cwd=Path(folder))
        begun: list[str] = []  # the SIDs of the calls that may have been placed, in the order in which they were begun
        placing: dict[int, tuple[LastPlaced, str]] = {}
        for number, (command, is_placed, clock, is_locked) in enumerate(steps, 1):
            at = moment(number + clock)
            if command not in placing:
                placing[command] = LastPlaced(own), sid(number)
                placing[command][0].forget(at=at)
                begun.append(sid(number))
            else:
                last, call = placing.pop(command)
                try:
                    if is_placed:
                        last.remember(call, at=at, callback=None, events=(), dial_action=None)
                    else:
                        begun.remove(call)
                        last.restore()
                except StoreError:
                    assert is_locked
            assert LastPlaced(own).sid() in ((None, "") if not begun else ("", begun[-1]))
        is_locked = False
        last = LastPlaced(own)
        last.forget(at=moment(0))
        last.remember(sid(99), at=moment(0), callback=None, events=(), dial_action=None)
        assert LastPlaced(own).sid() == sid(99)
