"""Where a store may lie."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from events import WORLD, event

from callctl.errors import StoreError
from callctl.store.sqlite.connection import check_writable
from callctl.store.sqlite.location import check_no_log_alone, store_exists
from callctl.store.sqlite.store import SqliteStore


def test_a_store_is_there_or_not(tmp_path: Path) -> None:
    path = tmp_path / "state" / "events.db"
    assert not store_exists(path)
    path.parent.mkdir()
    assert not store_exists(path)
    path.touch()
    assert store_exists(path)


def test_what_can_be_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "events.db-wal").mkdir()
    for path, what in (
        (tmp_path, "it is a folder"),
        (tmp_path / "file" / "events.db", "is no folder"),
        (tmp_path / "link", "is a symbolic link that leads nowhere"),
        (tmp_path / "events.db", "events.db-wal is no regular file"),
    ):
        with pytest.raises(StoreError, match=what):
            store_exists(path)


OPENINGS = (
    SqliteStore.open,
    SqliteStore.open_for_watch,
    SqliteStore.open_existing,
    SqliteStore.open_readonly,
)
_OPENS_MOUNTED = """
import sys
from pathlib import Path
from callctl.errors import StoreError
from callctl.store.sqlite.store import SqliteStore
try:
    SqliteStore.open_for_watch(Path(sys.argv[1]), world="any").close()
except StoreError as error:
    print(error)
"""


@pytest.mark.parametrize("opens", OPENINGS)
def test_a_store_that_has_another_name_is_refused_until_that_is_removed(
    path: Path, tmp_path: Path, opens: Callable[..., SqliteStore]
) -> None:
    SqliteStore.open(path, world=WORLD).close()
    other = tmp_path / "other.db"
    other.hardlink_to(path)
    for name in (path, other):
        with pytest.raises(StoreError, match="has another name too") as raised:
            opens(name, world=WORLD)
        assert f"-samefile {name}" in (raised.value.hint or "")
        with pytest.raises(StoreError, match="has another name too"):
            check_writable(name)
    other.unlink()
    opens(path, world=WORLD).close()


@pytest.mark.parametrize("opens", OPENINGS)
def test_a_name_that_was_left_where_the_store_was_made_is_not_another_one(
    path: Path, opens: Callable[..., SqliteStore]
) -> None:
    SqliteStore.open(path, world=WORLD).close()
    for folder in (".events.db.callctl-killed", ".events.db.callctl-empty"):
        path.with_name(folder).mkdir()
    (path.with_name(".events.db.callctl-killed") / path.name).hardlink_to(path)
    opens(path, world=WORLD).close()


def test_a_link_that_is_made_while_a_watch_runs_is_said_once_and_nothing_is_lost(
    path: Path, store: SqliteStore, troubles: list[str], tmp_path: Path
) -> None:
    store.append(event(1, "ringing"))
    for round_ in range(2):
        other = tmp_path / "other.db"
        other.hardlink_to(path)
        for number in range(3):
            assert store.append(event(10 * round_ + number + 2, "ringing"))
        (trouble,) = troubles
        assert "has another name too" in trouble
        troubles.clear()
        with pytest.raises(StoreError):
            SqliteStore.open(other, world=WORLD)
        other.unlink()
        assert store.append(event(10 * round_ + 9, "ringing"))
        assert troubles == []


@pytest.mark.parametrize("name", ["events.db", "a b\\c.db"])
def test_a_store_that_is_a_mounted_file_is_refused(path: Path, tmp_path: Path, name: str) -> None:
    mounting = shutil.which("unshare")
    SqliteStore.open(path, world=WORLD).close()
    target = tmp_path / "data" / name
    target.parent.mkdir()
    target.touch()

    def opened_where(mounted: str) -> subprocess.CompletedProcess[str]:
        script = f'mount --bind "$1" "$2" || exit 77; exec "$3" -c "$4" "{mounted}"'
        arguments = ["sh", str(path), str(target), sys.executable, _OPENS_MOUNTED]
        shell = [str(mounting), "--map-root-user", "--mount", "sh", "-c", script, *arguments]
        return subprocess.run(shell, check=False, capture_output=True, text=True)

    found = opened_where("$2") if mounting else None
    if found is None or found.returncode:
        pytest.skip("nothing can be mounted here")
    assert "is a file that is mounted" in found.stdout
    assert opened_where("$1").stdout == ""  # where it comes from


@pytest.mark.parametrize(("surplus", "is_fine"), [(0, True), (1, False), (700, False)])
def test_a_path_that_sqlite_does_not_take_is_refused_before_a_store_is_made(
    tmp_path: Path, surplus: int, is_fine: bool
) -> None:
    folder = tmp_path
    wanted = 512 - len("/.events.db.callctl-12345678/events.db-journal") + surplus  # bytes of the folder
    while (left := wanted - len(str(folder))) > 0:
        folder = folder / ("d" * (left - 1 if left <= 200 else 100))
    folder.mkdir(parents=True)
    path = folder / "events.db"
    if is_fine:
        check_no_log_alone(path)
        SqliteStore.open(path, world=WORLD).close()
        return
    for refusing in (check_no_log_alone, lambda path: SqliteStore.open(path, world=WORLD)):
        with pytest.raises(StoreError, match=f"longer than SQLite takes, by {surplus} bytes"):
            refusing(path)
    assert list(folder.iterdir()) == []
