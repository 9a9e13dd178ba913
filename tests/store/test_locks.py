"""Connections of one process must not take each other's locks away."""

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

from telling import WORLD, event

from callctl.store.sqlite import SqliteStore

OTHER = """
import sys
from pathlib import Path
from callctl.store.sqlite import SqliteStore
SqliteStore(Path(sys.argv[1]), world="other").close()
"""


def test_a_new_store_is_waited_for_while_another_process_makes_it(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")  # not yet with a log: SQLite refuses to turn it on, and does not wait
    threading.Timer(0.2, lambda: other.execute("ROLLBACK")).start()
    SqliteStore(path, world=WORLD).close()
    other.close()


def test_a_second_connection_here_and_a_visitor_leave_the_log_alone(path: Path) -> None:
    """The last who closes a store removes its log; a visitor must see that somebody is still there."""
    store = SqliteStore(path, world=WORLD)
    store.append(event(1, "ringing"))
    SqliteStore(path, world=WORLD).close()
    subprocess.run([sys.executable, "-c", OTHER, str(path)], check=True, timeout=120)
    assert path.with_name("events.db-wal").exists()
    store.append(event(2, "ringing"))
    store.close()
    again = SqliteStore(path, world=WORLD)
    assert len(list(again.replay(since=None))) == 2
    again.close()
