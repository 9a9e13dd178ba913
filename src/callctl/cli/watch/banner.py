"""What ``watch`` prints when it starts: its address, how to point Twilio at it; and the view for the events."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from callctl.calls.call import EVENT_NAMES
from callctl.cli.io.runtime import Form, Runtime
from callctl.errors import without_secrets

if TYPE_CHECKING:
    from callctl.calls.filter import CallFilter
    from callctl.views.view import View
    from callctl.watch.options import Ready


def open_view(runtime: Runtime, ready: Ready, *, call_filter: CallFilter | None = None) -> View:
    """Print on stderr how to point Twilio here, and return the view for stdout, of the legs that match.

    It is drawn in a thread of its own.
    """
    from callctl.views.threaded_view import ThreadedView

    guide = _follow_guide(ready) if ready.follows else [*_reachability_guide(ready), *_paste_guide(ready)]
    runtime.say(f"callctl: {'following' if ready.follows else 'listening on'} {ready.host}:{ready.port}")
    for line in guide:
        runtime.say(line)
    if call_filter is not None:
        from callctl.views.filtered_view import FilteredView

        runtime.say(f"callctl: showing only {call_filter.in_words}")
        return ThreadedView(FilteredView(_unfiltered_view(runtime, ready, guide), call_filter))
    return ThreadedView(_unfiltered_view(runtime, ready, guide))


def _unfiltered_view(runtime: Runtime, ready: Ready, guide: Sequence[str]) -> View:
    from callctl.views.jsonl import JsonLinesView
    from callctl.views.lines import LineView

    if runtime.form is Form.JSON:
        lines = JsonLinesView(
            runtime.stdout, extra={} if ready.is_twilio else {"api_url": ready.api_url}, say=runtime.say
        )
        lines.ready(ready.to_json())
        return lines
    if runtime.form is Form.PLAIN:
        return LineView(runtime.stdout, say=runtime.say)
    from callctl.views.live.screen import LiveView

    return LiveView(runtime.console(), idle=["No calls yet.", "", *guide], clock=runtime.clock())


def _follow_guide(ready: Ready) -> list[str]:
    return [
        f"A watch of this account holds the port {ready.port} (process {ready.follows}).",
        "This one shows what that one stores: it only reads, and no rules run here.",
    ]


def _reachability_guide(ready: Ready) -> list[str]:
    """Return how to make the listener reachable for Twilio; nothing if it is."""
    if ready.is_reachable:
        return []
    return [
        "Twilio can't reach this listener. Three ways to change that:",
        "  callctl watch --tunnel cloudflared        (or ngrok, or any command with {port})",
        f"  ngrok http {ready.port}, then callctl watch      (a running ngrok agent is found)",
        "  callctl watch --public-url https://…      (any other way to this port)",
        "",
    ]


def _paste_guide(ready: Ready) -> list[str]:
    """Return lines to paste elsewhere so that calls send their callbacks here, none longer than 80 columns.

    Here alone a password in the URL is shown, since Twilio needs it.
    """
    from callctl.calls.twiml import noun_attributes

    has_password = without_secrets(ready.callback_url) != ready.callback_url
    served = [f"  {name}: {url}" for name, url in ready.documents.items()]
    return [
        *(["These lines hold the public URL's password in clear; all else shows ***.", ""] if has_password else []),
        *(["Served as TwiML, for `place --url` and a number's voice URL:", *served] if served else []),
        "Calls that `callctl place` places report here by themselves.",
        "For calls placed by your own code, the REST parameters:",
        f"  StatusCallback={ready.callback_url}",
        *(f"  StatusCallbackEvent={event}" for event in EVENT_NAMES),
        "For <Number>, <Sip> and <Client> inside <Dial>, the attributes:",
        *(f"  {attribute}" for attribute in re.findall(r'\w+="[^"]*"', noun_attributes(ready.callback_url))),
    ]
