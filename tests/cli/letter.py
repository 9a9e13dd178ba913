"""A stage for commands whose output is held to the letter, and the files that it is held to.

``CALLCTL_WRITE_GOLDEN=1 pytest tests/cli/test_golden.py tests/cli/test_watch_golden.py`` writes the files anew; look at
what has changed in them.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from cli.still import NOON, Still
from cli.stored import store_of, tell
from running import Outcome, Streams

GOLDEN = Path(__file__).parent / "golden"
FORMS = ("terminal", "no-color", "pipe", "json")
ANSWERS, BUSY, RINGS = "+12025550100", "+12025550102", "+12025550103"


@dataclass
class Stage:
    """A world at noon in which nothing moves, the command line in one form, and names for the SIDs in it."""

    still: Still
    home: Path
    form: str
    columns: int = 80
    sids: list[str] = field(default_factory=list)

    def __call__(self, *args: str, stdin: str = "", streams: Streams | None = None) -> Outcome:
        more = ["--json"] if self.form == "json" else []
        return self.still(
            *args,
            *more,
            terminal=self.is_terminal,
            columns=self.columns,
            stdin=stdin,
            streams=streams,
            now=lambda: self.still.calendar.now,
            env={"NO_COLOR": "1"} if self.form == "no-color" else {},
        )

    @property
    def is_terminal(self) -> bool:
        """Whether stdout is a terminal."""
        return self.form in ("terminal", "no-color")

    def call(self, to: str = ANSWERS, *what: str, after: float = 0.0) -> str:
        """Place a call, let simulated seconds pass, and remember its SID."""
        sid = self.still.place(to, *what)
        self.still.simulator.advance(after)
        self.sids.append(sid)
        return sid

    def dialled(self) -> tuple[str, str]:
        """Place a call that talks to a SIP phone; return the SIDs of parent and child."""
        parent = self.call(ANSWERS, "--dial", "sip:agent@example.com", after=5)
        child = self.still.sids("--parent", parent)[0]
        self.sids.append(child)
        return parent, child

    def tell(self, sid: str, status: str, *, seconds: int, **fields: str) -> None:
        """Put a callback's event into the local store, as a watch would."""
        with store_of(self.home, self.still.simulator) as store:
            tell(store, sid, status, at=NOON + timedelta(seconds=seconds), **fields)

    def told(self, outcome: Outcome) -> str:
        """Return what was written and said, without what is another with each run."""
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
        return text.replace(self.still.simulator.url, "http://127.0.0.1:9876")


def hold_to_the_letter(told: str, *, name: str, form: str) -> None:
    """See that a text is that of the file for a command in one form."""
    golden = GOLDEN / f"{name}.{form}.txt"
    if os.environ.get("CALLCTL_WRITE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(told)
    assert told == golden.read_text()
