"""Requests to the application as data."""

import pytest

from callctl.simulator.http_requests import Reply


@pytest.mark.parametrize(("status", "ok"), [(200, True), (204, True), (302, False), (404, False), (None, False)])
def test_which_replies_are_good(status: int | None, ok: bool) -> None:
    assert Reply(status).ok is ok
