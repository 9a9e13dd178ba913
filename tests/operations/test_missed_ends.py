"""For how long the callback of an end that REST shows is awaited."""

from __future__ import annotations

from datetime import timedelta

import pytest
from events import moment, sid

from callctl.calls.call import Call
from callctl.operations.missed_ends import ARRIVED, AwaitedEnds

SECOND = timedelta(seconds=1)


def ended(*, ago: timedelta) -> Call:
    return Call(sid(1), "completed", end_time=moment(0), as_of=moment(0) + ago)


@pytest.mark.parametrize("ago", [-SECOND, SECOND])
def test_a_date_that_stands_still_ends_the_wait_all_the_same(ago: timedelta) -> None:
    """As that of a proxy's own, which keeps replies."""
    awaited = AwaitedEnds()
    steady = moment(0), moment(4), moment(5), moment(9), moment(60)
    seen = [awaited.has(ended(ago=ago), now=moment(0), steady=at) for at in steady]
    assert seen == [True, True, False, False, False]


def test_an_end_of_long_ago_is_not_awaited() -> None:
    assert not AwaitedEnds().has(ended(ago=ARRIVED), now=moment(0), steady=moment(0))
