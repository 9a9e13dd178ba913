"""Running ``callctl doctor``, and reading its findings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from api.scripted import Server, reply
from running import Callctl, Outcome, env_for

from callctl.simulator import Simulator

ACCOUNT = "AC" + "0" * 32
KEY = "SK" + "0" * 32
TOKEN = "0123456789abcdef" * 2
OTHER = "f" * 32
FREE = {"CALLCTL_PORT": "0"}


def checks(outcome: Outcome) -> dict[str, dict[str, Any]]:
    """Return the findings by name; of several with one name the last."""
    report = json.loads(outcome.out)
    assert (report["v"], report["type"]) == (1, "doctor")
    assert report["passed"] is (outcome.code == 0)
    return {one["name"]: one for one in (*report["settings"], *report["checks"])}


def doctor(callctl: Callctl, env: dict[str, str], *args: str, **more: Any) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run it; return exit code and findings. No secret is ever shown, in whatever form."""
    outcomes = [
        callctl("doctor", *form, *args, env=FREE | env, **_quick(more)) for form in (["--json"], [], ["--debug"])
    ]
    secrets = [env[name] for name in env if "TOKEN" in name or "SECRET" in name]
    for outcome in outcomes:
        assert not any(secret in outcome.out + outcome.err for secret in secrets)
    assert len({outcome.code for outcome in outcomes}) == 1
    return outcomes[0].code, checks(outcomes[0])


def _quick(more: dict[str, Any]) -> dict[str, Any]:
    return {"back_off": lambda _seconds: None, **more}


def level(findings: dict[str, dict[str, Any]], name: str) -> str:
    return str(findings[name]["level"])


def with_key(simulator: Simulator, **more: str) -> dict[str, str]:
    keys = {"TWILIO_API_KEY": simulator.api_key, "TWILIO_API_SECRET": simulator.api_secret}
    env = env_for(simulator) | keys | more
    return {name: text for name, text in env.items() if text}


TWILIO = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": TOKEN}


def at(server: Server | str) -> dict[str, str]:
    return TWILIO | {"CALLCTL_API_URL": server if isinstance(server, str) else server.url}


def account(**fields: str) -> Any:
    """Return the turn that shows this account."""
    usual = {"sid": ACCOUNT, "friendly_name": "Example Ltd", "status": "active", "type": "Full"}
    return reply(200, usual | {"owner_account_sid": ACCOUNT, "auth_token": TOKEN} | fields)


def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the proxies and certificates of the machine that tests run on."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@contextmanager
def twilio_unreachable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nothing get to Twilio's own host: a proxy refuses it."""
    direct(monkeypatch)
    with Server(reply(403)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.server_port}")
        yield
