"""The views for a pipe or a file, where what they write to is a full disk for a while."""

import errno
import io
import json
from pathlib import Path

from legs import callback

from callctl.calls.board import Board
from callctl.cli.io.runtime import Runtime
from callctl.cli.watch.banner import json_lines_view
from callctl.views.log import LogView
from callctl.views.view import WatchState

HEADER = WatchState(title="watch", listening="x", callback_url="", api_url=None)


class Disk(io.StringIO):
    """A stream to a disk that may be full."""

    is_full = False

    def flush(self) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_records_that_were_left_out_are_counted_in_a_record_once_there_is_room(home: Path) -> None:
    disk = Disk()
    runtime = Runtime({}, home, io.StringIO(), io.StringIO(), io.StringIO())
    lines = json_lines_view(runtime, disk, api_url="http://127.0.0.1:1")
    disk.is_full = True
    for number in range(3):
        lines.event(callback(f"CA{number:032}", "ringing", second=1, sequence=0), None)
    disk.is_full = False
    LogView(lines).refresh(Board().snapshot(), HEADER)  # with no further record
    first, trouble = (json.loads(line) for line in disk.getvalue().splitlines())
    assert first["call_sid"] == f"CA{0:032}"  # begun before it was known
    assert (trouble["type"], trouble["cause"], trouble["api_url"]) == ("trouble", "output", "http://127.0.0.1:1")
    assert trouble["text"] == "2 lines were left out: can't write: No space left on device; the store has the events"
