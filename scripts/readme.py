"""Plays the command lines of README.md and compares what they print with what stands there.

A block that begins with ```console is a terminal: lines after `$ ` are typed, all others are what came of them. A
comment `<!-- scene: NAME -->` before a block sets a stage of its own (see SCENES); a block without one goes on where
the block before it ended. `python scripts/readme.py --write` puts the real output in.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from stage import ANSWERS, NEVER, Stage, in_a_hurry, local_time_is_utc, standing_still

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"(?:<!-- scene: (?P<scene>[^>]+?) -->\n+)?```console\n(?P<lines>.*?)```", re.DOTALL)


@contextmanager
def a_conversation() -> Iterator[Stage]:
    """A call whose two phones talk to each other, beside a running watch."""
    with standing_still() as stage, watching(stage):
        stage.type(f"callctl place {ANSWERS} --dial sip:agent@example.com")
        stage.simulator.advance(40)
        yield stage


@contextmanager
def calls_that_ring() -> Iterator[Stage]:
    """Two calls that nobody picks up."""
    with standing_still() as stage:
        for _ in range(2):
            stage.type(f"callctl place {NEVER} --say Hello --status-callback none")
            stage.simulator.advance(3)
        yield stage


@contextmanager
def watching(stage: Stage) -> Iterator[None]:
    """Run a watch in a process of its own."""
    command = [sys.executable, "-m", "callctl", "watch", "--port", "0", "--json"]
    with subprocess.Popen(
        command, env=stage.environ, cwd=stage.home, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as watch:
        if watch.stdout is None or not watch.stdout.readline():  # the first line says that it is ready
            raise RuntimeError("the watch did not start")
        try:
            yield
        finally:
            watch.terminate()
            watch.stdout.read()


SCENES: dict[str, Callable[[], AbstractContextManager[Stage]]] = {
    "nothing yet": standing_still,
    "in a hurry": in_a_hurry,
    "a conversation": a_conversation,
    "calls that ring": calls_that_ring,
}


def played(text: str) -> str:
    """Return a README in which each terminal shows what its command lines really print."""
    with local_time_is_utc(), ExitStack() as stages:
        stage = stages.enter_context(standing_still())

        def play(block: re.Match[str]) -> str:
            nonlocal stage
            if block["scene"]:
                stages.close()
                stage = stages.enter_context(SCENES[block["scene"]]())
            typed = [line for line in block["lines"].splitlines() if line.startswith("$ ")]
            shown = "".join(f"{line}\n{_ended(stage.type(line[2:]))}" for line in typed)
            return block[0].replace(block["lines"], shown)

        return BLOCK.sub(play, text)


def _ended(text: str) -> str:
    return text + "\n" if text else ""


def alike(text: str) -> str:
    """Return a text in which SIDs are numbered and times are gone, since those differ from run to run."""
    known: dict[str, str] = {}
    text = re.sub(r"\bCA[0-9a-f]{32}\b", lambda sid: known.setdefault(sid[0], f"CA#{len(known)}"), text)
    return re.sub(r"\b(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d\b", "12:00:00", text)


def main(*options: str) -> int:
    """Compare, or write with ``--write``; return the exit code."""
    text = README.read_text(encoding="utf-8")
    real = played(text)
    if "--write" in options:
        README.write_text(real, encoding="utf-8")
        return 0
    return 0 if alike(real) == alike(text) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
