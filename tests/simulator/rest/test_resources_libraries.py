"""Every operation of Twilio's description answers Twilio's own libraries as it says."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from simulator.libraries.clients import Json, Library, Reply, Result, node_library, python_library
from simulator.libraries.plans import PLANS, Step
from simulator.setup import CALLS, VOICE, check_reply, fields_with, operation_of, operations

from callctl.simulator import Simulator

NOT_READ = {"annotation"}  # live replies have it, the description and the libraries don't
TIMES = fields_with("date-time-rfc-2822")

Open = Callable[[Simulator], AbstractContextManager[Library]]


def test_no_operation_is_left_out() -> None:
    tried = {step.operation for steps in PLANS.values() for step in steps if step.refused is None}
    assert tried == operations(CALLS) | operations(VOICE)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("library", [python_library, node_library], ids=["python", "node"])
def test_they_are_answered_as_described(library: Open, plan: str) -> None:
    kept: dict[str, str] = {}
    with Simulator(manual_clock=True, seed=1) as sim, library(sim) as client:
        for number, step in enumerate(PLANS[plan], 1):
            try:
                do(step, client, kept)
            except Exception as error:
                error.add_note(f"in step {number}: {step}")
                raise
            sim.advance(step.then)


def do(step: Step, client: Library, kept: dict[str, str]) -> None:
    names = re.findall(r"(\w+)(?:\(([^)]*)\))?", step.call)
    path = [(name, sid.format(**kept) if sid else None) for name, sid in names]
    result = client.call(path, filled(step.params, kept))
    for reply in result.replies:
        assert operation_of(reply.method, reply.path) == step.operation
        check_reply(reply.method, reply.path, reply.status, reply.body)
    if step.refused is not None:
        body = result.replies[-1].body
        assert result.error is not None
        assert (result.error["code"], result.error["status"]) == (step.refused, result.replies[-1].status)
        assert body["message"] in result.error["message"]
        return
    assert result.error is None, result.error
    check_what_was_read(result)
    if step.count is not None:
        assert len(result.things) == step.count
    expected = filled(step.answered, kept)
    assert {name: result.things[0][name] for name in expected} == expected
    if step.keep:
        kept[step.keep] = result.things[0][step.by]


def check_what_was_read(result: Result) -> None:
    """Check that a library read each field of each reply, a time as a time and all else as it stands."""
    answered = [thing for reply in result.replies for thing in things_of(reply)]
    expected = [{name: as_read(name, thing[name]) for name in thing.keys() - NOT_READ} for thing in answered]
    assert len(result.things) == len(expected)
    for thing, read in zip(expected, result.things, strict=True):
        assert {name: read[name] for name in read.keys() & thing.keys()} == thing


def things_of(reply: Reply) -> list[Json]:
    if "page_size" not in reply.body:
        return [reply.body] if reply.body else []
    (listed,) = (value for value in reply.body.values() if isinstance(value, list))
    return listed


def as_read(name: str, value: Any) -> datetime | Any:
    return parsedate_to_datetime(value) if name in TIMES and value is not None else value


def filled(values: Json, kept: dict[str, str]) -> Json:
    return {name: value.format(**kept) if isinstance(value, str) else value for name, value in values.items()}
