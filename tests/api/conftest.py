"""API clients that do not wait, and record for how long they would have waited."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from api.scripted import Server, Turn

from callctl.api.client import ApiClient
from callctl.api.retries import Retry
from callctl.settings import Settings

ACCOUNT = "AC" + "0" * 32
TOKEN = "fake-token-0123456789"


@dataclass
class ScriptedApi:
    """An API client, its server, and what the API client did between its requests."""

    client: ApiClient
    server: Server
    retries: list[Retry]
    slept: list[float]


StartApi = Callable[..., ScriptedApi]


def client_at(url: str, *, timeout: float = 5.0) -> ApiClient:
    """Return an API client to a server of the test's own; it retries without waiting. ``timeout`` is in seconds."""
    return ApiClient(
        Settings(account_sid=ACCOUNT, auth_token=TOKEN, api_url=url),
        request_timeout=timeout,
        sleep=lambda _seconds: None,
        random=lambda: 0.5,
    )


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "TWILIO_REGION", "TWILIO_EDGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def start_api() -> Iterator[StartApi]:
    """Return a function that starts a server with the given turns, and makes an API client to it."""
    with ExitStack() as stack:

        def make(
            *turns: Turn, path: str = "", random: float = 0.5, timeout: float = 5.0, **settings: Any
        ) -> ScriptedApi:
            server = stack.enter_context(Server(*turns))
            values: dict[str, Any] = {"account_sid": ACCOUNT, "auth_token": TOKEN, "api_url": server.url + path}
            retries: list[Retry] = []
            slept: list[float] = []
            client = ApiClient(
                Settings(**values | settings),
                request_timeout=timeout,
                sleep=slept.append,
                random=lambda: random,
                on_retry=retries.append,
            )
            return ScriptedApi(client, server, retries, slept)

        yield make
