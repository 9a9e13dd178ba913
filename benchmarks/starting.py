"""How long callctl takes to start and to complete a SID, held against what it is built on."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hanging_up import environment
from measuring import Row, at_most, in_turns, run, seconds_of
from opening import make
from stub import ACCOUNT, TOKEN

from callctl.settings import Settings

TWO_COMMANDS = """
import typer

app = typer.Typer(help="An application with two commands.")


@app.command()
def place(to: str, from_: str = "") -> None:
    \"\"\"Place a call.\"\"\"


@app.command()
def hangup(sid: str) -> None:
    \"\"\"End a call.\"\"\"


app()
"""


def measure(*, quick: bool) -> Iterator[Row]:
    """Measure ``--version``, ``--help`` and a Tab that completes the SID of a live call."""
    rounds = 3 if quick else 41
    ours = [sys.executable, "-m", "callctl"]
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.py"
        small.write_text(TWO_COMMANDS)
        pairs = in_turns(
            lambda: run([*ours, "--version"]), lambda: run([sys.executable, "-c", "import typer"]), rounds=rounds
        )
        yield at_most(1.1, "`--version` / importing typer alone", seconds_of(pairs))
        pairs = in_turns(
            lambda: run([*ours, "--help"]), lambda: run([sys.executable, str(small), "--help"]), rounds=rounds
        )
        yield at_most(1.2, "`--help` / a two-command Typer app", seconds_of(pairs))
        store = Path(folder) / "events.db"
        url = "http://127.0.0.1:9"
        make(store, 1000, world=Settings(account_sid=ACCOUNT, auth_token=TOKEN, api_url=url).world)
        callctl = str(Path(sys.executable).parent / "callctl")
        words = {"_CALLCTL_COMPLETE": "complete_bash", "COMP_WORDS": "callctl hangup CA", "COMP_CWORD": "2"}
        env = environment(url, home=folder) | words | {"CALLCTL_STORE": str(store)}
        if b"CA" not in subprocess.run([callctl], env=env, capture_output=True, check=True).stdout:
            raise RuntimeError("no SID was completed")
        pairs = in_turns(
            lambda: run([callctl], env=env),
            lambda: run([sys.executable, "-c", "import typer"], env=os.environ),
            rounds=rounds,
        )
        yield at_most(1.5, "a Tab that completes a SID / importing typer alone", seconds_of(pairs))
