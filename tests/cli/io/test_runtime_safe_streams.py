"""No control character reaches the terminal, from any writer: warnings, logging, tracebacks, Typer, Python itself."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from processes import LIMIT, environment

HOSTILE = "a\x1b[2J\x1b]0;t\x07\x9b2J\x7f\u202e\u200b\ue000\x85\u2028b\rc"
BEGIN = f"""
import asyncio, logging, sys, threading, warnings
HOSTILE = {HOSTILE!r}
import callctl.cli.main
from callctl.cli.io.runtime import Runtime
def fail(*_args, **_options):
    raise ValueError(HOSTILE)
"""
WRITTEN = """
runtime = Runtime.of_process()
async def late():
    asyncio.get_running_loop().call_exception_handler({"message": HOSTILE, "exception": ValueError(HOSTILE)})
asyncio.run(late())
warnings.warn(HOSTILE)
logging.getLogger("anybody").warning(HOSTILE)
thread = threading.Thread(target=fail)
thread.start()
thread.join()
print(HOSTILE)
print(HOSTILE, file=sys.stderr)
sys.stderr.writelines([HOSTILE])
runtime.write(HOSTILE)
runtime.console().print(HOSTILE)
class Odd:
    def __del__(self):
        fail()
del Odd
fail()
"""
FAULT = """
callctl.cli.main._command_line = lambda: fail
from callctl.__main__ import main
main()
"""


def on_a_terminal(code: str, *args: str, home: Path) -> str:
    """Run a program on a terminal of its own; return all that it wrote there."""
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-c", BEGIN + code, *args],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(home, {"PYTHONWARNINGS": "default"}),
    )
    os.close(theirs)
    output = b""
    try:
        while piece := os.read(ours, 65536):
            output += piece
    except OSError:  # the other end is closed (Linux)
        pass
    finally:
        running.wait(timeout=LIMIT)
        os.close(ours)
    return output.decode("utf-8", "strict").replace("\r\n", "\n")


def test_whatever_python_writes_by_itself(home: Path) -> None:
    output = on_a_terminal(WRITTEN, home=home)
    assert output.count("ValueError: a") >= 3  # asyncio's, the thread's and the last
    assert output.count("�2J") + output.count("a��") >= 8
    assert not set(output) & set(HOSTILE) - set("abct0J;2][")


@pytest.mark.parametrize("debug", [(), ("--debug",)])
@pytest.mark.parametrize("json", [(), ("--json",)])
def test_a_fault_of_callctls_own(home: Path, debug: tuple[str, ...], json: tuple[str, ...]) -> None:
    output = on_a_terminal(FAULT, "list", *debug, *json, home=home)
    assert ("Traceback" in output) == bool(debug)
    assert "ValueError: a" in output
    assert not set(output) & set(HOSTILE) - set("abct0J;2][")


@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_a_fault_shows_no_password_of_a_url(home: Path, debug: tuple[str, ...]) -> None:
    fault = FAULT.replace("lambda: fail", "lambda: lambda *_, **__: int('http://ann:fake-word@example.com')")
    output = on_a_terminal(fault, "list", *debug, home=home)
    assert "ValueError: invalid literal" in output
    assert "'http://ann:***@example.com'" in output
    assert "fake-word" not in output


@pytest.mark.parametrize("args", [("--help",), ("place", "--help"), ("help", "hangup")])
def test_help_is_painted_all_the_same(home: Path, args: tuple[str, ...]) -> None:
    output = on_a_terminal("from callctl.__main__ import main; main()", *args, home=home)
    assert "Usage:" in output
    assert "\x1b[1m" in output
    assert "�" not in output


@pytest.mark.parametrize("args", [("list", "--" + HOSTILE), ("li" + HOSTILE,), ("help", HOSTILE), ("place", HOSTILE)])
def test_what_was_typed(home: Path, args: tuple[str, ...]) -> None:
    output = on_a_terminal("from callctl.__main__ import main; main()", *args, home=home)
    assert "callctl: error: " in output
    assert not set(output) & set(HOSTILE) - set("abct0J;2][")
