"""How a command tells what a call is like after it was changed."""

from __future__ import annotations

from callctl.calls import Call
from callctl.cli.runtime import Form, Runtime


def show_changed(runtime: Runtime, call: Call, *, action: str, told: str) -> None:
    """Write one changed call: a sentence on a terminal, SID and status on a pipe, or one JSON object on a line."""
    if runtime.form is Form.JSON:
        runtime.write_json({"v": 1, "type": "action", "action": action, "outcome": told, "call": call.to_json()})
    elif runtime.form is Form.PLAIN:
        runtime.write(f"{call.sid}\t{call.status}")
        runtime.say(f"callctl: {told}")
    else:
        runtime.write(told)
