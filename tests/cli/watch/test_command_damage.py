"""A watch whose files are damaged under load and that is killed then: whatever it answered for with 204 is there."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from callback_load import Load, call_and_number, kept_in
from processes import Piped
from running import env_for
from store_damage import (
    copy_large_database_over,
    copy_store_over,
    cut_log,
    move_store_over,
    overwrite_tables,
    raise_index,
    remove_log,
    rename_database,
)

from callctl.settings import load
from callctl.simulator import Simulator

WATCH = ("watch", "--no-poll", "--json", "--port", "0")
BEFORE, AFTER = 100, 200
# One of each kind; all the others are tried without a process (tests/store/sqlite/test_repair.py).
DAMAGES = (
    remove_log,
    cut_log,
    rename_database,
    move_store_over,
    copy_large_database_over,
    copy_store_over,
    raise_index,
    overwrite_tables,
)


def until_reported(records: list[dict[str, Any]], text: str) -> None:
    """Return once a record of trouble holds a text."""
    deadline = time.monotonic() + 60
    while not any(text in str(record) for record in records if record["type"] == "trouble"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_was_acknowledged_before_and_after_is_there(
    home: Path, simulator: Simulator, damage: Callable[[Path], None]
) -> None:
    env = env_for(simulator)
    settings = load({"HOME": str(home), **env}, cwd=home)
    records: list[dict[str, Any]] = []
    with Piped(*WATCH, home=home, env=env) as watch:
        port = int(watch.record()["port"])
        reading = threading.Thread(target=lambda: records.extend(map(json.loads, watch.lines())))
        reading.start()
        sending = Load(port, token=simulator.auth_token, numbers=itertools.count(), may_fail=True)
        sending.until(BEFORE)
        damage(settings.store)
        sending.until(len(sending.answered) + AFTER)
        # All that was in the database may still be in the log, and a commit may write the header of the index anew.
        if damage not in (copy_store_over, raise_index):
            until_reported(records, "was changed from outside")
        watch.kill()
        sending.end()
        reading.join()
    assert set(map(call_and_number, sending.answered)) <= kept_in(settings).keys()
