"""``callctl doctor`` on the store's file and the settings file."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from doctor_runs import (
    FREE,
    OTHER,
    checks,
    doctor,
    level,
)
from events import event
from running import Callctl, env_for

from callctl.settings import load
from callctl.simulator import Simulator
from callctl.store.opening import open_store
from callctl.store.records import Undelivered
from callctl.store.sqlite.schema import APPLICATION_ID, MIGRATIONS
from callctl.store.sqlite.store import SqliteStore


def settings_file(home: Path, simulator: Simulator, *, mode: int) -> Path:
    file = home / ".env"
    file.write_text("\n".join(f"{name}={value}" for name, value in env_for(simulator).items()))
    file.chmod(mode)
    return file


class TestSettingsFile:
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
        file = settings_file(home, simulator, mode=mode)
        code, findings = doctor(callctl, {})
        assert (code, level(findings, "settings file")) == (0, expected)
        assert text in findings["settings file"]["text"]
        assert findings["settings file"]["fix"] == (None if expected == "ok" else f"chmod 600 {file}")

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    @pytest.mark.parametrize(
        ("owner", "mode", "expected"),
        [(0, 0o640, "ok"), (0, 0o660, "warning"), (0, 0o644, "warning"), (65534, 0o640, "warning")],
    )
    def test_a_file_of_root_may_be_read_by_the_group_of_a_service(
        self, callctl: Callctl, simulator: Simulator, home: Path, owner: int, mode: int, expected: str
    ) -> None:
        file = settings_file(home, simulator, mode=mode)
        os.chown(file, owner, 54321)
        code, findings = doctor(callctl, {"CALLCTL_ENV_FILE": str(file)})
        assert (code, level(findings, "settings file")) == (0, expected)
        assert ("readable by root and the group 54321 alone" in findings["settings file"]["text"]) == (expected == "ok")

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    def test_a_found_file_of_another_user_is_not_used_and_that_is_said(
        self, callctl: Callctl, simulator: Simulator, home: Path
    ) -> None:
        file = home.parent / ".env"
        file.write_text("CALLCTL_FROM=+15005550006\nCALLCTL_PUBLIC_URL=https://example.com/\n")
        os.chown(file, 65534, 65534)
        code, findings = doctor(callctl, env_for(simulator) | {"CALLCTL_FROM": ""})
        said = f"nothing in {file} is used: it is another user's, who could say where calls and callbacks go"
        assert (code, level(findings, "settings file")) == (0, "warning")
        assert findings["settings file"]["text"] == said
        assert "CALLCTL_PUBLIC_URL" not in findings
        placed = callctl("place", "+12025550100", "--say", "x", env=env_for(simulator) | {"CALLCTL_FROM": ""})
        assert (placed.code, placed.err.splitlines()[0]) == (2, f"callctl: {said}")
        assert "name it with --env-file" in placed.err

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


class TestStore:
    def test_one_that_is_there(self, callctl: Callctl, simulator: Simulator, home: Path) -> None:
        SqliteStore.open_for_watch(home / "events.db", world="w").close()
        env = env_for(simulator) | {"CALLCTL_STORE": str(home / "events.db")}
        code, findings = doctor(callctl, env)
        assert (code, findings["store"]["text"]) == (0, f"{home / 'events.db'}, for you alone")

    def test_one_whose_indexes_lack_what_its_tables_hold(
        self, callctl: Callctl, simulator: Simulator, home: Path
    ) -> None:
        path = home / "events.db"
        with closing(SqliteStore.open_for_watch(path, world="w")) as store:
            for number in range(50):
                store.append(event(number, "ringing"))
        before = path.read_bytes()
        with closing(SqliteStore.open_for_watch(path, world="w")) as store:
            for number in range(50, 300):
                store.append(event(number, "ringing"))
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(before[4096:])
        env = env_for(simulator) | {"CALLCTL_STORE": str(path)}
        code, findings = doctor(callctl, env)
        assert (code, level(findings, "store")) == (1, "error")
        assert findings["store"]["text"].startswith(f"the event store {path} is damaged: ")
        assert findings["store"]["fix"].endswith(f"`sqlite3 {path} REINDEX`")
        checked = callctl("store", "check", env=env)
        assert (checked.code, checked.out.startswith(f"✗ the event store {path} is damaged: ")) == (1, True)

    def test_one_that_others_may_read(self, callctl: Callctl, simulator: Simulator, home: Path) -> None:
        path = home / "events.db"
        SqliteStore.open_for_watch(path, world="w").close()
        path.chmod(0o644)
        code, findings = doctor(callctl, env_for(simulator) | {"CALLCTL_STORE": str(path)})
        assert (code, level(findings, "store"), findings["store"]["fix"]) == (0, "warning", f"chmod 600 {path}")

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    @pytest.mark.parametrize("part", ["events.db", "."])
    def test_one_of_another_user_needs_another_remedy_than_chmod(
        self, callctl: Callctl, simulator: Simulator, home: Path, part: str
    ) -> None:
        path = home / "data" / "events.db"
        SqliteStore.open_for_watch(path, world="w").close()
        (path.parent / part).chmod(0o777)
        os.chown(path.parent / part, 65534, 65534)
        code, findings = doctor(callctl, env_for(simulator) | {"CALLCTL_STORE": str(path)})
        assert (code, level(findings, "store")) == (0, "warning")
        assert "another user" in findings["store"]["text"]
        assert findings["store"]["fix"].startswith("name another file with CALLCTL_STORE")

    @pytest.mark.parametrize("is_made", [True, False])
    @pytest.mark.parametrize(("part", "mode"), [("state", 0o777), ("state/callctl", 0o1777), ("state/callctl", 0o775)])
    def test_one_that_others_may_put_another_in_the_place_of(
        self, callctl: Callctl, simulator: Simulator, home: Path, is_made: bool, part: str, mode: int
    ) -> None:
        path = home / "state" / "callctl" / "events.db"
        SqliteStore.open_for_watch(path, world="w").close()
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

    @pytest.mark.parametrize("end", ["-wal", "-journal"])
    def test_one_that_can_not_be_made_because_the_log_of_another_is_there(
        self, callctl: Callctl, simulator: Simulator, home: Path, end: str
    ) -> None:
        path, log = home / "events.db", home / f"events.db{end}"
        log.write_bytes(b"what the database lacks")
        env = env_for(simulator) | {"CALLCTL_STORE": str(path)}
        code, findings = doctor(callctl, env)
        assert (code, level(findings, "store")) == (1, "error")
        text = f"there can be no event store {path}: the log of another database, {log}, lies beside it"
        assert findings["store"]["text"] == text
        checked = callctl("store", env=env)
        assert (checked.code, checked.out.startswith(f"✗ {text} (move it away")) == (1, True)
        log.write_bytes(b"")  # which is nothing
        assert callctl("store", env=env).code == 0

    def test_a_file_in_the_place_of_the_folder_of_running_watches(
        self, callctl: Callctl, simulator: Simulator, home: Path
    ) -> None:
        folder = home / "state" / "callctl" / "watch"
        folder.parent.mkdir(parents=True, mode=0o700)
        folder.write_text("")
        code, findings = doctor(callctl, env_for(simulator) | {"XDG_STATE_HOME": str(home / "state")})
        assert (code, findings["state folder"]["text"]) == (1, f"the state folder {folder} is no folder")

    @pytest.mark.parametrize(
        ("free", "files", "left", "expected"),
        [
            (2560, 0, 0, None),  # no limit to the number of files
            (2559, 0, 0, "has 10236 kB left"),
            (9999, 50, 1, None),
            (9999, 50, 0, "can take no more files (no inodes left)"),
            (1024, 50, 0, "can take no more files (no inodes left)"),
        ],
    )
    def test_a_disk_that_takes_no_more(
        self,
        callctl: Callctl,
        simulator: Simulator,
        home: Path,
        monkeypatch: pytest.MonkeyPatch,
        free: int,
        files: int,
        left: int,
        expected: str | None,
    ) -> None:
        disk = os.statvfs_result((4096, 4096, 99999, free, free, files, left, left, 0, 255))
        monkeypatch.setattr(os, "statvfs", lambda _path: disk)
        code, findings = doctor(callctl, env_for(simulator) | {"CALLCTL_STORE": str(home / "events.db")})
        if expected is None:
            assert (code, level(findings, "store")) == (0, "ok")
        else:
            text = f"{home} {expected}: events that can't be kept are refused"
            assert (code, findings["store"]["text"]) == (1, text)

    @pytest.mark.parametrize(
        ("tables", "number", "expected", "text"),
        [
            (len(MIGRATIONS), len(MIGRATIONS) + 1, "error", "newer callctl"),
            (1, 1, "ok", "brings it up to date"),
            (len(MIGRATIONS), 1, "error", "its version number (user_version) is 1, but"),
        ],
    )
    def test_one_of_another_version(
        self, callctl: Callctl, simulator: Simulator, home: Path, tables: int, number: int, expected: str, text: str
    ) -> None:
        path = home / "events.db"
        path.touch(0o600)
        with closing(sqlite3.connect(path)) as connection:
            numbers = f"PRAGMA user_version = {number}; PRAGMA application_id = {APPLICATION_ID}"
            connection.executescript(f"{';'.join(MIGRATIONS[:tables])}; {numbers}")
        code, findings = doctor(callctl, env_for(simulator) | {"CALLCTL_STORE": str(path)})
        assert (code == 0, level(findings, "store")) == (expected == "ok", expected)
        assert text in findings["store"]["text"]

    def test_one_that_is_locked(self, callctl: Callctl, simulator: Simulator, home: Path) -> None:
        path = home / "events.db"
        SqliteStore.open_for_watch(path, world="w").close()
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            outcome = callctl("doctor", "--json", env=FREE | env_for(simulator) | {"CALLCTL_STORE": str(path)})
        findings = checks(outcome)
        assert (outcome.code, "locked" in findings["store"]["text"]) == (1, True)

    def test_one_that_keeps_what_could_not_be_passed_on(
        self, callctl: Callctl, simulator: Simulator, home: Path
    ) -> None:
        env = env_for(simulator) | {"CALLCTL_STORE": str(home / "events.db")}
        one, now = event(1, "ringing"), datetime.now(UTC)
        with closing(open_store(load({"HOME": str(home), **env}, cwd=home))) as store:
            assert store.append(one)
            row = Undelivered(one.call_sid, one.key, "http://127.0.0.1:1/", now, "no answer", timedelta(minutes=5))
            store.keep_undelivered([row], now=now)
            assert "forwarding" not in doctor(callctl, env)[1]  # it is still tried
            store.keep_undelivered([row._replace(tried_for=timedelta())], now=now)
            code, findings = doctor(callctl, env)
        assert (code, level(findings, "forwarding")) == (0, "warning")
        assert findings["forwarding"]["text"] == "1 callback is kept that could not be passed on to an application"
        assert findings["forwarding"]["fix"] == "callctl replay --failed"

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
        SqliteStore.open_for_watch(path, world="w").close()
        path.chmod(0o400)
        _, findings = doctor(callctl, env_for(simulator) | {"CALLCTL_STORE": str(path)})
        assert "can't be read and written by you (mode 400)" in findings["store"]["text"]
        path.unlink()
        path.parent.chmod(0o500)
        _, findings = doctor(callctl, env_for(simulator) | {"CALLCTL_STORE": str(path)})
        assert f"{path.parent} can't be written to" in findings["store"]["text"]
