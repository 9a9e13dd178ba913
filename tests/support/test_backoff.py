"""Growing pauses, and repeating a request until its answer will do."""

from __future__ import annotations

import math
from itertools import islice

import pytest

from callctl.support.backoff import Backoff, until


def test_pauses_grow_to_the_longest() -> None:
    pauses = Backoff(first=0.5, factor=2, longest=3).pauses()
    assert list(islice(pauses, 5)) == [0.5, 1.0, 2.0, 3, 3]


def test_pauses_stay_finite_however_many_there_are() -> None:
    pauses = Backoff(first=1, factor=10, longest=30).pauses()
    assert next(islice(pauses, 5000, None)) == 30


def test_without_growth_all_pauses_are_the_same() -> None:
    assert set(islice(Backoff(first=1, factor=1, longest=math.inf).pauses(), 100)) == {1}


@pytest.mark.parametrize(("random", "pause"), [(0.0, 0.9), (0.5, 1.0), (1.0, 1.1)])
def test_jitter_makes_a_pause_shorter_or_longer(random: float, pause: float) -> None:
    pauses = Backoff(first=1, factor=2, longest=30, jitter=0.1).pauses(lambda: random)
    assert list(islice(pauses, 3)) == pytest.approx([pause, 2 * pause, 4 * pause])


def test_no_pause_is_above_the_longest_by_jitter() -> None:
    pauses = Backoff(first=1, factor=2, longest=4, jitter=0.5).pauses(lambda: 1.0)
    assert list(islice(pauses, 4)) == [1.5, 3.0, 4, 4]


class Asking:
    """Answers 1, 2, 3, …, on a clock that only pauses move on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.answers = 0

    def ask(self) -> int:
        self.answers += 1
        return self.answers

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def until(self, wanted: int, *, limit: float) -> int:
        return until(self.ask, done=lambda n: n >= wanted, limit=limit, sleep=self.sleep, monotonic=lambda: self.now)


def test_an_answer_that_will_do_ends_the_asking() -> None:
    asking = Asking()
    assert asking.until(1, limit=5) == 1
    assert asking.now == 0
    assert asking.until(3, limit=5) == 3


def test_when_the_limit_is_over_the_last_answer_is_returned() -> None:
    asking = Asking()
    assert asking.until(1000, limit=5) == asking.answers
    assert asking.now == pytest.approx(5)


def test_without_a_limit_left_it_is_asked_once() -> None:
    asking = Asking()
    assert asking.until(1000, limit=0) == 1
