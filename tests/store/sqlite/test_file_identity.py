"""A file that is no event store stays as it is, whatever uses it; stores from before the mark are known."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from events import WORLD, event, sid

from callctl.errors import StoreError
from callctl.store.sqlite.connection import check_writable
from callctl.store.sqlite.schema import APPLICATION_ID, MIGRATIONS
from callctl.store.sqlite.store import SqliteStore

Files = dict[str, tuple[int, int, bytes]]
# What a 0.1.0 that is killed before its first checkpoint leaves: all of it is in the log.
KILLED = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
for statement in sys.stdin.read().split(";"):
    connection.execute(statement)
os.kill(os.getpid(), 9)
"""


def unmarked(version: int) -> str:
    """Return what makes a store as callctl 0.1.0 did."""
    return f"{';'.join(MIGRATIONS[:version])};PRAGMA user_version = {version}"


def files(folder: Path) -> Files:
    """Return mode, time of change and content of all files."""
    files = {path.name: (path.stat(), path.read_bytes()) for path in folder.iterdir()}
    return {name: (status.st_mode, status.st_mtime_ns, content) for name, (status, content) in files.items()}


def a_text(path: Path) -> None:
    path.write_text("notes\n" * 2000)


def nothing(path: Path) -> None:
    path.write_bytes(b"")


def a_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE bookmarks (url); INSERT INTO bookmarks VALUES ('x')")


def one_with_a_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE calls (id); CREATE TABLE events (id); PRAGMA user_version = 3")


def a_marked_one(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"{unmarked(6)}; PRAGMA application_id = 1")


def one_without_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE gone (x); DROP TABLE gone; PRAGMA user_version = 2")


def one_with_a_log(path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, path], input=b"CREATE TABLE bookmarks (url)", check=False, timeout=120
    )
    assert killed.returncode == -9


OTHERS = [a_text, nothing, a_database, one_with_a_version, a_marked_one, one_without_tables, one_with_a_log]
USES: dict[str, Callable[[Path], object]] = {
    "write": lambda path: SqliteStore.open_for_watch(path, world=WORLD),
    "claim": lambda path: SqliteStore.open(path, world=WORLD),
    "read": lambda path: SqliteStore.open_readonly(path, world=WORLD),
    "check": check_writable,
}


@pytest.mark.parametrize("make", OTHERS)
@pytest.mark.parametrize("use", USES)
def test_nothing_about_what_is_no_store_changes(tmp_path: Path, make: Callable[[Path], None], use: str) -> None:
    path = tmp_path / "file"
    make(path)
    path.chmod(0o644)
    before = files(tmp_path)
    with pytest.raises(StoreError, match=r"is no event store|is not a database") as refused:
        USES[use](path)
    assert files(tmp_path) == before
    assert "CALLCTL_STORE" in (refused.value.hint or "")


def marks(path: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(path)) as connection:
        pragmas = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        return next(pragmas), next(pragmas)


def test_a_new_store_is_marked_from_its_first_byte_on(path: Path) -> None:
    store = SqliteStore.open_for_watch(path, world=WORLD)
    assert path.read_bytes()[68:72] == APPLICATION_ID.to_bytes(4, "big") == b"CCTL"
    assert sorted(one.name for one in path.parent.iterdir()) == ["events.db", "events.db-shm", "events.db-wal"]
    store.close()
    assert marks(path) == (APPLICATION_ID, len(MIGRATIONS))


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
@pytest.mark.parametrize("is_killed", [False, True])
def test_a_store_without_the_mark_is_known_and_marked_when_it_is_written(
    tmp_path: Path, version: int, is_killed: bool
) -> None:
    path = tmp_path / "events.db"
    if is_killed:
        subprocess.run([sys.executable, "-c", KILLED, path], input=unmarked(version).encode(), check=False, timeout=120)
        assert path.stat().st_size == 4096  # the tables are in the log
        (tmp_path / "events.db-shm").unlink()  # as in a copy: SQLite would have to make it
    else:
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(unmarked(version))
    before = files(tmp_path)
    with suppress(StoreError):  # an older version can't be read before it is brought up to date
        SqliteStore.open_readonly(path, world=WORLD).close()
    if not is_killed:
        assert files(tmp_path) == before
    store = SqliteStore.open_for_watch(path, world=WORLD)
    assert store.append(event(1, "ringing"))
    store.close()
    assert marks(path) == (APPLICATION_ID, len(MIGRATIONS))
    reader = SqliteStore.open_readonly(path, world=WORLD)
    assert [one.call_sid for one in reader.replay(since=None)] == [sid(1)]
    reader.close()


def test_looking_takes_no_lock_of_this_process_away(path: Path) -> None:
    """POSIX drops all locks of a process on a file that it closes: another one would then remove the log."""
    store = SqliteStore.open_for_watch(path, world=WORLD)
    store.append(event(1, "ringing"))
    for _ in range(3):
        SqliteStore.open_readonly(path, world=WORLD).close()
        check_writable(path)
    code = (
        "import sqlite3, sys; connection = sqlite3.connect(sys.argv[1]);"
        "print(connection.execute('PRAGMA user_version').fetchone()); connection.close()"
    )
    subprocess.run([sys.executable, "-c", code, path], check=True, timeout=120, stdout=subprocess.DEVNULL)
    assert path.with_name("events.db-wal").stat().st_size
    store.close()


def test_a_log_without_its_database_is_neither_applied_nor_removed(path: Path) -> None:
    path.parent.mkdir()
    one_with_a_log(path)
    path.unlink()
    before = files(path.parent)
    with pytest.raises(StoreError, match="the log of another database") as refused:
        SqliteStore.open_for_watch(path, world=WORLD)
    assert files(path.parent) == before
    assert "else remove it" in (refused.value.hint or "")


def test_a_journal_without_its_database_is_not_removed(path: Path) -> None:
    path.parent.mkdir()
    path.with_name("events.db-journal").write_bytes(b"what undoes a change")
    before = files(path.parent)
    with pytest.raises(StoreError, match=r"the log of another database, .*events\.db-journal, lies beside it"):
        SqliteStore.open_for_watch(path, world=WORLD)
    assert files(path.parent) == before


@pytest.mark.parametrize("content", [b"my notes\n", b"x" * 32768, b"my notes".ljust(2 * 32768)])
def test_a_file_that_is_only_named_like_an_index_is_not_written_over(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.with_name("events.db-shm").write_bytes(content)
    before = files(path.parent)
    with pytest.raises(StoreError, match=r"SQLite would write over .*events\.db-shm, which belongs to something else"):
        SqliteStore.open_for_watch(path, world=WORLD)
    assert files(path.parent) == before


@pytest.mark.parametrize("kept", ["whole", "zeros", "empty"])
def test_an_index_that_sqlite_left_alone_keeps_no_store_from_being_made(path: Path, kept: str) -> None:
    SqliteStore.open_for_watch(path, world=WORLD).close()
    index = path.with_name("events.db-shm")
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        store.append(event(1, "ringing"))
        left = index.read_bytes()
    path.unlink()
    index.write_bytes({"whole": left, "zeros": bytes(len(left)), "empty": b""}[kept])
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        assert store.append(event(1, "ringing"))


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("what", ["a link", "a folder", "a pipe"])
def test_what_sqlite_keeps_beside_it_must_be_files(path: Path, end: str, what: str) -> None:
    SqliteStore.open_for_watch(path, world=WORLD).close()
    beside, precious = path.with_name(path.name + end), path.with_name("precious")
    precious.write_text("precious")
    if what == "a link":
        beside.symlink_to(precious)
    elif what == "a folder":
        beside.mkdir()
    else:
        os.mkfifo(beside)
    for use in (USES["write"], USES["read"]):
        with pytest.raises(StoreError, match="is no regular file"):
            use(path)
    assert precious.read_text() == "precious"


def test_links_lead_to_a_store_or_are_refused(path: Path, tmp_path: Path) -> None:
    SqliteStore.open_for_watch(path, world=WORLD).close()
    good, dangling, circle = (tmp_path / name for name in ("good", "dangling", "circle"))
    good.symlink_to(path)
    dangling.symlink_to(tmp_path / "nothing")
    circle.symlink_to(circle)
    store = SqliteStore.open_for_watch(good, world=WORLD)
    assert store.append(event(1, "ringing"))
    store.close()
    for link in (dangling, circle, dangling / "events.db", circle / "deep" / "events.db"):
        with pytest.raises(StoreError, match="a symbolic link that leads nowhere"):
            SqliteStore.open_for_watch(link, world=WORLD)
    assert not (tmp_path / "nothing").exists()


def test_a_file_system_without_second_names_for_files_will_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    store = SqliteStore.open_for_watch(path, world=WORLD)
    assert store.append(event(1, "ringing"))
    store.close()
    assert path.stat().st_mode & 0o777 == 0o600


def plant_journal(path: Path, name: str) -> None:
    """Put a rollback journal beside a database that names another file: SQLite deletes that when it rolls back."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    magic, size, named = bytes.fromhex("d9d505f920a163d7"), path.stat().st_size, name.encode()
    header = magic + struct.pack(">IIIII", 0, 1, size // 4096, 512, 4096)
    lock_page = 0x40000000 // 4096 + 1
    end = struct.pack(">I", lock_page) + named + struct.pack(">II", len(named), sum(named)) + magic
    path.with_name(f"{path.name}-journal").write_bytes(header.ljust(512, b"\0") + end)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("is_relative", [False, True])
def test_a_journal_that_names_another_file_deletes_none(
    path: Path, use: str, is_relative: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    SqliteStore.open_for_watch(path, world=WORLD).close()
    monkeypatch.chdir(path.parent)
    precious = path.parent.parent / "precious"
    precious.write_text("years of work")
    plant_journal(path, "../precious" if is_relative else str(precious))
    before = files(path.parent)
    with pytest.raises(
        StoreError, match=r"SQLite would delete another file, which .*events\.db-journal names"
    ) as refused:
        USES[use](path)
    assert files(path.parent) == before
    assert "CALLCTL_STORE" in (refused.value.hint or "")
    assert precious.exists()
    with closing(sqlite3.connect(path)) as connection:  # what SQLite does with such a journal
        connection.execute("PRAGMA journal_mode").fetchall()
        connection.execute("SELECT count(*) FROM calls").fetchall()
    assert not precious.exists() or sqlite3.sqlite_version_info > (3, 50)  # 3.53 leaves it alone


@pytest.mark.parametrize("leftover", ["copy", "held rows", "store"])
def test_neither_does_one_beside_the_leftover_of_a_repair(path: Path, leftover: str) -> None:
    SqliteStore.open_for_watch(path, world=WORLD).close()
    precious = path.parent.parent / "precious"
    precious.write_text("years of work")
    folder = path.with_name(f".{path.name}.callctl-x")
    folder.mkdir()
    if leftover == "copy":
        path.rename(folder / path.name)
        path.with_name(f"{path.name}.damaged-1").write_text("damaged")
        plant_journal(folder / path.name, str(precious))
    else:
        shutil.copy(path, folder / "held.db")
        plant_journal(path if leftover == "store" else folder / "held.db", str(precious))
    with suppress(StoreError):
        SqliteStore.open_for_watch(path, world=WORLD).close()
    assert precious.exists()


def test_a_journal_that_names_nothing_is_rolled_back(path: Path) -> None:
    """As of a restored copy that was being changed when its program was killed."""
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        store.append(event(1, "ringing"))
    code = (
        "import os, sqlite3, sys; connection = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "connection.execute('PRAGMA journal_mode = DELETE'); connection.execute('PRAGMA cache_spill = 1');"
        "connection.execute('PRAGMA cache_size = 1'); connection.execute('BEGIN');"
        "connection.execute('DELETE FROM events');"
        "connection.executemany('INSERT INTO actions VALUES (?, 1, 1, 1, 1)', ((n,) for n in range(99999)));"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, path], check=False, timeout=120).returncode == -9
    journal = path.with_name("events.db-journal")
    assert journal.stat().st_size
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        assert [one.call_sid for one in store.replay(since=None)] == [sid(1)]
    assert not journal.exists()


PLANTED = [
    "CREATE TRIGGER swap AFTER INSERT ON placed BEGIN UPDATE placed SET sid = 'CA1'; END",
    "CREATE VIEW extra AS SELECT * FROM placed",
    "CREATE VIRTUAL TABLE extra USING rtree(id, low, high)",
]


@pytest.mark.parametrize("statement", PLANTED, ids=["trigger", "view", "virtual table"])
@pytest.mark.parametrize("is_in_log", [False, True])
def test_a_store_with_code_in_it_is_none_of_ours(path: Path, statement: str, is_in_log: bool) -> None:
    SqliteStore.open_for_watch(path, world=WORLD).close()
    if is_in_log:
        one_statement = KILLED.replace('sys.stdin.read().split(";")', "[sys.stdin.read()]")
        killed = subprocess.run(
            [sys.executable, "-c", one_statement, path], input=statement.encode(), check=False, timeout=120
        )
        assert killed.returncode == -9
    else:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(statement)
    for use in USES.values():
        with pytest.raises(StoreError, match="it holds triggers, views or virtual tables") as refused:
            use(path)
        assert "CALLCTL_STORE" in (refused.value.hint or "")


def rewrite(table: str, old: str, new: str) -> str:
    """Return what changes the text of a table or an index, as only who writes the file by hand can."""
    where = f"WHERE name = '{table}'"
    return f"PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql = replace(sql, '{old}', '{new}') {where}"


ALTERED = {
    "unique": "CREATE UNIQUE INDEX evil ON events (call_id)",
    "unique expression": "CREATE UNIQUE INDEX evil ON events ((1))",
    "expression": "CREATE INDEX evil ON events (abs(id))",
    "condition": "CREATE INDEX evil ON events (key) WHERE json_extract(record, '$.a')",
    "collation": "CREATE INDEX evil ON calls (world, sid COLLATE theirs)",
    "unique calls": "CREATE UNIQUE INDEX evil ON calls (world)",
    "unique claims": "CREATE UNIQUE INDEX evil ON claims (world)",
    "column": "ALTER TABLE events ADD COLUMN evil TEXT CHECK (call_id > 9)",
    "generated": "ALTER TABLE events ADD COLUMN evil INTEGER NOT NULL AS (nullif(call_id, 1))",
    "conflict": rewrite("events", "key TEXT NOT NULL,", "key TEXT NOT NULL CHECK (call_id > 9) ON CONFLICT IGNORE,"),
    "check": rewrite("events", "UNIQUE (call_id, key)", "UNIQUE (call_id, key), CHECK (call_id > 9)"),
    "own index": rewrite("calls_by_time", "CREATE INDEX", "CREATE UNIQUE INDEX"),
    "hidden trigger": (
        "CREATE TABLE evil (x); PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql ="
        " 'CREATE TRIGGER evil AFTER INSERT ON events BEGIN DELETE FROM events; END' WHERE name = 'evil'"
    ),
    "hidden virtual table": (
        "CREATE TABLE evil (x); PRAGMA writable_schema = 1; UPDATE sqlite_schema SET rootpage = 0, sql ="
        " 'CREATE /**/ VIRTUAL TABLE evil USING rtree(id, low, high)' WHERE name = 'evil'"
    ),
}


@pytest.mark.parametrize("what", ALTERED)
@pytest.mark.parametrize("use", USES)
def test_a_store_that_might_not_take_all_events_is_refused(path: Path, what: str, use: str) -> None:
    SqliteStore.open_for_watch(path, world=WORLD).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.create_collation("theirs", lambda first, second: (first > second) - (first < second))
        connection.executescript(ALTERED[what])
    refusals = r"is not as callctl made it|is not callctl's|malformed database schema|virtual tables"
    with pytest.raises(StoreError, match=refusals) as refused:
        USES[use](path)
    assert "CALLCTL_STORE" in (refused.value.hint or "")


@pytest.mark.parametrize("number", [0, 1, len(MIGRATIONS) - 1])
@pytest.mark.parametrize("use", USES)
def test_a_store_whose_version_number_was_changed_is_refused_with_what_sets_it_back(
    path: Path, number: int, use: str
) -> None:
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        store.append(event(1, "ringing"))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {number}")
    with pytest.raises(StoreError, match=rf"its version number \(user_version\) is {number}, but") as refused:
        USES[use](path)
    statement = f"PRAGMA user_version = {len(MIGRATIONS)}"
    assert (refused.value.hint or "").startswith(f"`sqlite3 {path} '{statement}'` sets it back; or undo that")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
    opened = USES[use](path)
    if isinstance(opened, SqliteStore):
        opened.close()
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        assert not store.append(event(1, "ringing"))  # it is there


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
def test_a_store_of_each_version_is_compared_with_what_that_had(path: Path, version: int) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"{unmarked(version)}; PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("CREATE UNIQUE INDEX evil ON events (call_id)")
    with pytest.raises(StoreError, match="its index 'evil' is not callctl's"):
        SqliteStore.open_for_watch(path, world=WORLD)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP INDEX evil")
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        assert store.append(event(1, "ringing"))


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX mine ON events (record)",
        "CREATE INDEX mine ON calls (sid COLLATE nocase, status COLLATE RTRIM)",
        "CREATE TABLE mine (sid PRIMARY KEY, note UNIQUE CHECK (note > 1))",
        "CREATE TABLE mine (sid); CREATE UNIQUE INDEX my_index ON mine (sid)",
        "ANALYZE",
        "DROP INDEX calls_by_time",
        "VACUUM",
    ],
)
def test_tables_and_plain_indexes_of_its_owners_are_in_nobodys_way(path: Path, statement: str) -> None:
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        assert store.append(event(1, "ringing"))
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(statement)
        assert store.append(event(2, "ringing"))
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        assert store.append(event(3, "ringing"))
        assert {one.call_sid for one in store.replay(since=None)} == {sid(1), sid(2), sid(3)}
    assert [one for one in path.parent.iterdir() if "damaged" in one.name] == []


@pytest.mark.parametrize("definition", ["(call_id)", "((1))"])
def test_an_event_that_something_else_keeps_out_is_not_taken_for_one_that_is_stored(
    path: Path, definition: str
) -> None:
    with closing(SqliteStore.open(path, world=WORLD)) as store:  # which repairs nothing
        assert store.append(event(1, "initiated"))
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"CREATE UNIQUE INDEX evil ON events {definition}")
        assert not store.append(event(1, "initiated"))
        with pytest.raises(StoreError, match="UNIQUE constraint failed"):
            store.append(event(1, "ringing"))


def test_what_a_killed_process_held_waits_for_a_store_that_takes_all(path: Path) -> None:
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        assert store.append(event(1, "initiated"))
        assert store.append(event(1, "ringing"))
    folder = path.with_name(f".{path.name}.callctl-x")
    folder.mkdir()
    shutil.copy(path, folder / "held.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM events WHERE id = 2")
        connection.execute("CREATE UNIQUE INDEX evil ON events (call_id)")
    with pytest.raises(StoreError, match="its index 'evil' is not callctl's"):
        SqliteStore.open_for_watch(path, world=WORLD)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP INDEX evil")
    with closing(SqliteStore.open_for_watch(path, world=WORLD)) as store:
        assert [one.status for one in store.replay(since=None)] == ["initiated", "ringing"]


def test_what_a_schema_says_is_not_trusted(path: Path) -> None:
    store = SqliteStore.open(path, world=WORLD)
    assert store._writing.connection.execute("PRAGMA trusted_schema").fetchone() == (0,)
    store.close()


@pytest.mark.parametrize("name", ["events.db-wal", "events.db-shm", "events.db-journal", "EVENTS.DB-WAL"])
def test_a_store_can_not_take_the_name_of_what_belongs_to_another(path: Path, name: str) -> None:
    other, link = path.with_name(name), path.with_name("link.db")
    for use in ("write", "claim", "read"):
        with pytest.raises(StoreError, match="belongs to another database under such a name") as refused:
            USES[use](other)
        assert "CALLCTL_STORE" in (refused.value.hint or "")
    assert not other.exists()
    SqliteStore.open_for_watch(path, world=WORLD).close()
    path.rename(other)
    link.symlink_to(other)
    with pytest.raises(StoreError, match="under such a name"):
        SqliteStore.open_readonly(link, world=WORLD)
