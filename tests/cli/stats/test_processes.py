"""Each test runs in a process of its own: a process with threads, as that of the tests may be, is not copied."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest

SETUP = """
    import os, signal, sys, threading
    from callctl.cli.stats.processes import processors, share_out
    me = os.getpid()
"""


def run(script: str) -> str:
    command = [sys.executable, "-W", "error", "-c", dedent(SETUP) + dedent(script)]
    command = [sys.executable, "-W", "error", "-c", dedent(SETUP) + dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.stdout


def test_each_part_is_done_once_and_by_a_process_of_its_own() -> None:
    out = run("""
        parts = share_out(lambda number: (number, os.getpid()), parts=3)
        print([number for number, _ in parts], len({pid for _, pid in parts}), parts[0][1] == me)
    """)
    assert out == "[0, 1, 2] 3 True\n"


def test_much_comes_back() -> None:
    assert (
        run("print([len(part) for part in share_out(lambda _: 'x' * 10_000_000, parts=2)])") == "[10000000, 10000000]\n"
    )


@pytest.mark.parametrize("fault", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)", "1 / 0", "sys.exit(0)"])
def test_what_a_copy_fails_in_is_done_here(fault: str) -> None:
    out = run(f"""
        def work(number):
            if os.getpid() != me:
                {fault}
            return number, os.getpid() == me
        print(share_out(work, parts=2))
    """)
    assert out == "[(0, True), (1, True)]\n"


def test_an_error_is_raised_here_and_no_copy_is_left() -> None:
    out = run("""
        import time
        def work(number):
            if number:
                time.sleep(600)
            raise ValueError("no such store")
        try:
            share_out(work, parts=2)
        except ValueError as error:
            print(error)
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            print("alone")
    """)
    assert out == "no such store\nalone\n"


def test_without_another_process_all_is_done_here() -> None:
    out = run("""
        def refuse(*_):
            raise BlockingIOError(11, "no process is left")
        os.fork = refuse
        print(share_out(lambda number: (number, os.getpid() == me), parts=2))
    """)
    assert out == "[(0, True), (1, True)]\n"


def test_a_process_with_threads_is_not_copied() -> None:
    out = run("""
        print(1 <= processors() <= 4)
        done = threading.Event()
        threading.Thread(target=done.wait).start()
        print(processors())
        done.set()
    """)
    assert out == "True\n1\n"
