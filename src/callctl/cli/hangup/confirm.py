"""Asking before many calls are changed, and the flags that stand for an answer where nobody can be asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from callctl.calls.call import Call
from callctl.cli.io.results import calls
from callctl.cli.io.runtime import Runtime
from callctl.errors import CallctlError, UsageError


@dataclass(frozen=True, slots=True)
class Consent:
    """What was agreed to on the command line: ``--yes``, and ``--max`` as ``limit``."""

    yes: bool
    limit: int | None

    def check_flags(self, runtime: Runtime) -> None:
        """Make sure, before anything is asked for, that there is a way to agree.

        Raises:
            UsageError: Nobody can be asked, and a flag is missing.
        """
        if runtime.may_ask or (self.yes and self.limit is not None):
            return
        raise UsageError(
            "there is no terminal to ask at, and --all may end many calls",
            hint="give --yes and --max N: with more than N matches nothing is ended; --dry-run shows what matches",
        )

    def check_stdin(self, count: int) -> None:
        """Make sure that calls named on stdin are all meant: a list may have come from anywhere.

        Raises:
            UsageError: A flag is missing, or there are more than was agreed to.
        """
        if not self.yes or self.limit is None:
            raise UsageError(
                f"{calls(count)} on stdin, and nobody can be asked whether they are meant",
                hint="give --yes and --max N: with more than N nothing is ended",
            )
        self.check_count(count, which="on stdin")

    def check_count(self, count: int, *, which: str) -> None:
        """Make sure that there are no more calls than was agreed to; ``which`` says what they are, after their number.

        Raises:
            UsageError: There are.
        """
        if self.limit is not None and count > self.limit:
            raise UsageError(
                f"{calls(count)} {which}, more than --max {self.limit}: nothing was ended",
                hint="--dry-run shows them; give a larger --max if they are all meant",
            )

    def ask(self, runtime: Runtime, matching: Sequence[Call], *, timed: bool = False) -> None:
        """Show the calls, with their starts if ``timed``, and have their number typed.

        Raises:
            CallctlError: Something else was typed.
        """
        from callctl.views.table import print_calls

        print_calls(runtime.console(), matching, timed=timed)
        count = len(matching)
        runtime.stderr.write(f"Type {count} to end {'this call' if count == 1 else f'these {count} calls'}: ")
        runtime.stderr.flush()
        if runtime.stdin.readline().strip() != str(count):
            raise CallctlError("not confirmed: nothing was ended", hint=f"{count} was to be typed; --yes asks nothing")
