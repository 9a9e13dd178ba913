"""The index of an open store's log: whether the ``-shm`` still says what the log holds.

All processes that have a store open map its ``-shm`` into memory and believe what is there: which frames of the log
count, and where the newest content of each page lies. Writing into it makes them read old pages, and write over
frames that count. What belongs there follows from the log ("WAL-mode File Format", section 2), so it can be compared;
and SQLite makes it anew from the log where its header is not valid.

The file is opened once, and not closed while a connection of this process may use it: that would drop its locks.
"""

from __future__ import annotations

import os
import struct
import threading
from array import array

from callctl.store.sqlite.files import Log, LogEnd

_COPY, _INFO = 48, 136  # bytes: one of the two copies of the header; both, and what is known of checkpoints
_BLOCK, _TABLE = 32768, 16384  # bytes of a block, the second half of which is its hash table
_PAGES, _SLOTS, _FACTOR = 4096, 8192, 383  # page numbers in a block, slots in its hash table
_MISSING = _INFO // 4  # page numbers that the first block has less
_VERSION = 3007000

_opening = threading.Lock()


class _Handle:
    """A file handle on an index, shared by all connections of this process to that store."""

    def __init__(self, handle: int) -> None:
        self.handle, self.users = handle, 0


_handles: dict[tuple[int, int], _Handle] = {}  # by device and inode


class LogIndex:
    """The index of one store's log. Only for one thread at a time."""

    def __init__(self, real_path: str) -> None:
        """Open the index of the store at a path without links, while a connection has it open.

        Raises:
            OSError: It is not there, or can't be opened.
        """
        with _opening:
            _close_unused()
            status = os.stat(f"{real_path}-shm")  # noqa: PTH116 - beside other functions of os
            if (status.st_dev, status.st_ino) not in _handles:
                handle = os.open(f"{real_path}-shm", os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
                status = os.fstat(handle)
                _handles.setdefault((status.st_dev, status.st_ino), _Handle(handle))
            self._shared = _handles[status.st_dev, status.st_ino]
            self._shared.users += 1
            self._handle = self._shared.handle
        self._pages = b""
        self._tables: list[array[int]] = []  # the hash tables for these pages
        self._slots: dict[int, int] = {}  # of each page in the last table, the last of its slots

    def close(self) -> None:
        """Close it, after the connection."""
        with _opening:
            self._shared.users -= 1
            _close_unused()

    @property
    def end(self) -> LogEnd:
        """Where the log ends, by the index."""
        header = os.pread(self._handle, _INFO, 0).ljust(_INFO, b"\0")
        return LogEnd(header[32:40], *struct.unpack_from("=I", header, 16))

    def matches(self, log: Log | None) -> bool:
        """Return whether it describes a log; None stands for a log that is empty or not there."""
        found = self._header()
        if found is None:
            return False
        (frames,) = struct.unpack_from("=I", found, 16)
        if log is None or not log.frames:
            return not frames
        if not frames:  # a checkpoint has begun the log anew, which is seen in the log with the next commit
            before, now = log.header[16:20], found[32:36]
            return (int.from_bytes(before) + 1) & 0xFFFFFFFF == int.from_bytes(now)
        return found[12:40] == _end_of(log) and self._has_pages(log)

    def backfilled(self, log: Log | None) -> int:
        """Return how many frames of a log are in the database, by the index: all, where it begins the log anew."""
        header = os.pread(self._handle, _INFO, 0).ljust(_INFO, b"\0")
        (frames,), (backfilled,) = struct.unpack_from("=I", header, 16), struct.unpack_from("=I", header, 2 * _COPY)
        return int(backfilled) if frames or log is None else log.frames

    def continues(self, log: Log) -> bool:
        """Return whether it describes this log as it was, and maybe frames that came after."""
        found = self._header()
        if found is None or found[32:40] != log.header[16:24]:
            return False
        return bool(struct.unpack_from("=I", found, 16)[0] >= log.frames) and self._has_pages(log)

    def _header(self) -> bytes | None:
        """Return the header, if it is valid to SQLite."""
        header = os.pread(self._handle, _INFO, 0)
        if len(header) < _INFO or header[:_COPY] != header[_COPY : 2 * _COPY]:
            return None
        version, is_initialized, frames = struct.unpack_from("=I8xBxxxI", header)
        (backfilled,) = struct.unpack_from("=I", header, 2 * _COPY)
        if (
            version != _VERSION
            or is_initialized != 1
            or header[40:_COPY] != checksum(header[:40])
            or backfilled > frames
        ):
            return None
        return header

    def invalidate(self) -> None:
        """Have SQLite rebuild it, in the process that uses it next."""
        os.pwrite(self._handle, bytes(2 * _COPY), 0)

    def _has_pages(self, log: Log) -> bool:
        self._extend(log.pages)
        frames = log.frames
        blocks = os.pread(self._handle, len(self._tables) * _BLOCK, 0)
        for number, table in enumerate(self._tables):
            start = number * _PAGES - _MISSING if number else 0
            pages = log.pages[4 * start : 4 * (number * _PAGES + _PAGES - _MISSING)]
            at = number * _BLOCK + (0 if number else _INFO)
            if blocks[at : at + len(pages)] != pages:
                return False
            at = number * _BLOCK + _TABLE
            if not _is_table(blocks[at : at + 2 * _SLOTS], table, frames - start):
                return False
        return True

    def _extend(self, pages: bytes) -> None:
        """Bring the hash tables up to date, as SQLite does it when it writes a frame: in the first slot that is free.

        A page that is written again and again has a row of slots, at the end of which the next one is looked for.
        """
        if not pages.startswith(self._pages):  # the log was begun anew
            self._pages, self._tables = b"", []
        done = len(self._pages) // 4
        for number, page in enumerate(array("I", pages[len(self._pages) :]), start=done + _MISSING):
            block, position = divmod(number, _PAGES)
            if block == len(self._tables):
                self._tables.append(array("H", bytes(2 * _SLOTS)))
                self._slots = {}
            table, slot = self._tables[block], self._slots.get(page, page * _FACTOR % _SLOTS)
            while table[slot]:
                slot = (slot + 1) % _SLOTS
            self._slots[page] = slot
            table[slot] = position + 1 - (0 if block else _MISSING)
        self._pages = pages


def _close_unused() -> None:
    """Close the handles on files that no connection has open: the last one of all processes removes the file."""
    for key, shared in list(_handles.items()):
        if not shared.users and not os.fstat(shared.handle).st_nlink:
            os.close(shared.handle)
            del _handles[key]


def _end_of(log: Log) -> bytes:
    """Return what the header of an index says from byte 12 to 40, where all of a log counts."""
    size = int.from_bytes(log.header[8:12])
    committed = struct.unpack(">I8xII", log.frame[4:24])
    is_big = log.header[3] & 1
    return struct.pack("=BBHIIII", 1, is_big, (size & 0xFF00) | size >> 16, log.frames, *committed) + log.header[16:24]


def checksum(data: bytes) -> bytes:
    """Return the checksum of a header of an index: in the byte order of the machine."""
    words = struct.unpack(f"={len(data) // 4}I", data)
    first = second = 0
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return struct.pack("=II", first, second)


def _is_table(block: bytes, table: array[int], count: int) -> bool:
    """Compare hash tables. An entry for a frame above ``count``, which does not count yet or any more, is ignored."""
    if block == table.tobytes():
        return True
    if len(block) < 2 * _SLOTS:
        return False
    pairs = zip(array("H", block), table, strict=True)
    return all(there == wanted or (not wanted and there > count) for there, wanted in pairs)
