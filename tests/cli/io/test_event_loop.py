"""What an event loop logs is said in one line, without a traceback."""

from __future__ import annotations

import asyncio
import errno
import io
import os
from pathlib import Path

import pytest

from callctl.cli.io.event_loop import run_loop
from callctl.cli.io.runtime import Runtime

FULL = OSError(errno.EMFILE, os.strerror(errno.EMFILE))


async def failing(error: Exception) -> int:
    context = {"message": "Fatal read error on socket transport", "exception": error, "protocol": object()}
    for _ in range(2):
        asyncio.get_running_loop().call_exception_handler(context)
    return 7


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FULL, "no more connections can be accepted: Too many open files; `ulimit -n` sets the limit"),
        (MemoryError(), "Fatal read error on socket transport: MemoryError"),
    ],
)
def test_what_the_loop_logs_is_one_line_once(error: Exception, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    err = io.StringIO()
    runtime = Runtime({}, Path(), io.StringIO(), io.StringIO(), err)
    assert run_loop(runtime, failing(error)) == 7
    assert err.getvalue() == f"callctl: warning: {said}\n"
    assert capfd.readouterr().err == ""
    runtime.debug = True
    run_loop(runtime, failing(error))
    assert f"{type(error).__name__}" in err.getvalue().partition("\n")[2]
