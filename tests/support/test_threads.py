"""Work in a thread of its own, whose result or error reaches the caller."""

from __future__ import annotations

import pytest
from thread_limit import ThreadLimit

from callctl.errors import NoThreadError
from callctl.support.threads import run_in_thread, start_in_thread


def missing() -> str:
    return dict[str, str]()["x"]


def test_the_result_and_the_error_of_a_thread_are_handed_on() -> None:
    assert start_in_thread(lambda: 7).result() == 7
    with pytest.raises(KeyError):
        start_in_thread(missing).result()


async def test_they_are_in_an_event_loop() -> None:
    assert await run_in_thread(lambda: 7) == 7
    with pytest.raises(KeyError):
        await run_in_thread(missing)


async def test_a_missing_thread_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    ThreadLimit(monkeypatch, left=0)
    with pytest.raises(NoThreadError, match="start no further thread"):
        start_in_thread(lambda: 7)
    with pytest.raises(NoThreadError):
        await run_in_thread(lambda: 7)
