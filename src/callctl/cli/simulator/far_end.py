"""``callctl simulator far-end``: say what an address does when a simulator calls it, or show what was set."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from callctl.cli.options import common
from callctl.cli.simulator.client import Json, SimulatorClient, Url
from callctl.cli.simulator.show import show_list, show_one
from callctl.support.dates import read_duration


def far_end(
    ctx: typer.Context,
    address: Annotated[
        str | None,
        typer.Argument(
            metavar="[ADDRESS]", help="A number, sip:NAME@HOST, client:NAME, or default.", show_default=False
        ),
    ] = None,
    outcome: Annotated[
        str | None, typer.Option("--outcome", metavar="WORD", help="answers, busy, never, fails, rejects.")
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="DURATION", help="From the first ring to that; 2s.")
    ] = None,
    hang_up_after: Annotated[
        str | None, typer.Option("--hang-up-after", metavar="DURATION", help="From the answer; else it stays.")
    ] = None,
    answer: Annotated[
        list[str] | None, typer.Option("--answer", metavar="TEXT", help="To a Gather; repeatable, in order.")
    ] = None,
    digits: Annotated[
        str | None, typer.Option("--digits", metavar="KEYS", help="Pressed at each Gather behind those.")
    ] = None,
    digits_after: Annotated[
        str | None, typer.Option("--digits-after", metavar="DURATION", help="From the Gather's start; 1s.")
    ] = None,
    words: Annotated[str | None, typer.Option("--words", metavar="TEXT", help="Said into each Record.")] = None,
    confidence: Annotated[
        float | None, typer.Option("--confidence", metavar="NUMBER", help="How well it is understood, 0 to 1.")
    ] = None,
    voicemail: Annotated[bool, typer.Option("--voicemail", help="Machine detection finds a machine.")] = False,
    answered_by: Annotated[
        str | None, typer.Option("--answered-by", metavar="WORD", help="What machine detection finds: fax …")
    ] = None,
    greeting: Annotated[
        str | None, typer.Option("--greeting", metavar="DURATION", help="How long a machine talks; 5s.")
    ] = None,
    sip_code: Annotated[
        int | None, typer.Option("--sip-code", metavar="NUMBER", help="What it fails with; 404.")
    ] = None,
    url: Url = None,
    env_file: common.EnvFile = None,
    request_timeout: common.RequestTimeout = "10s",
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Say what an address does when the simulator calls it, from now on.

    What is left out is as +12025550100 does: it answers after 2 s. Without ADDRESS
    it shows what was set for all of them.
    """
    runtime = common.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    times = {"after": after, "hang_up_after": hang_up_after, "digits_after": digits_after, "greeting": greeting}
    given: Json = {
        name: read_duration(text, option=f"--{name.replace('_', '-')}")
        for name, text in times.items()
        if text is not None
    }
    others: dict[str, Any] = {
        "outcome": outcome,
        "answers": answer or None,
        "digits": digits,
        "words": words,
        "confidence": confidence,
        "voicemail": voicemail or None,
        "answered_by": answered_by,
        "sip_code": sip_code,
    }
    given |= {name: value for name, value in others.items() if value is not None}
    if address is None:
        _check_nothing(given)
        ends = SimulatorClient.find(runtime, url=url, env_file=env_file).get("/far-ends")["far_ends"]
        shown = [{"address": name, **end} for name, end in ends.items()]
        show_list(runtime, shown, map(_line, shown))
        return
    client = SimulatorClient.find(runtime, url=url, env_file=env_file)
    made = client.post("/far-ends", {"address": address, **given}, changes="it may have been set")
    show_one(runtime, made, _line(made))


def _check_nothing(given: Json) -> None:
    from callctl.errors import UsageError

    if given:
        raise UsageError("who does so is missing: ADDRESS", hint="such as +12025550150, or default")


def _line(far_end: Json) -> str:
    """Return a line that says what is not as usual."""
    usual = {
        "outcome": "answers", "after": 2.0, "voicemail": False, "digits": "", "digits_after": 1.0, "sip_code": 404,
        "words": "", "greeting": 5.0, "answers": [], "confidence": 0.92,
    }  # fmt: skip
    parts = [f"{far_end['address']}  {far_end['outcome']} after {far_end['after']:g} s"]
    parts += [
        f"{name.replace('_', '-')} {value}"
        for name, value in far_end.items()
        if name not in ("address", "outcome", "after") and usual.get(name) != value
    ]
    return "  ".join(parts)
