"""How the commands that control a simulator show calls, requests and far ends: as JSON, or each on a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from callctl.calls.call import Call
from callctl.cli.io.runtime import Form, Runtime
from callctl.support.dates import parse_timestamp, time_of_day
from callctl.views.terminal_safe import json_text, printable

Json = Mapping[str, Any]

_PLAIN = "<>:+,@"  # what is readable in a query as it is


def show_new_call(runtime: Runtime, call: Json) -> None:
    """Write a call that has just come in as a command shows one that it has placed: on a pipe its SID alone."""
    if runtime.form is Form.JSON:
        runtime.write_json(call)
    elif runtime.form is Form.PLAIN:
        runtime.write(printable(str(call["sid"])))
    else:
        from callctl.views.table import print_calls

        resource = {**call, "date_created": call["created"], "start_time": call["started"]}
        print_calls(runtime.console(), [Call.from_resource(resource)])


def show_one(runtime: Runtime, value: Json, line: str) -> None:
    """Write an object as JSON, else its line."""
    if runtime.form is Form.JSON:
        runtime.write_json(value)
    else:
        runtime.write(printable(line))


def show_list(runtime: Runtime, values: Iterable[Json], lines: Iterable[str]) -> None:
    """Write an array as JSON, else a line for each."""
    if runtime.form is Form.JSON:
        runtime.write(json_text(list(values)))
        return
    for line in lines:
        runtime.write(printable(line))


def call_line(call: Json) -> str:
    """Return the line of a call."""
    parts = [call["sid"], f"{call['status']:<11}", f"{call['direction']:<13}", f"{call['from']} → {call['to']}"]
    if call["duration"] is not None:
        parts.append(f"{call['duration']} s")
    if call["room"]:
        parts.append(f"in {call['room']}")
    parts += [f"{note['level']} {note['code']}" for note in call["notifications"][:3]]
    return "  ".join(parts).rstrip()


def request_line(record: Json) -> str:
    """Return the line of a request, as the simulator's own log has it, with its number and simulated time."""
    reply = record["reply"]
    answer = None if reply is None else Answer(reply["status"], reply["code"], reply["attempts"], reply["error"])
    target = f"{record['method']} {record['url']}"
    if is_received := record["direction"] == "received":
        query = record["parameters"] if record["method"] == "GET" else {}
        target = received_target(record["method"], record["url"], query, answer)
    words = request_words("<--" if is_received else "-->", answer, target, record["about"], record["call"])
    moment = parse_timestamp(record["time"])
    time = "" if moment is None else f"{time_of_day(moment)} "
    at = f"{record['at']:.1f}".rjust(7)
    return f"{record['number']:>4} {at} s {time}{words}"


class Answer(NamedTuple):
    """What came of a request: HTTP's status, Twilio's code, how often it was sent; or why it has no answer."""

    status: int | None
    code: int | None = None
    attempts: int = 1
    error: str | None = None


def request_words(arrow: str, answer: Answer | None, target: str, *about: str) -> str:
    """Return a request and its answer, None if a fault dropped it; ``about`` is the call's status, and its SID."""
    if answer is None:
        return " ".join(filter(None, (arrow, "dropped", target, *about)))
    code = None if answer.code is None else str(answer.code)
    tries = f"(try {answer.attempts})" if answer.attempts > 1 else ""
    why = f"({answer.error})" if answer.error else ""
    return " ".join(filter(None, (arrow, str(answer.status or "failed"), code, tries, target, *about, why)))


def received_target(method: str, path: str, query: Mapping[str, Sequence[str]], answer: Answer | None) -> str:
    """Return the method and path of an API request: below the account, but the whole path if it was refused."""
    rest = path.partition("/Accounts/")[2].partition("/")[2]
    is_refused = answer is None or (answer.status or 0) >= 400
    shown = path if is_refused or not rest else f"/{rest}"
    return f"{method} {shown}{f'?{urlencode(query, safe=_PLAIN, doseq=True)}' if query else ''}"
