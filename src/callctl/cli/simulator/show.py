"""How the commands that control a simulator show calls, requests and far ends: as JSON, or each on a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from callctl.calls.call import Call
from callctl.cli.io.runtime import Form, Runtime
from callctl.support.dates import parse_timestamp, time_of_day
from callctl.views.terminal_safe import json_text, printable

Json = Mapping[str, Any]


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
    if reply is None:
        outcome = "dropped"
    elif reply["status"] is None:
        outcome = "failed"
    else:
        outcome = f"{reply['status']}"
    code = f" {reply['code']}" if reply and reply["code"] is not None else ""
    tries = f" (try {reply['attempts']})" if reply and reply["attempts"] > 1 else ""
    arrow = "<--" if record["direction"] == "received" else "-->"
    about = "".join(f" {word}" for word in (record["about"], record["call"]) if word)
    why = f" ({reply['error']})" if reply and reply["error"] else ""
    moment = parse_timestamp(record["time"])
    time = "" if moment is None else f"{time_of_day(moment)} "
    query = ""
    if record["direction"] == "received" and record["method"] == "GET" and record["parameters"]:
        query = "?" + urlencode(record["parameters"], safe="<>:+,@", doseq=True)
    at = f"{record['at']:.1f}".rjust(7)
    return (
        f"{record['number']:>4} {at} s {time}{arrow} {outcome}{code}{tries} "
        f"{record['method']} {record['url']}{query}{about}{why}"
    )
