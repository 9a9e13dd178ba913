"""Requests to the application as data."""

import pytest

from callctl.simulator.http_requests import Reply, without_user


@pytest.mark.parametrize(
    ("url", "signed"),
    [
        ("https://u:p@example.com:8443/a?b=c#rc=2", "https://example.com:8443/a?b=c"),
        ("http://example.com/a@b", "http://example.com/a@b"),
        ("http://example.com", "http://example.com"),
    ],
)
def test_neither_a_user_nor_a_fragment_is_signed(url: str, signed: str) -> None:
    assert without_user(url) == signed


@pytest.mark.parametrize(("status", "ok"), [(200, True), (204, True), (302, False), (404, False), (None, False)])
def test_which_replies_are_good(status: int | None, ok: bool) -> None:
    assert Reply(status).ok is ok
