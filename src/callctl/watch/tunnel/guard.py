"""The guard of a tunnel command: it ends the command, with all that it started, when the watch is gone.

A program of its own, run by path, which imports nothing of callctl: a watch that is killed can tidy up nothing. On its
standard input it has a socket to the watch. It reports there whether the command runs, and then waits until the other
end is closed, by the watch or by its death.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

# Seconds that the processes have to end by themselves, and between two checks whether they have.
GRACE = 0.5
CHECK_INTERVAL = 0.01


def main(words: list[str]) -> int:
    """Run a command in a process group of its own until it or the watch ends; return its exit code as shells do."""
    watch = socket.socket(fileno=0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, lambda *_: _hang_up(watch))
    try:
        command = subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        _report(watch, error.strerror or str(error))
        return 127
    _report(watch, "")
    threading.Thread(target=_end_with, args=(watch, command.pid), daemon=True).start()
    code = command.wait()
    _end(command.pid)  # what it left running would go on for ever
    return code if code >= 0 else 128 - code


def _report(watch: socket.socket, trouble: str) -> None:
    with suppress(OSError):  # gone already, which is found out next
        watch.sendall(f"{trouble}\n".encode())


def _hang_up(watch: socket.socket) -> None:
    with suppress(OSError):
        watch.shutdown(socket.SHUT_RDWR)


def _end_with(watch: socket.socket, group: int) -> None:
    """Wait until the other end is closed, and end the group."""
    with suppress(OSError):
        while watch.recv(1):
            pass
    _end(group)


def _end(group: int) -> None:
    """Send a process group SIGTERM, and kill what has not ended in time."""
    deadline = time.monotonic() + GRACE
    # macOS answers EPERM for a group of which only zombies are left.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGTERM)
        while time.monotonic() < deadline:
            time.sleep(CHECK_INTERVAL)
            os.killpg(group, 0)
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
