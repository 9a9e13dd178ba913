"""Who runs a process: what tells colleagues apart who share a store."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator

import pytest

from callctl.support.identity import user_at_host


@pytest.fixture(autouse=True)
def is_found_anew() -> Iterator[None]:
    user_at_host.cache_clear()
    yield
    user_at_host.cache_clear()


@pytest.mark.parametrize(("sudo_user", "user"), [("ann", "ann"), ("", "callctl"), (None, "callctl")])
def test_who_works_as_another_user_by_sudo_is_named(
    monkeypatch: pytest.MonkeyPatch, sudo_user: str | None, user: str
) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "callctl")
    if sudo_user is None:
        monkeypatch.delenv("SUDO_USER", raising=False)
    else:
        monkeypatch.setenv("SUDO_USER", sudo_user)
    assert user_at_host() == f"{user}@{socket.gethostname()}"


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise OSError("No username set in the environment")

    monkeypatch.setattr(getpass, "getuser", fail)
    monkeypatch.setattr("os.getuid", lambda: 1234)
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert user_at_host() == f"1234@{socket.gethostname()}"
