from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from events import WORLD, event

from callctl.store.sqlite.connection import check_writable
from callctl.store.sqlite.store import SqliteStore

WRITER = Path(__file__).with_name("writing_process.py")


@pytest.mark.parametrize("acknowledged", [1, 37, 200, 501])
def test_every_acknowledged_event_survives_a_kill(path: Path, acknowledged: int) -> None:
    confirmed: list[str] = []
    for _ in range(2):  # the second run begins with the store of the first one
        confirmed += _write_until_killed(path, acknowledged)
        store = SqliteStore.open_for_watch(path, world="w")
        kept = [event.key for event in store.replay(since=None)]
        check = store._writing.connection.execute("PRAGMA integrity_check").fetchone()
        store.close()
        assert set(confirmed) <= set(kept)
        assert len(kept) == len(set(kept))
        assert check == ("ok",)


def _write_until_killed(path: Path, acknowledged: int) -> list[str]:
    process = subprocess.Popen([sys.executable, str(WRITER), str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(acknowledged)]
    process.kill()
    lines += process.stdout.readlines()  # what was acknowledged before the kill took hold
    process.stdout.close()
    process.wait()
    assert b"" not in lines
    return [line.decode().strip() for line in lines if line.endswith(b"\n")]


@pytest.mark.parametrize("opens", [SqliteStore.open_for_watch, SqliteStore.open_readonly])
@pytest.mark.parametrize("pages", [1, 3, 7])
def test_a_store_whose_checkpoint_was_cut_off_opens_with_all_that_is_in_its_log(
    path: Path, opens: Callable[..., SqliteStore], pages: int
) -> None:
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        events = [event(number, "ringing") for number in range(100)]
        for one in events:
            store.append(one)
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(PASSIVE)")
        copy = path.with_name("copy.db")
        for end in ("", "-wal"):
            shutil.copyfile(f"{path}{end}", f"{copy}{end}")
    # Pages are written one by one, the first one with the number of all: a crash, or a full disk, comes in between.
    os.truncate(copy, 4096 * pages)
    assert check_writable(copy)
    with closing(opens(copy, world=WORLD)) as reopened:
        assert list(reopened.replay(since=None)) == events
