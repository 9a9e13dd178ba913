"""How long callctl takes to start, held against what it is built on."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from measuring import Row, at_most, in_turns, run

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
    """Measure ``--version`` and ``--help``."""
    rounds = 3 if quick else 15
    ours = [sys.executable, "-m", "callctl"]
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.py"
        small.write_text(TWO_COMMANDS)
        version, typer = in_turns(
            lambda: run([*ours, "--version"]), lambda: run([sys.executable, "-c", "import typer"]), rounds=rounds
        )
        yield at_most(1.4, "`--version` / importing typer alone", ours=version.seconds, theirs=typer.seconds)
        page, its = in_turns(
            lambda: run([*ours, "--help"]), lambda: run([sys.executable, str(small), "--help"]), rounds=rounds
        )
        yield at_most(1.2, "`--help` / a two-command Typer app", ours=page.seconds, theirs=its.seconds)
