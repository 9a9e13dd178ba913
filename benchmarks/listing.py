"""A list of 20,000 calls, held against the library's own stream, its memory, and the pages of twenty calls."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hanging_up import environment
from measuring import Cost, Row, at_most, holds_at_most, in_turns, memory_of, run, seconds_of
from stub import PAGE, server, sid

CALLS = 20_000
SHOWN = 20
LATENCY = 0.1
SCRIPT = """
import os
from twilio.rest import Client
client = Client(os.environ["TWILIO_ACCOUNT_SID"], os.environ["TWILIO_AUTH_TOKEN"])
client.api.base_url = os.environ["CALLCTL_API_URL"]
for call in client.calls.stream(page_size=1000): print(call.sid, call.status, call.start_time)
"""
OURS = [sys.executable, "-m", "callctl", "list", "--all", "--json"]
SHOW = [sys.executable, "-m", "callctl", "show"]


def measure(*, quick: bool) -> Iterator[Row]:
    """Measure time and memory."""
    with tempfile.TemporaryDirectory() as home:
        script = Path(home) / "script.py"
        script.write_text(SCRIPT)
        with server(total=CALLS, status="completed") as url:
            env = environment(url, home=home)

            def ours() -> Cost:
                return run(OURS, env=env)

            def theirs() -> Cost:
                return run([sys.executable, str(script)], env=env)

            pairs = in_turns(ours, theirs, rounds=1 if quick else 25)
        yield at_most(1.1, f"`list --all --json` of {CALLS:,} calls / the SDK's own stream", seconds_of(pairs))
        with server(total=PAGE, status="completed") as url:
            short = run(OURS, env=environment(url, home=home))
        what = f"its peak memory / that of {PAGE:,} calls"
        yield holds_at_most(1.3, what, ours=memory_of(long for long, _ in pairs), theirs=short.megabytes)
        with server(total=SHOWN, status="completed", latency=LATENCY) as url:
            env = environment(url, home=home)

            def show(count: int) -> Cost:
                return run([*SHOW, *(sid(number) for number in range(1, count + 1))], env=env)

            pairs = in_turns(lambda: show(SHOWN), lambda: show(1), rounds=1 if quick else 25)
        yield at_most(1.5, f"`show` of {SHOWN} calls at {LATENCY * 1000:g} ms latency / of one", seconds_of(pairs))
