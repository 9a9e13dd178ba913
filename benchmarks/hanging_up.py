"""One hang-up, and two hundred, held against a script of five lines with Twilio's library."""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from measuring import Cost, Row, as_fast, at_most, in_turns, run, seconds_of
from stub import ACCOUNT, TOKEN, server, sid

SCRIPT = """
import os, sys
from twilio.rest import Client
client = Client(os.environ["TWILIO_ACCOUNT_SID"], os.environ["TWILIO_AUTH_TOKEN"])
client.api.base_url = os.environ["CALLCTL_API_URL"]
for sid in sys.argv[1:]: print(sid, client.calls(sid).update(status="completed").status)
"""
MANY = 200
LATENCY = 0.1  # seconds


def environment(url: str, *, home: str) -> dict[str, str]:
    """Return an environment in which both use the server, and nothing of the developer's own settings counts."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": home,
        "TWILIO_ACCOUNT_SID": ACCOUNT,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "CALLCTL_API_URL": url,
    }


def measure(*, quick: bool) -> Iterator[Row]:
    """Measure one hang-up at once, and many at a server that takes its time."""
    with tempfile.TemporaryDirectory() as home:
        script = Path(home) / "script.py"
        script.write_text(SCRIPT)
        with server(total=1, status="in-progress") as url:
            ours, theirs = (partial(_run, environment(url, home=home), command) for command in _commands(script))
            pairs = in_turns(partial(ours, [sid(1)]), partial(theirs, [sid(1)]), rounds=3 if quick else 31)
        yield at_most(1.1, "one hang-up / a five-line script with the SDK", seconds_of(pairs))
        with server(total=MANY, status="in-progress", latency=LATENCY) as url:
            sids = [sid(number) for number in range(1, MANY + 1)]
            ours, theirs = (partial(_run, environment(url, home=home), command) for command in _commands(script))
            loop = theirs(sids).seconds  # once: nearly all of it is waiting for the server
            rounds = 1 if quick else 15
            named = [(ours(sids).seconds, loop) for _ in range(rounds)]
            what = f"{MANY} hang-ups at {LATENCY * 1000:.0f} ms latency, named / that script's loop"
            yield as_fast(18, what, named)
            everything = ["--all", "--yes", "--max", str(MANY)]
            yield as_fast(15, "the same with `--all`", [(ours(everything).seconds, loop) for _ in range(rounds)])


def _commands(script: Path) -> tuple[list[str], list[str]]:
    return [sys.executable, "-m", "callctl", "hangup"], [sys.executable, str(script)]


def _run(env: dict[str, str], command: Sequence[str], arguments: Sequence[str]) -> Cost:
    return run([*command, *arguments], env=env)
