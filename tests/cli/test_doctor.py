"""``callctl doctor``: settings, files, clock and store, each line in each of its states."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cli.doctor_runs import (
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
from callctl.store.sqlite.schema import MIGRATIONS
from callctl.store.sqlite.store import EventStore


def test_all_is_well(callctl: Callctl, simulator: Simulator) -> None:
    code, findings = doctor(callctl, env_for(simulator))
    assert code == 0
    assert {one["level"] for one in findings.values()} == {"ok"}
    assert [name for name in findings if name.islower()] == [
        "settings file", "api", "credentials", "account", "key", "clock", "signing", "store", "port", "round trip"
    ]  # fmt: skip
    assert findings["account"]["text"] == "“Simulated account”, active (Full)"
    assert findings["key"]["text"] == "the account's auth token"
    assert findings["signing"]["text"].endswith("TWILIO_AUTH_TOKEN (from the environment), the account's primary token")
    assert re.fullmatch(r"a signed request came back in \d+ ms", findings["round trip"]["text"])
    assert findings["public URL"]["text"].startswith("none is needed")


def test_nothing_is_changed_and_no_call_is_placed(callctl: Callctl, simulator: Simulator, home: Path) -> None:
    doctor(callctl, env_for(simulator))
    assert {(one.method, one.path) for one in simulator.requests} == {("GET", f"/2010-04-01/Accounts/{ACCOUNT}.json")}
    assert list(home.iterdir()) == []


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
            ("dublin", "ie1", ("warning", "warning"), "that is an edge, not a region"),
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
        if region == "dublin":
            assert findings["TWILIO_REGION"]["fix"] == "set it to ie1, and TWILIO_EDGE=dublin"

    def test_a_region_without_an_edge_that_is_known_is_refused(self, callctl: Callctl) -> None:
        code, findings = doctor(callctl, TWILIO | {"TWILIO_REGION": "br1"})
        assert (code, level(findings, "settings")) == (2, "error")
        assert "TWILIO_EDGE=sao-paulo" in findings["settings"]["fix"]

    def test_a_secret_in_the_wrong_place_is_not_shown(self, callctl: Callctl, simulator: Simulator) -> None:
        env = env_for(simulator) | {"TWILIO_ACCOUNT_SID": OTHER, "CALLCTL_FROM": OTHER}
        for args in (["--json"], []):
            outcome = callctl("doctor", *args, env=env | FREE)
            assert outcome.code == 4
            assert OTHER not in outcome.out + outcome.err

    @pytest.mark.parametrize(
        ("mode", "expected", "text"),
        [
            (0o600, "ok", "readable by you alone"),
            (0o644, "warning", "others on this machine may read"),
            (0o620, "warning", ""),
        ],
    )
    def test_a_file_with_secrets_is_for_its_owner(
        self, callctl: Callctl, simulator: Simulator, home: Path, mode: int, expected: str, text: str
    ) -> None:
        file = home / ".env"
        file.write_text("\n".join(f"{name}={value}" for name, value in env_for(simulator).items()))
        file.chmod(mode)
        code, findings = doctor(callctl, {})
        assert (code, level(findings, "settings file")) == (0, expected)
        assert text in findings["settings file"]["text"]
        assert findings["settings file"]["fix"] == (None if expected == "ok" else f"chmod 600 {file}")

    def test_a_file_that_is_passed_over_is_looked_at_too(
        self, callctl: Callctl, simulator: Simulator, home: Path
    ) -> None:
        (home / ".env").write_text(f"TWILIO_AUTH_TOKEN={OTHER}\nCALLCTL_FROM=+15005550006\n")
        (home / ".env").chmod(0o644)
        code, findings = doctor(callctl, env_for(simulator))
        assert (code, level(findings, "settings file")) == (0, "warning")
        text = findings["settings file"]["text"]
        assert "(mode 644); its account and keys don't count: those of the environment do" in text
        assert OTHER not in text

    def test_a_file_without_secrets_may_be_read(self, callctl: Callctl, simulator: Simulator, home: Path) -> None:
        (home / ".env").write_text("CALLCTL_STORE=events.db\n")
        (home / ".env").chmod(0o644)
        _, findings = doctor(callctl, env_for(simulator))
        assert (level(findings, "settings file"), findings["settings file"]["text"]) == (
            "ok",
            f"{home / '.env'} holds no secret",
        )


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


class TestClock:
    @pytest.mark.parametrize(
        ("ahead", "expected", "text"),
        [
            (0, "ok", "the API's"),
            (8, "ok", "s ahead of the API's"),
            (-8, "ok", "s behind the API's"),
            (60, "warning", "s ahead of the API's: rules take every callback for too old, and do nothing"),
            (-60, "warning", "s behind the API's: until callbacks correct it, rules may act on what is too old"),
        ],
    )
    def test_a_skew(self, callctl: Callctl, simulator: Simulator, ahead: int, expected: str, text: str) -> None:
        code, findings = doctor(callctl, env_for(simulator), now=lambda: datetime.now(UTC) + timedelta(seconds=ahead))
        assert (code, level(findings, "clock")) == (0, expected)
        assert findings["clock"]["text"].endswith(text)
        assert abs(findings["clock"]["seconds"] - ahead) <= 5
        assert (findings["clock"]["fix"] is None) == (expected == "ok")


class TestStore:
    def test_one_that_is_there(self, callctl: Callctl, simulator: Simulator, home: Path) -> None:
        EventStore.open_for_watch(home / "events.db", world="w").close()
        env = env_for(simulator) | {"CALLCTL_STORE": str(home / "events.db")}
        code, findings = doctor(callctl, env)
        assert (code, findings["store"]["text"]) == (0, f"{home / 'events.db'}, for you alone")

    def test_one_that_others_may_read(self, callctl: Callctl, simulator: Simulator, home: Path) -> None:
        path = home / "events.db"
        EventStore.open_for_watch(path, world="w").close()
        path.chmod(0o644)
        code, findings = doctor(callctl, env_for(simulator) | {"CALLCTL_STORE": str(path)})
        assert (code, level(findings, "store"), findings["store"]["fix"]) == (0, "warning", f"chmod 600 {path}")

    @pytest.mark.parametrize("is_made", [True, False])
    @pytest.mark.parametrize(("part", "mode"), [("state", 0o777), ("state/callctl", 0o1777), ("state/callctl", 0o775)])
    def test_one_that_others_may_put_another_in_the_place_of(
        self, callctl: Callctl, simulator: Simulator, home: Path, is_made: bool, part: str, mode: int
    ) -> None:
        path = home / "state" / "callctl" / "events.db"
        EventStore.open_for_watch(path, world="w").close()
        if not is_made:
            path.unlink()
        (home / part).chmod(mode)
        code, findings = doctor(callctl, env_for(simulator) | {"XDG_STATE_HOME": str(home / "state")})
        assert level(findings, "store") == "warning"
        assert (
            f"{path} may be changed by others on this machine: they may write to {home / part} (mode"
            in (findings["store"]["text"])
        )
        is_trusted = part == "state"  # others can't make one that is this user's own
        assert (code, "state folder" in findings) == ((0, False) if is_trusted else (1, True))

    @pytest.mark.parametrize(("version", "expected"), [(len(MIGRATIONS) + 1, "error"), (1, "ok")])
    def test_one_of_another_version(
        self, callctl: Callctl, simulator: Simulator, home: Path, version: int, expected: str
    ) -> None:
        path = home / "events.db"
        EventStore.open_for_watch(path, world="w").close()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA user_version = {version}")
        code, findings = doctor(callctl, env_for(simulator) | {"CALLCTL_STORE": str(path)})
        assert (code == 0, level(findings, "store")) == (expected == "ok", expected)
        assert ("newer callctl" if expected == "error" else "brings it up to date") in findings["store"]["text"]

    def test_one_that_is_locked(self, callctl: Callctl, simulator: Simulator, home: Path) -> None:
        path = home / "events.db"
        EventStore.open_for_watch(path, world="w").close()
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            outcome = callctl("doctor", "--json", env=FREE | env_for(simulator) | {"CALLCTL_STORE": str(path)})
        findings = checks(outcome)
        assert (outcome.code, "locked" in findings["store"]["text"]) == (1, True)

    def test_what_is_none(self, callctl: Callctl, simulator: Simulator, home: Path) -> None:
        (home / "file").write_text("no database, however long it is " * 100)
        (home / "file").chmod(0o600)
        for path, text in (
            (home / "file", "not a database"),
            (home, "is a folder"),
            (home / "file" / "x", "is no folder"),
        ):
            code, findings = doctor(callctl, env_for(simulator) | {"CALLCTL_STORE": str(path)})
            assert (code, level(findings, "store")) == (1, "error")
            assert text in findings["store"]["text"]
            assert "CALLCTL_STORE" in findings["store"]["fix"]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_rights_that_are_missing(self, callctl: Callctl, simulator: Simulator, home: Path) -> None:
        path = home / "closed" / "events.db"
        EventStore.open_for_watch(path, world="w").close()
        path.chmod(0o400)
        _, findings = doctor(callctl, env_for(simulator) | {"CALLCTL_STORE": str(path)})
        assert "can't be read and written by you (mode 400)" in findings["store"]["text"]
        path.unlink()
        path.parent.chmod(0o500)
        _, findings = doctor(callctl, env_for(simulator) | {"CALLCTL_STORE": str(path)})
        assert f"{path.parent} can't be written to" in findings["store"]["text"]
