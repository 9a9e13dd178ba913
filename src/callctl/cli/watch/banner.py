"""What ``watch`` and ``listen`` say when they start: where, and how to point Twilio there; and the view for a pipe."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO, cast

from callctl.calls.call import EVENT_NAMES
from callctl.cli.io.runtime import Form, Runtime
from callctl.cli.io.streams import LossyStream
from callctl.cli.options.callback_url import with_retries_to_paste
from callctl.errors import without_secrets

if TYPE_CHECKING:
    from callctl.calls.filter import CallFilter
    from callctl.views.jsonl import JsonLinesView
    from callctl.views.lines import LineView
    from callctl.views.view import View
    from callctl.watch.options import Ready


_WHY_FRAGMENT = "The part behind # has Twilio try again, for 15 s, while nothing answers here."


def say_where(runtime: Runtime, ready: Ready, *, call_filter: CallFilter | None, command: str = "watch") -> list[str]:
    """Say on stderr how to point Twilio here, and return those lines."""
    guide = _follow_guide(ready) if ready.follows else [*_reachability_guide(ready, command), *paste_guide(ready)]
    where = ready.machine or f"{ready.host}:{ready.port}"
    runtime.say(f"callctl: {'following' if ready.follows else 'listening on'} {where}")
    if ready.monitoring_url is not None:
        runtime.say(f"callctl: /healthz, /readyz and /metrics are at {ready.monitoring_url}")
    for line in guide:
        runtime.say(line)
    if call_filter is not None:
        runtime.say(f"callctl: showing only {filter_in_words(runtime, call_filter)}")
    return guide


def open_lines(runtime: Runtime, ready: Ready, *, call_filter: CallFilter | None) -> View:
    """Return the view for a stdout that is no terminal, of the legs that match; it writes in a thread of its own."""
    from callctl.views.filtered_view import FilteredView
    from callctl.views.threaded_view import ThreadedView

    lines = _lines(runtime, ready)
    if runtime.masks_numbers:
        from callctl.views.masked_view import MaskedView

        lines = MaskedView(lines)
    return ThreadedView(lines if call_filter is None else FilteredView(lines, call_filter))


def filter_in_words(runtime: Runtime, call_filter: CallFilter) -> str:
    """Return which legs are shown, in words, with numbers masked if they are."""
    if not runtime.masks_numbers:
        return call_filter.in_words
    from callctl.calls.masked_numbers import masked_filter

    return masked_filter(call_filter).in_words


def _lines(runtime: Runtime, ready: Ready) -> View:
    if runtime.form is not Form.JSON:
        return line_view(runtime)
    lines = json_lines_view(runtime, runtime.stdout, api_url=None if ready.is_twilio else ready.api_url)
    lines.ready(ready.to_json())
    return lines


def line_view(runtime: Runtime) -> LineView:
    """Return the view that writes tab-separated lines to stdout, and leaves lines out while that can't be written."""
    from callctl.views.lines import LineView

    return LineView(cast(TextIO, LossyStream(runtime.stdout, say=runtime.say)), say=runtime.say)


def json_lines_view(runtime: Runtime, stream: TextIO, *, api_url: str | None, is_log: bool = False) -> JsonLinesView:
    """Return the view that writes JSON Lines to a stream, and leaves lines out while that can't be written.

    ``api_url`` goes into each record. With ``is_log`` nothing that happens to the stream ends the work.
    """
    from callctl.calls.watch_trouble import Cause, Trouble
    from callctl.views.jsonl import JsonLinesView

    lossy = LossyStream(stream, say=runtime.say, is_log=is_log)
    lines = JsonLinesView(cast(TextIO, lossy), extra={} if api_url is None else {"api_url": api_url}, say=runtime.say)
    lossy.report = lambda text: lines.trouble(Trouble(text, Cause.OUTPUT))
    return lines


def _follow_guide(ready: Ready) -> list[str]:
    noun = "listener" if ready.follows_service else "watch"
    if ready.machine:
        callbacks = without_secrets(ready.callback_url)
        where = f"listens on {ready.machine} (process {ready.follows}), with callbacks at {callbacks}"
    elif ready.follows_service:
        where = f"is at the port {ready.port} (process {ready.follows})"
    else:
        where = f"holds the port {ready.port} (process {ready.follows})"
    if ready.follows_service:
        return [
            f"A {noun} of this account {where}.",
            "This shows what that stores; what keys request goes to Twilio from here.",
        ]
    return [
        f"A {noun} of this account {where}.",
        "This one shows what that one stores: it only reads, and no rules run here.",
    ]


def idle_guide(ready: Ready, guide: Sequence[str]) -> Sequence[str]:
    """Return what is shown in a table without calls; of one that follows only what holds of the next listener too."""
    if not ready.follows:
        return guide
    if ready.follows_service:
        return [
            "This shows what the listener stores that the first line names;",
            "what keys request goes to Twilio from here.",
        ]
    return [
        "This shows what the watch stores that the first line names:",
        "it only reads, and no rules run here.",
    ]


def _reachability_guide(ready: Ready, command: str) -> list[str]:
    """Return how to make the listener reachable for Twilio; nothing if it is."""
    if ready.is_reachable:
        return []
    return [
        "Twilio can't reach this listener. Three ways to change that:",
        *(
            f"  {command_:<41} {what}"
            for command_, what in (
                (f"callctl {command} --tunnel cloudflared", "(or ngrok, or any command with {port})"),
                (f"ngrok http {ready.port}, then callctl {command}", "(a running ngrok agent is found)"),
                (f"callctl {command} --public-url https://…", "(any other way to this port)"),
            )
        ),
        "",
    ]


def paste_guide(ready: Ready) -> list[str]:
    """Return lines to paste elsewhere so that calls send their callbacks here.

    Here alone a password in the URL is shown, since Twilio needs it.
    """
    from callctl.calls.twiml import noun_attributes

    url = with_retries_to_paste(ready)
    has_password = without_secrets(url) != url
    served = [f"  {name}: {url}" for name, url in ready.documents.items()]
    return [
        *(["These lines hold the public URL's password in clear; all else shows ***.", ""] if has_password else []),
        *(["Served as TwiML, for `place --url` and a number's voice URL:", *served] if served else []),
        "Calls that `callctl place` places report here by themselves.",
        "For calls placed by your own code, the REST parameters:",
        f"  StatusCallback={url}",
        *(f"  StatusCallbackEvent={event}" for event in EVENT_NAMES),
        "For <Number>, <Sip> and <Client> inside <Dial>, the attributes:",
        *(f"  {attribute}" for attribute in re.findall(r'\w+="[^"]*"', noun_attributes(url))),
        *([_WHY_FRAGMENT] if url != ready.callback_url else []),
    ]
