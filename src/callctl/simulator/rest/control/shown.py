"""Calls and requests as JSON: seconds as numbers, times in ISO 8601 and UTC, null where there is nothing to say."""

from datetime import UTC, datetime

from callctl.simulator.http_requests import Received, Reply, Sent
from callctl.simulator.records import Call

Json = dict[str, object]


def time(moment: datetime) -> str:
    """Write a time, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def call(shown: Call) -> Json:
    """Show a call."""
    return {
        "sid": shown.sid,
        "parent_sid": shown.parent_sid,
        "to": shown.to,
        "from": shown.from_,
        "direction": shown.direction,
        "status": shown.status,
        "answered_by": shown.answered_by,
        "created": time(shown.created),
        "started": None if shown.started is None else time(shown.started),
        "ended": None if shown.ended is None else time(shown.ended),
        "duration": shown.duration,
        "timeline": [{"at": each.at, "time": time(each.time), "status": each.status} for each in shown.timeline],
        "notifications": [
            {
                "at": note.at,
                "time": time(note.time),
                "code": note.code,
                "message": note.message,
                "url": note.url or None,
                "level": note.level,
            }
            for note in shown.notifications
        ],
        "room": shown.room,
    }


def record(shown: Received | Sent) -> Json:
    """Show a request and its reply."""
    return {
        "number": shown.number,
        "at": shown.at,
        "time": time(shown.time),
        "direction": shown.direction,
        "kind": shown.kind,
        "call": shown.call,
        "about": shown.about,
        "method": shown.method,
        "url": shown.url,
        "parameters": {name: list(values) for name, values in shown.parameters.items()},
        "reply": None if shown.reply is None else _reply(shown.reply, shown.code),
        "dropped": shown.reply is None,
    }


def _reply(reply: Reply, code: int | None) -> Json:
    return {
        "status": reply.status,
        "code": code,
        "content_type": reply.content_type,
        "body": reply.text,
        "error": reply.error,
        "attempts": reply.attempts,
    }
