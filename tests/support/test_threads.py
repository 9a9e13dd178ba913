"""Work in a thread of its own: its result or its error reaches the caller."""

from __future__ import annotations

import pytest

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
