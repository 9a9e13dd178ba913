"""A list of 20,000 calls, held against the library's own stream; and its memory, against that of 1,000 calls."""

import sys
import tempfile
from pathlib import Path

from hanging_up import environment
from measuring import Cost, Ratio, in_turns, run
from stub import PAGE, server

CALLS = 20_000
SCRIPT = """
import os
from twilio.rest import Client
client = Client(os.environ["TWILIO_ACCOUNT_SID"], os.environ["TWILIO_AUTH_TOKEN"])
client.api.base_url = os.environ["CALLCTL_API_URL"]
for call in client.calls.stream(page_size=1000): print(call.sid, call.status, call.start_time)
"""
OURS = [sys.executable, "-m", "callctl", "list", "--all", "--json"]


def measure(*, rounds: int = 3) -> list[Ratio]:
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

            long, stream = in_turns(ours, theirs, rounds=rounds)
        with server(total=PAGE, status="completed") as url:
            short = run(OURS, env=environment(url, home=home))
    return [
        Ratio(f"list --all --json of {CALLS:,} calls, to the library's stream", long.seconds, stream.seconds, "s", 1.3),
        Ratio(f"its memory, to that of {PAGE:,} calls", long.megabytes, short.megabytes, "MB", 1.3),
    ]
