"""What came of placing or changing a call, on stdout: a sentence, a row, or an object, one per call."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from callctl.calls.call import Call
from callctl.cli import exits
from callctl.cli.io.runtime import Form, Runtime, error_record
from callctl.cli.io.streams import OutputError, ReaderGoneError, discard_buffer
from callctl.errors import CallctlError, without_secrets
from callctl.views.terminal_safe import printable

if TYPE_CHECKING:
    from callctl.calls.action import ActionEvent

FAILED = "failed"
STILL_RINGING = "still-ringing"
DRY_RUN = "dry-run"
_NAMED = 5  # calls or URLs that a summary names one by one

Request = tuple[tuple[str, str], ...]


class Outcome(NamedTuple):
    """What came of one request.

    ``action`` is hangup, cancel or redirect; ``result`` one word; ``sentence`` the same for people, and ``noted`` for
    the store, where the SID is beside it; ``call`` the API's latest reply; ``more`` further fields of the JSON
    object.
    """

    action: str
    sid: str
    result: str
    sentence: str
    request: Request
    noted: str = ""
    call: Call | None = None
    error: CallctlError | None = None
    more: Mapping[str, Any] = MappingProxyType({})

    @property
    def changes_call(self) -> bool:
        """Whether a request was sent that may have changed the call."""
        return self.result in ("ended", "accepted", "redirected")

    @property
    def is_recorded(self) -> bool:
        """Whether the store keeps it: it changed the call, or should have and did not."""
        return self.changes_call or self.result == STILL_RINGING

    @property
    def status(self) -> str:
        """The latest status in the API's replies, or an empty text."""
        return "" if self.call is None else self.call.status

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``--json`` writes on one line."""
        record = {
            "v": 1,
            "type": "action",
            "action": self.action,
            "call_sid": self.sid,
            "result": self.result,
            "outcome": self.sentence,
            "request": {name: without_secrets(value) for name, value in self.request},
            "call": None if self.call is None else self.call.to_json(),
        }
        if self.error is not None:
            record["error"] = error_record(self.error, code=exits.code_for(self.error))
        return record | dict(self.more)

    def to_event(self, at: datetime) -> ActionEvent:
        """Return what the store keeps of it."""
        from callctl.calls.action import DONE, NOT_ENDED, ActionEvent

        result = NOT_ENDED if self.result == STILL_RINGING else DONE
        return ActionEvent(at, self.sid, self.action, self.request, self.noted, self.status or None, result=result)


def failure(action: str, sid: str, *, request: Request, error: CallctlError) -> Outcome:
    """Return the outcome of a request that was refused or not answered."""
    return Outcome(action, sid, FAILED, error.message, request, error=error)


def what_failed(errors: Mapping[str, CallctlError | None], *, total: int, done: str) -> str:
    """Return which calls of ``total`` were not ``done``, and which may have been, though no answer came; by SID."""
    unknown = [sid for sid, error in errors.items() if error is not None and error.may_be_done]
    certain = [sid for sid in errors if sid not in unknown]
    parts = [f"{len(certain)} of {calls(total)} not {done}: {name_some(certain)}"] if certain else []
    parts += [f"{len(unknown)} of {calls(total)} may have been {done} or not: {name_some(unknown)}"] if unknown else []
    return "; ".join(parts)


def show_new_call(runtime: Runtime, call: Call) -> None:
    """Write a call that has just come into being: on a pipe its SID alone."""
    if runtime.form is Form.JSON:
        runtime.write_json(call.to_json())
    elif runtime.form is Form.PLAIN:
        runtime.write(printable(call.sid))
    else:
        from callctl.views.table import print_calls

        print_calls(runtime.console(), [call])


def say_it_may_be_placed(runtime: Runtime, to: str) -> None:
    """Say, where the answer is not waited for, that the request to call ``to`` may be on its way."""
    look = f"callctl list --live --to {shlex.quote(to)}"
    runtime.say(f"callctl: the call may have been placed: look with `{look}`")


def show_alone(runtime: Runtime, outcome: Outcome) -> None:
    """Write the outcome for the only call: on a pipe a row, and the sentence beside it on stderr."""
    if runtime.form is Form.TABLE:
        runtime.write(printable(outcome.sentence))
        return
    show_among_others(runtime, outcome)
    if runtime.form is Form.PLAIN:
        runtime.say(f"callctl: {outcome.sentence}")


def show_among_others(runtime: Runtime, outcome: Outcome) -> None:
    """Write the outcome for one of several calls; a failure also goes to stderr, with its reason."""
    if runtime.form is Form.JSON:
        runtime.write_json(outcome.to_json())
        return
    if outcome.error is not None:
        runtime.write_error(outcome.error, code=exits.code_for(outcome.error), of=outcome.sid)
    if runtime.form is Form.PLAIN:
        runtime.write("\t".join(printable(text) for text in (outcome.sid, outcome.status, outcome.result)))
    elif outcome.error is None:
        runtime.write(printable(outcome.sentence))


class OutcomeWriter:
    """Writes the outcomes of several calls. A stdout that can't be written any more does not stop the work on them."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._fault: OutputError | ReaderGoneError | None = None

    def write(self, outcome: Outcome) -> None:
        """Write one outcome."""
        if self._fault is not None:
            return
        try:
            show_among_others(self._runtime, outcome)
        except (OutputError, ReaderGoneError) as error:
            self._fault = error  # a reader like `head` must not stop a hang-up half-way
            discard_buffer(self._runtime.stdout)

    def finish(self) -> None:
        """Raise what went wrong with stdout, now that the work is done."""
        if self._fault is not None:
            raise self._fault


def name_some(names: Sequence[str]) -> str:
    """Name a few of calls or URLs, and say how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def calls(count: int) -> str:
    """Return a number of calls in words."""
    return counted(count, "call")


def counted(number: int, what: str) -> str:
    """Return a number of things in words; ``what`` is one of them."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
