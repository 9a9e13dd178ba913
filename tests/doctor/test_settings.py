"""``callctl doctor`` on the settings: where each comes from, and what looks wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from doctor_runs import (
    ACCOUNT,
    FREE,
    KEY,
    OTHER,
    TOKEN,
    TWILIO,
    checks,
    doctor,
    level,
    twilio_unreachable,
)
from running import Callctl, env_for

from callctl.simulator import Simulator


class TestSettings:
    def test_each_comes_with_its_source_and_secrets_are_masked(
        self, callctl: Callctl, simulator: Simulator, home: Path
    ) -> None:
        (home / ".env").write_text(
            "CALLCTL_FROM=+15005550006\nCALLCTL_URL_SURVEY=GET https://ann:fake-password@example.com/s\n"
            f"TWILIO_AUTH_TOKEN={OTHER}\n"
        )
        env = env_for(simulator)
        del env["CALLCTL_FROM"]
        code, findings = doctor(callctl, env, "--port", "0")
        assert code == 0
        assert findings["TWILIO_ACCOUNT_SID"]["value"] == simulator.account_sid
        assert findings["TWILIO_ACCOUNT_SID"]["source"] == "environment"
        assert (findings["TWILIO_AUTH_TOKEN"]["value"], findings["TWILIO_AUTH_TOKEN"]["source"]) == (
            None,
            "environment",
        )
        assert findings["CALLCTL_FROM"]["source"] == str(home / ".env")
        assert findings["CALLCTL_URL_SURVEY"]["value"] == "GET https://ann:***@example.com/s"
        assert (findings["CALLCTL_PORT"]["value"], findings["CALLCTL_PORT"]["source"]) == ("0", "flag")

    def test_a_malformed_one_is_a_line_too(self, callctl: Callctl) -> None:
        code, findings = doctor(callctl, {"TWILIO_ACCOUNT_SID": "AC 1", "TWILIO_AUTH_TOKEN": TOKEN})
        assert (code, level(findings, "settings")) == (2, "error")
        assert findings["settings"]["text"] == "TWILIO_ACCOUNT_SID is malformed"
        assert findings["settings"]["fix"] == "it begins with AC and has 34 characters"

    @pytest.mark.parametrize(
        ("env", "text"),
        [
            ({}, "missing credentials: TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN"),
            ({"TWILIO_ACCOUNT_SID": ACCOUNT}, "missing credentials: TWILIO_AUTH_TOKEN (or TWILIO_API_KEY and"),
            (
                {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_API_KEY": KEY},
                "missing credentials: TWILIO_API_SECRET in the env",
            ),
        ],
    )
    def test_missing_ones_are_named(self, callctl: Callctl, env: dict[str, str], text: str) -> None:
        code, findings = doctor(callctl, env)
        assert (code, level(findings, "credentials")) == (2, "error")
        assert findings["credentials"]["text"].startswith(text)
        assert [level(findings, name) for name in ("api", "account", "key", "clock")] == ["skipped"] * 4
        if env:
            assert "all from one place" in findings["credentials"]["fix"]

    @pytest.mark.parametrize(
        ("region", "edge", "levels", "end_of_text"),
        [
            ("ie1", "", ("ok", None), "ie1  from the environment; reached through dublin, TWILIO_EDGE is not set"),
            ("ie1", "dublin", ("ok", "ok"), "ie1  from the environment"),
            ("us1", "", ("ok", None), "us1  from the environment"),
            ("", "dublin", (None, "ok"), "dublin  from the environment; the region is us1, TWILIO_REGION is not set"),
            ("br1", "sao-paulo", ("warning", "ok"), "Twilio documents no such region for calls"),
            ("us1", "paris", ("ok", "warning"), "Twilio has no edge of that name"),
        ],
    )
    def test_region_and_edge_must_go_together(
        self,
        callctl: Callctl,
        monkeypatch: pytest.MonkeyPatch,
        region: str,
        edge: str,
        levels: tuple[str | None, str | None],
        end_of_text: str,
    ) -> None:
        with twilio_unreachable(monkeypatch):
            _, findings = doctor(callctl, TWILIO | {"TWILIO_REGION": region, "TWILIO_EDGE": edge})
        names = ("TWILIO_REGION", "TWILIO_EDGE")
        assert tuple(level(findings, name) if name in findings else None for name in names) == levels
        assert any(findings[name]["text"].endswith(end_of_text) for name in names if name in findings)

    @pytest.mark.parametrize(
        ("region", "fix"),
        [("br1", "TWILIO_EDGE=sao-paulo"), ("dublin", "set TWILIO_REGION=ie1 and TWILIO_EDGE=dublin")],
    )
    def test_a_region_that_can_not_be_reached_is_refused(self, callctl: Callctl, region: str, fix: str) -> None:
        code, findings = doctor(callctl, TWILIO | {"TWILIO_REGION": region})
        assert (code, level(findings, "settings")) == (2, "error")
        assert fix in findings["settings"]["fix"]

    def test_a_secret_in_the_wrong_place_is_not_shown(self, callctl: Callctl, simulator: Simulator) -> None:
        env = env_for(simulator) | {"TWILIO_ACCOUNT_SID": OTHER, "CALLCTL_FROM": OTHER}
        for args in (["--json"], []):
            outcome = callctl("doctor", *args, env=env | FREE)
            assert outcome.code == 4
            assert OTHER not in outcome.out + outcome.err


class TestForm:
    """What Twilio's own SIDs and tokens look like is only held against Twilio."""

    @pytest.mark.parametrize(
        ("name", "value", "text"),
        [
            ("TWILIO_ACCOUNT_SID", "AC" + "0" * 31, "has 33 characters, where Twilio's have 34"),
            ("TWILIO_ACCOUNT_SID", "ac" + "0" * 32, "is not AC and 32 hexadecimal digits"),
            ("TWILIO_AUTH_TOKEN", "1" * 31, "has 31 characters, where Twilio's have 32"),
            ("TWILIO_AUTH_TOKEN", "1" * 31 + "O", "is not 32 hexadecimal digits in lower case"),
            ("CALLCTL_SIGNING_TOKEN", "1" * 33, "has 33 characters, where Twilio's have 32"),
        ],
    )
    def test_against_twilio(
        self, callctl: Callctl, monkeypatch: pytest.MonkeyPatch, name: str, value: str, text: str
    ) -> None:
        with twilio_unreachable(monkeypatch):
            outcome = callctl("doctor", "--json", env=FREE | TWILIO | {name: value}, back_off=lambda _seconds: None)
        findings = checks(outcome)
        assert (level(findings, name), findings[name]["text"].endswith(f"; it {text}")) == ("warning", True)
        assert value not in outcome.out
