"""An evening's calls in the local store, as a watch might have left them: of each kind some."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from cli.frozen import NOON
from cli.local_store import add_callback, store_of

from callctl.calls.action import ActionEvent
from callctl.calls.call import Call
from callctl.calls.event import MISSED, POLLED, CallEvent
from callctl.simulator import Simulator
from callctl.store.sqlite.store import SqliteStore

ANSWERED, NOT_ANSWERED, BUSY, TWICE = "+12025550100", "+12025550101", "+12025550102", "+12025550105"
_CODES = {"completed": "200", "busy": "486", "no-answer": "487", "failed": "503"}


def sid(number: int) -> str:
    return f"CA{number:032}"


def fill_store(home: Path, simulator: Simulator) -> None:
    """Put the calls, and what rules and commands did to them, into the store for this simulator."""
    with store_of(home, simulator) as store:
        for number, (status, rang, talked) in enumerate(_LIVES):
            _add_leg(store, number, status, rang=rang, talked=talked)
        _add_unusual(store)
        store.record_actions(_actions())


# How each leg ended, and for how many seconds it rang and talked.
_LIVES = (
    *(("completed", 5, 42), ("completed", 7, 61), ("completed", 3, 400), ("completed", 25, 4)),
    *(("busy", 1, 0), ("busy", 1, 0), ("no-answer", 30, 0), ("failed", 0, 0), ("ringing", 0, 0), ("completed", 8, 42)),
)


def _add_leg(store: SqliteStore, number: int, status: str, *, rang: int, talked: int) -> None:
    began = _began(number)
    to = {"busy": BUSY, "no-answer": NOT_ANSWERED}.get(status, ANSWERED if number % 2 else TWICE)
    parent = {"ParentCallSid": sid(number - 1)} if number == 3 else {}
    direction = "inbound" if number == 9 else "outbound-dial" if parent else "outbound-api"
    facts = {"To": to, "Direction": direction, **parent}
    steps = [("initiated", 0), ("ringing", 2)]
    if talked:
        steps.append(("in-progress", 2 + rang))
    if status != "ringing":
        steps.append((status, 2 + rang + talked))
    for count, (step, after) in enumerate(steps):
        if number == 2 and step == "ringing":
            continue  # lost on the way
        more = {"SipResponseCode": _CODES[status]} if step in _CODES else {}
        if step == "completed":
            more["CallDuration"] = str(talked)
        add_callback(
            store, sid(number), step, at=began + timedelta(seconds=after), SequenceNumber=str(count), **facts, **more
        )


def _add_unusual(store: SqliteStore) -> None:
    """Add legs of which no callback, or no verified one, reported the end."""
    facts = {"from": "+15005550006", "to": TWICE, "direction": "outbound-api"}
    for number, (status, kind) in enumerate((("completed", POLLED), ("no-answer", MISSED)), 20):
        call = Call.from_resource({"sid": sid(number), "status": status, "duration": "7", **facts})
        store.append(CallEvent.from_call(call, received_at=NOON + timedelta(hours=2), world="w", kind=kind))
    form = {"CallSid": sid(22), "CallStatus": "ringing", "From": "+12025550108", "To": "+12025550109"}
    late = NOON + timedelta(hours=3)
    store.append(CallEvent.from_form(form.items(), received_at=late, world="w", verified=False))
    request = {**form, "CallSid": sid(23), "Direction": "inbound", "ApiVersion": "2010-04-01"}
    store.append(CallEvent.from_form(request.items(), received_at=late, world="w", verified=True))
    recording = {"CallSid": sid(24), "RecordingSid": "RE" + "0" * 32, "RecordingStatus": "completed"}
    store.append(CallEvent.from_form(recording.items(), received_at=late, world="w", verified=True))


def _actions() -> list[ActionEvent]:
    done: list[tuple[str, str | None, str | None, str]] = [
        ("redirect", "after-dial", None, "done"),
        ("redirect", "after-dial", None, "done"),
        ("hangup", None, "ann@desk", "done"),
        ("cancel", None, None, "too-late"),
    ]
    return [
        ActionEvent(_began(number) + timedelta(seconds=6), sid(number), action, (), "", rule=rule, by=by, result=result)
        for number, (action, rule, by, result) in enumerate(done)
    ]


def _began(number: int) -> datetime:
    return NOON + timedelta(minutes=20 * number)
