"""Appends events from several threads and prints each key once it is acknowledged; run as a program, to be killed."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from callctl.calls.event import CallEvent
from callctl.store.sqlite.store import SqliteStore


def append_without_end(store: SqliteStore, thread: int) -> None:
    for number in itertools.count():
        pairs = [("CallSid", f"CA{thread}-{number // 4}"), ("CallStatus", "ringing"), ("Number", str(number))]
        event = CallEvent.from_form(pairs, received_at=datetime.now(UTC), world="w", verified=True)
        store.append(event)
        os.write(1, f"{event.key}\n".encode())  # one write: a kill can't leave half a line of two threads mixed


if __name__ == "__main__":
    store = SqliteStore.open_for_watch(Path(sys.argv[1]), world="w")
    for thread in range(8):
        threading.Thread(target=append_without_end, args=(store, thread)).start()
