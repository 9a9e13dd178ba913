"""Whether the process of a record is there, or is stopped, as far as that can be seen from here.

The folder of the records may be mounted in containers, where process ids are others: a record says of which processes
its is one.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from callctl.watch.registry.record import WatchRecord

# Where Linux lists processes; on other systems ``ps`` is run.
PROC = Path("/proc")
_PS_LIMIT = 1.0  # seconds


def is_here(record: WatchRecord) -> bool:
    """Return whether a record is of this machine."""
    return record.host in ("", socket.gethostname())


def process_space() -> str:
    """Return what names the processes that this one sees by their ids: those of this machine, or of this container.

    It is empty where the system does not say.
    """
    try:
        boot = (PROC / "sys" / "kernel" / "random" / "boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {(PROC / 'self' / 'ns' / 'pid').readlink()}"
    except (OSError, ValueError):
        return ""


def is_in_own_space(record: WatchRecord, *, space: str | None = None) -> bool:
    """Return whether the process id of a record can be judged from here.

    ``space`` is what ``process_space`` says, where many records are judged.
    """
    space = process_space() if space is None else space
    return record.processes == space and (bool(space) or is_here(record))


def is_gone(record: WatchRecord, *, space: str | None = None) -> bool:
    """Return whether the process of a record is known to be gone; of one in another container that is not known.

    ``space`` is as in ``is_in_own_space``.
    """
    return is_in_own_space(record, space=space) and not _exists(record.pid)


def has_stopped_process(record: WatchRecord) -> bool:
    """Return whether the process of a record can be seen from here and is stopped."""
    return is_in_own_space(record) and is_stopped(record.pid)


def is_stopped(pid: object) -> bool:
    """Return whether a process is stopped, as by Ctrl-Z; in doubt it is not."""
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        # Where there is /proc: the state follows the name, which may itself have brackets and blanks.
        state = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        state = "" if (PROC / "self" / "stat").exists() else _state_by_ps(pid)
    return state[:1] in ("T", "t")


def _state_by_ps(pid: int) -> str:
    import subprocess

    try:
        listed = subprocess.run(
            ["/bin/ps", "-o", "state=", "-p", str(pid)],
            capture_output=True,
            text=True,
            timeout=_PS_LIMIT,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return listed.stdout.strip()


def stopped_in_words(record: WatchRecord) -> str:
    """Say that a watch is stopped."""
    return (
        f"the {record.noun} (process {record.pid}) is stopped, as by Ctrl-Z: it receives nothing until it is continued"
    )


def resume_hint(record: WatchRecord) -> str:
    """Say what lets a watch that is stopped go on."""
    return f"`fg` in its terminal, or `kill -CONT {record.pid}`, continues it"


def _exists(pid: object) -> bool:
    """Return whether a process is there; in doubt it is."""
    try:
        os.kill(pid if isinstance(pid, int) and pid > 0 else os.getpid(), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
