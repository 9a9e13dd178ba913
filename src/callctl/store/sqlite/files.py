"""The three files of an open store, as they lie on the disk: whether they are still those that SQLite has open.

SQLite writes on to a file that has lost its name, or whose log was emptied, and says nothing: what it commits there is
gone with the process. The database and its ``-shm`` are only ever stat'ed, for closing them would drop the POSIX locks
of this process's connections ("How to corrupt", section 2.2). On the ``-wal`` SQLite takes no locks, so it may be read.
"""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_HEADER, _FRAME_HEADER = 32, 24  # bytes of the headers of a log and of a page in it ("WAL-mode File Format")
_AT_ONCE = 64  # frames that are read at once
_MAGIC = (0x377F0682, 0x377F0683)


class File(NamedTuple):
    """One file: device and inode, which no other file gets while it is open; size in bytes; time of the last change.

    ``names`` is how many it has: hard links.
    """

    device: int
    inode: int
    size: int
    changed: int
    names: int

    @classmethod
    def at(cls, path: str) -> File | None:
        """Look at a path; None if nothing is there."""
        try:
            status = os.stat(path)  # noqa: PTH116 - done twice for each commit
        except (FileNotFoundError, NotADirectoryError):
            return None
        return cls.of(status)

    @classmethod
    def of(cls, status: os.stat_result) -> File:
        """Take what is needed from a stat."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_nlink)

    def is_same(self, other: File | None) -> bool:
        """Return whether another is the same file, whatever is in it."""
        return other is not None and (self.device, self.inode) == (other.device, other.inode)


@dataclass(slots=True)
class Files:
    """A store's database, its log (``-wal``) and its index (``-shm``), at one moment."""

    database: File | None
    log: File | None
    index: File | None

    @classmethod
    def at(cls, path: Path) -> Files:
        """Look at the files of the store at a path, as a program that opens it now would find them.

        SQLite puts log and index beside the file that a link names. Where that link leads to another place by now, the
        same database has another log there.
        """
        name = str(path)
        database = None
        try:
            status = os.lstat(name)
            if stat.S_ISLNK(status.st_mode):
                name = os.path.realpath(name)
                database = File.at(name)
            else:
                database = File.of(status)
        except (FileNotFoundError, NotADirectoryError):
            pass
        return cls(database, File.at(f"{name}-wal"), File.at(f"{name}-shm"))

    @property
    def are_gone(self) -> bool:
        """Whether none is there: they were removed, or moved, together."""
        return self.database is None and self.log is None and self.index is None

    def replaced_in(self, now: Files) -> str | None:
        """Return which of these files was removed or replaced by now, in words; None if none was.

        A log or an index that was not there before may have come since.
        """
        if now.database is None or not now.database.is_same(self.database):
            return "the file was removed" if now.database is None else "another file has taken its place"
        for name, former, current in (("log (-wal)", self.log, now.log), ("index (-shm)", self.index, now.index)):
            if former is not None and not former.is_same(current):
                return f"its {name} was {'removed' if current is None else 'replaced'}"
        return None

    def shrank_in(self, now: Files) -> bool:
        """Return whether one of them is smaller by now. SQLite may do that too: VACUUM, a checkpoint that truncates."""
        pairs = ((self.database, now.database), (self.log, now.log))
        return any(
            former is not None and current is not None and current.size < former.size for former, current in pairs
        )


class LogEnd(NamedTuple):
    """Where a log ends: after so many frames, if its header has these salts."""

    salts: bytes
    frames: int


class Log(NamedTuple):
    """The content of a log at one moment: its header, where its last committed frame ends, and that frame's header.

    ``pages`` are the numbers of the pages in all frames up to there, of 4 bytes each in the machine's order.
    """

    header: bytes
    end: int = _HEADER
    frame: bytes = b""
    pages: bytes = b""

    @property
    def frames(self) -> int:
        """How many frames there are up to the end."""
        return len(self.pages) // 4

    @classmethod
    def read(cls, real_path: str, before: Log | None, *, upto: LogEnd | None = None) -> Log | None:
        """Read the log of a store at a path without links, on from what was read before.

        Nothing new is read beyond ``upto``, where others may be writing; of a log with other salts, nothing at all.
        None if it does not begin as a log does, or no longer holds what was read before: a log that begins anew has
        another header.

        Raises:
            OSError: It is there and can't be opened, as where no more files may be open: that is no damage.
        """
        try:
            # A pipe in its place would have no end: not to be waited for, and no log.
            log = os.open(f"{real_path}-wal", os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
        except FileNotFoundError:
            return None
        try:
            header = os.pread(log, _HEADER, 0)
            if not _is_header(header):
                return None
            now = before if before is not None and before.header == header else cls(header)
            size = _FRAME_HEADER + int.from_bytes(header[8:12])
            if now.frame and os.pread(log, _FRAME_HEADER, now.end - size) != now.frame:
                return None
            if upto is None:
                return now._read_on(log, size, None)
            return now._read_on(log, size, upto.frames if upto.salts == header[16:24] else 0)
        except OSError:
            return None
        finally:
            os.close(log)

    def _read_on(self, log: int, size: int, most: int | None) -> Log:
        end, frame, offset = self.end, self.frame, self.end
        pages, committed = array("I"), 0
        for header in _frame_headers(log, offset, size, None if most is None else most - self.frames):
            if len(header) < _FRAME_HEADER or header[8:16] != self.header[16:24]:  # salts: it is older than the log's
                break
            offset += size
            pages.append(int.from_bytes(header[:4]))
            if header[4:8] != bytes(4):
                end, frame, committed = offset, header, len(pages)
        return self if end == self.end else Log(self.header, end, frame, self.pages + pages[:committed].tobytes())


def _frame_headers(log: int, offset: int, size: int, most: int | None) -> Iterator[bytes]:
    """Yield the headers of a log's frames from an offset on, so many at most, and what is there of the last one.

    Several frames are read at once: each reading gives up Python's lock and must win it back from the event loop.
    """
    while most is None or most > 0:
        count = _AT_ONCE if most is None else min(most, _AT_ONCE)
        data = os.pread(log, count * size, offset)
        for at in range(0, len(data), size):
            yield data[at : at + _FRAME_HEADER]
        if len(data) < count * size:
            return
        offset += len(data)
        most = None if most is None else most - count


def _is_header(header: bytes) -> bool:
    if len(header) < _HEADER:
        return False
    import struct

    fields = struct.unpack(">8I", header)
    words = struct.unpack(">6I" if fields[0] & 1 else "<6I", header[:24])
    first = second = 0
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return fields[0] in _MAGIC and fields[6:] == (first, second)
