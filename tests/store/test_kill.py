from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from callctl.store.sqlite import SqliteStore

WRITER = Path(__file__).with_name("writer.py")


@pytest.mark.parametrize("acknowledged", [1, 37, 200, 501])
def test_every_acknowledged_event_survives_a_kill(path: Path, acknowledged: int) -> None:
    told: list[str] = []
    for _ in range(2):  # the second run begins on what the first one left
        told += _write_until_killed(path, acknowledged)
        store = SqliteStore(path, world="w")
        kept = [event.key for event in store.replay(since=None)]
        check = store._opened.connection.execute("PRAGMA integrity_check").fetchone()
        store.close()
        assert set(told) <= set(kept)
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
