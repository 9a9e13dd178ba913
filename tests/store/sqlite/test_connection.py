"""Connections of one process must not take each other's locks away."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from events import WORLD, event

from callctl.errors import StoreError
from callctl.store.sqlite.store import SqliteStore

OTHER = """
import sys
from pathlib import Path
from callctl.store.sqlite.store import SqliteStore
SqliteStore.open_for_watch(Path(sys.argv[1]), world="other").close()
"""


@pytest.mark.parametrize("is_there", [False, True])
def test_a_name_that_reads_like_a_uri_is_the_name_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    foreign, folder = tmp_path / "home" / "app.db", tmp_path / "projects" / "cloned"
    for made in (foreign.parent, folder / "home", folder / "file:.."):
        made.mkdir(parents=True)
    with closing(sqlite3.connect(foreign)) as database:
        database.execute("CREATE TABLE theirs (a)")
    before = foreign.read_bytes()
    monkeypatch.chdir(folder)
    if is_there:
        SqliteStore.open_for_watch(folder / "home" / "app.db", world=WORLD).close()
    store = SqliteStore.open_for_watch(Path("file:../../home/app.db"), world=WORLD)
    store.append(event(1, "ringing"))
    store.close()
    assert foreign.read_bytes() == before
    with closing(SqliteStore.open_readonly(folder / "home" / "app.db", world=WORLD)) as store:
        assert len(list(store.replay(since=None))) == 1


def test_a_file_may_be_called_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(path.parent)
    for _ in range(2):
        with closing(SqliteStore.open_for_watch(Path(":memory:"), world=WORLD)) as store:
            store.append(event(1, "ringing"))
    assert Path(":memory:").stat().st_size


def test_a_store_without_a_log_is_waited_for_while_another_process_has_it(path: Path) -> None:
    SqliteStore.open_for_watch(path, world=WORLD).close()
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("PRAGMA journal_mode = DELETE")  # as in a copy that was restored
    other.execute("BEGIN IMMEDIATE")  # SQLite refuses to turn the log on, and does not wait
    threading.Timer(0.2, lambda: other.execute("ROLLBACK")).start()
    SqliteStore.open_for_watch(path, world=WORLD).close()
    other.close()


def test_a_second_connection_here_and_a_visitor_leave_the_log_alone(path: Path) -> None:
    """The last process that closes a store removes its log; a second one must see that the first has it open."""
    store = SqliteStore.open_for_watch(path, world=WORLD)
    store.append(event(1, "ringing"))
    SqliteStore.open_for_watch(path, world=WORLD).close()
    subprocess.run([sys.executable, "-c", OTHER, str(path)], check=True, timeout=120)
    assert path.with_name("events.db-wal").exists()
    store.append(event(2, "ringing"))
    store.close()
    reopened = SqliteStore.open_for_watch(path, world=WORLD)
    assert len(list(reopened.replay(since=None))) == 2
    reopened.close()


@pytest.mark.parametrize("opens", [SqliteStore.open, SqliteStore.open_for_watch])
def test_a_store_that_can_not_be_written_is_refused_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, opens: Callable[..., SqliteStore]
) -> None:
    SqliteStore.open_for_watch(path, world=WORLD).close()
    connect = sqlite3.connect

    def connect_protected(database: object, **options: object) -> sqlite3.Connection:
        # As SQLite itself does where the file can't be opened for writing; root could write it all the same.
        name = f"{Path(str(database)).as_uri()}?mode=ro" if database == path.absolute() else str(database)
        return connect(name, **{**options, "uri": True})  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(sqlite3, "connect", connect_protected)
    with pytest.raises(StoreError, match="readonly") as raised:
        opens(path, world=WORLD)
    assert "-wal and -shm" in str(raised.value.hint)
    monkeypatch.undo()
    with closing(opens(path, world=WORLD)) as store:
        assert store.append(event(1, "ringing"))


def test_a_store_that_another_program_writes_just_now_is_opened(path: Path) -> None:
    SqliteStore.open_for_watch(path, world=WORLD).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with closing(SqliteStore.open(path, world=WORLD, busy_timeout=30)) as store:
            other.execute("ROLLBACK")
            assert store.append(event(1, "ringing"))
