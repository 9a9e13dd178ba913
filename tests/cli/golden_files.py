"""Commands whose output is compared with golden files.

``CALLCTL_WRITE_GOLDEN=1 pytest tests/cli/test_commands_golden.py tests/cli/watch/test_command_golden.py`` writes the
files anew; look at what has changed in them.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from cli.frozen import NOON, Frozen
from cli.local_store import add_callback, store_of
from running import Outcome, Streams

GOLDEN = Path(__file__).parent / "golden"
FORMS = ("terminal", "no-color", "pipe", "json")
ANSWERS, BUSY, RINGS = "+12025550100", "+12025550102", "+12025550103"


@dataclass
class GoldenRun:
    """The command line in one form, over a simulator that is frozen at noon; ``sids`` are replaced in the output."""

    frozen: Frozen
    home: Path
    form: str
    columns: int = 80
    sids: list[str] = field(default_factory=list)

    def __call__(self, *args: str, stdin: str = "", streams: Streams | None = None) -> Outcome:
        more = ["--json"] if self.form == "json" else []
        return self.frozen(
            *args,
            *more,
            terminal=self.is_terminal,
            columns=self.columns,
            stdin=stdin,
            streams=streams,
            now=lambda: self.frozen.calendar.now,
            env={"NO_COLOR": "1"} if self.form == "no-color" else {},
        )

    @property
    def is_terminal(self) -> bool:
        """Whether stdout is a terminal."""
        return self.form in ("terminal", "no-color")

    def call(self, to: str = ANSWERS, *what: str, after: float = 0.0) -> str:
        """Place a call, let simulated seconds pass, and remember its SID."""
        sid = self.frozen.place(to, *what)
        self.frozen.simulator.advance(after)
        self.sids.append(sid)
        return sid

    def dialled(self) -> tuple[str, str]:
        """Place a call that talks to a SIP phone; return the SIDs of parent and child."""
        parent = self.call(ANSWERS, "--dial", "sip:agent@example.com", after=5)
        child = self.frozen.sids("--parent", parent)[0]
        self.sids.append(child)
        return parent, child

    def add_callback(self, sid: str, status: str, *, seconds: int, **fields: str) -> None:
        """Put a callback's event into the local store, as a watch would."""
        with store_of(self.home, self.frozen.simulator) as store:
            add_callback(store, sid, status, at=NOON + timedelta(seconds=seconds), **fields)

    def transcript(self, outcome: Outcome) -> str:
        """Return stdout and stderr, without what differs from run to run."""
        err = "".join(
            line for line in outcome.err.splitlines(keepends=True) if not line.startswith("callctl: the API is")
        )
        text = f"{outcome.out}--- stderr, exit code {outcome.code}\n{err}".replace("\x1b", "␛")
        for number, sid in enumerate(self.sids, 1):
            text = text.replace(sid, f"CA{number:032}")
        # What is left is the SID of the call that the command itself placed.
        text = re.sub(r"\bCA(?!0{20})[0-9a-f]{32}\b", f"CA{99:032}", text)
        # Of a resource's dozen addresses the commands use none.
        text = re.sub(r'"subresource_uris": \{[^}]*\}', '"subresource_uris": {}', text)
        text = re.sub(r'"seconds": [0-9.]+', '"seconds": 0.0', re.sub(r"\bRQ[0-9a-f]{32}\b", "RQ" + "0" * 32, text))
        return text.replace(self.frozen.simulator.url, "http://127.0.0.1:9876")


def check_golden(transcript: str, *, name: str, form: str) -> None:
    """Compare a text with the golden file of a command in one form."""
    golden = GOLDEN / f"{name}.{form}.txt"
    if os.environ.get("CALLCTL_WRITE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(transcript)
    assert transcript == golden.read_text()
