"""How long callctl takes to start, held against what it is built on."""

import sys
import tempfile
from pathlib import Path

from measuring import Ratio, in_turns, run

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


def measure(*, rounds: int = 15) -> list[Ratio]:
    """Measure ``--version`` and ``--help``."""
    ours = [sys.executable, "-m", "callctl"]
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.py"
        small.write_text(TWO_COMMANDS)
        version = in_turns(
            lambda: run([*ours, "--version"]), lambda: run([sys.executable, "-c", "import typer"]), rounds=rounds
        )
        overview = in_turns(
            lambda: run([*ours, "--help"]), lambda: run([sys.executable, str(small), "--help"]), rounds=rounds
        )
    return [
        Ratio("--version, to importing typer", version[0].seconds, version[1].seconds, "s", 1.4),
        Ratio(
            "--help, to that of a Typer application of two commands", overview[0].seconds, overview[1].seconds, "s", 1.2
        ),
    ]
