"""Call, the REST resource: one leg; its statuses, and how the two ends of a call are written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from callctl.support.dates import format_date, parse_date
from callctl.support.parsing import parse_int, parse_price


class CallStatus(StrEnum):
    """The statuses Twilio documents. Others are kept as plain text: a new one must not break anything."""

    QUEUED = "queued"
    INITIATED = "initiated"  # in callbacks only; REST never shows it (docs/twilio.md, "Statuses")
    RINGING = "ringing"
    IN_PROGRESS = "in-progress"
    COMPLETED = "completed"
    BUSY = "busy"
    FAILED = "failed"
    NO_ANSWER = "no-answer"
    CANCELED = "canceled"


class Direction(StrEnum):
    """Where a leg came from (OAS, ``direction``)."""

    INBOUND = "inbound"
    OUTBOUND_API = "outbound-api"
    OUTBOUND_DIAL = "outbound-dial"
    TRUNKING_TERMINATING = "trunking-terminating"
    TRUNKING_ORIGINATING = "trunking-originating"


LIVE_STATUSES = frozenset({CallStatus.QUEUED, CallStatus.INITIATED, CallStatus.RINGING, CallStatus.IN_PROGRESS})
FINAL_STATUSES = frozenset(
    {
        CallStatus.COMPLETED,
        CallStatus.BUSY,
        CallStatus.NO_ANSWER,
        CallStatus.FAILED,
        CallStatus.CANCELED,
    }
)
# What the Status filter of the list takes: no ``initiated`` (OAS).
REST_STATUSES = tuple(status for status in CallStatus if status is not CallStatus.INITIATED)
# In the order in which a call moves on: read one after the other, their lists miss no call that moves on meanwhile.
REST_LIVE_STATUSES = (CallStatus.QUEUED, CallStatus.RINGING, CallStatus.IN_PROGRESS)
EVENT_NAMES = ("initiated", "ringing", "answered", "completed")
# The steps of a call's life; an unknown status ranks below all, so that it shows only where nothing better is known.
_RANKS: dict[str, int] = {
    CallStatus.QUEUED: 1,
    CallStatus.INITIATED: 2,
    CallStatus.RINGING: 3,
    CallStatus.IN_PROGRESS: 4,
    CallStatus.CANCELED: 5,
    CallStatus.FAILED: 5,
    CallStatus.NO_ANSWER: 5,
    CallStatus.BUSY: 5,
    CallStatus.COMPLETED: 5,
}


def is_live(status: str) -> bool:
    """Return whether a status means that the leg still exists. An unknown status is neither live nor final."""
    return status in LIVE_STATUSES


def is_final(status: str) -> bool:
    """Return whether a leg with this status has ended."""
    return status in FINAL_STATUSES


def rank_of(status: str) -> int:
    """Return how far along a call's life a status is; 0 for an unknown one."""
    return _RANKS.get(status, 0)


# Patterns, which are compiled when they are needed: most commands check no address.
_E164 = r"\+[1-9][0-9]{1,14}"
_E164_START = r"\+([1-9][0-9]{0,14})?"
_SIP = r"(?i)sips?:[^\s<>\"@]+(@[^\s<>\"@]+)?"
_CLIENT = r"(?i)client:[^\s<>\"]{1,256}"


def is_e164(text: str) -> bool:
    """Return whether a text is a phone number in E.164 form (``+``, country code, at most 15 digits)."""
    return re.fullmatch(_E164, text) is not None


def is_endpoint(text: str) -> bool:
    """Return whether a call can go to this text: E.164, ``sip:user@host`` or ``client:name``."""
    return any(re.fullmatch(form, text) for form in (_E164, _SIP, _CLIENT))


# How else REST and callbacks write one end of a call: a SIP address without its scheme, a SIM, what stands for a caller
# where there is no number (docs/twilio.md, "Addresses"): a name, a short code, an extension.
_SIP_BARE = r"[^\s<>\"@:]+@[^\s<>\"@]+"
_SIM = r"(?i)sim:[A-Za-z0-9]+"
_NAME = r"[A-Za-z0-9+._*#-]{1,256}"
_NUMBER_SIGNS = r"[\s().\-/\u2010-\u2015\u00a0]"
_LEAST_NUMBER = 7  # digits; fewer may be a short code or an extension


def is_party(text: str) -> bool:
    """Return whether one end of a call may be written so: as ``is_endpoint``, or as REST writes other callers.

    A phone number is E.164: in any other spelling no call has it. What begins with ``+`` is meant as one.
    """
    if is_endpoint(text):
        return True
    written = any(re.fullmatch(form, text) for form in (_SIP_BARE, _SIM, _NAME))
    return written and not _is_number_misspelled(text)


def is_same_party(first: str, second: str) -> bool:
    """Return whether two texts name the same end of a call: a SIP address stands with its scheme or without.

    Source: docs/twilio.md, "Addresses".
    """
    return _without_scheme(first) == _without_scheme(second)


def _without_scheme(text: str) -> str:
    scheme, colon, rest = text.partition(":")
    return rest if colon and scheme.lower() in ("sip", "sips") else text


def is_party_pattern(text: str) -> bool:
    """Return whether one end of a call may match a text in which ``*`` stands for any other."""
    if "*" not in text:
        return is_party(text)
    start = text.partition("*")[0]
    is_start = re.fullmatch(_E164_START, start) is not None or not _is_number_misspelled(start)
    return is_start and not any(char.isspace() for char in text)


def number_meant(text: str) -> str | None:
    """Return the number in E.164 that another spelling of it stands for; None if that is not certain."""
    digits = re.sub(_NUMBER_SIGNS, "", text)
    number = f"+{digits.removeprefix('00')}" if digits.startswith("00") or not digits.startswith("+") else digits
    is_whole = digits.startswith(("+", "00")) or len(digits) > 10  # else the country code may be missing
    return number if is_whole and is_e164(number) else None


def _is_number_misspelled(text: str) -> bool:
    if text.startswith("+"):
        return not is_e164(text)
    digits = re.sub(_NUMBER_SIGNS, "", text)
    return digits.isdecimal() and len(digits) >= _LEAST_NUMBER


# The fields of the resource that hold one value, the most used first (docs/twilio.md, "The call resource").
FIELDS = (
    "sid",
    "status",
    "direction",
    "from",
    "to",
    "start_time",
    "end_time",
    "duration",
    "parent_call_sid",
    "price",
    "price_unit",
    "answered_by",
    "caller_name",
    "forwarded_from",
    "queue_time",
    "date_created",
    "date_updated",
    "account_sid",
    "from_formatted",
    "to_formatted",
    "phone_number_sid",
    "group_sid",
    "trunk_sid",
    "annotation",
    "api_version",
    "uri",
)

_TEXTS = (
    "sid",
    "status",
    "direction",
    "from",
    "to",
    "account_sid",
    "parent_call_sid",
    "price_unit",
    "answered_by",
    "caller_name",
    "forwarded_from",
)


# Not frozen, though nothing changes one: a list makes thousands, and a frozen one takes five times as long to make.
@dataclass(slots=True)
class Call:
    """One leg as a reply of the REST API describes it.

    ``duration`` is in seconds, ``queue_time`` in milliseconds, ``price`` negative (OAS). ``resource`` is the whole
    object, with the fields that callctl does not know. ``as_of`` is the ``Date`` of the reply: it is by the same clock
    as the other dates.
    """

    sid: str
    status: str
    direction: str = ""
    from_: str = ""
    to: str = ""
    account_sid: str = ""
    parent_call_sid: str | None = None
    date_created: datetime | None = None
    date_updated: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    duration: int | None = None
    price: Decimal | None = None
    price_unit: str | None = None
    answered_by: str | None = None
    caller_name: str | None = None
    forwarded_from: str | None = None
    queue_time: int | None = None
    resource: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    as_of: datetime | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_resource(cls, resource: Mapping[str, Any], *, as_of: datetime | None = None) -> Call:
        """Read the JSON object of a REST reply; absent and malformed fields become None or empty text.

        ``as_of`` is the ``Date`` of the reply.

        Raises:
            ValueError: There is no ``sid``, so it is no call.
        """
        # A list reads this for each of its rows, hence no call of a function per field.
        get = resource.get
        # Sentences are built of them, and a line break would make the server's words look like callctl's.
        texts = [value.replace("\n", "\ufffd") if isinstance(value := get(key), str) else "" for key in _TEXTS]
        sid, status, direction, from_, to, account_sid, parent, unit, answered_by, caller_name, forwarded_from = texts
        if not sid:
            raise ValueError("a call resource without a sid")
        # In the order of the fields above: by their names it would take twice as long to make one.
        return cls(
            sid,
            status,
            direction,
            from_,
            to,
            account_sid,
            parent or None,
            parse_date(get("date_created")),
            parse_date(get("date_updated")),
            parse_date(get("start_time")),
            parse_date(get("end_time")),
            parse_int(get("duration")),
            parse_price(get("price")),
            unit or None,
            answered_by or None,
            caller_name or None,
            forwarded_from or None,
            parse_int(get("queue_time")),
            resource,
            as_of,
        )

    @property
    def is_live(self) -> bool:
        """Whether the leg still exists."""
        return is_live(self.status)

    @property
    def is_final(self) -> bool:
        """Whether the leg has ended."""
        return is_final(self.status)

    def seconds_so_far(self, now: datetime) -> float | None:
        """Return its duration in seconds; of a live call, the seconds since it started or was created; else None.

        ``now`` is the time where the reply has no date.
        """
        began = self.start_time or self.date_created
        if self.duration is not None or not self.is_live or began is None:
            return self.duration
        return ((self.as_of or now) - began).total_seconds()

    def to_json(self) -> dict[str, Any]:
        """Return the resource with REST's field names, times in RFC 3339, and numbers for durations and prices."""
        # In the order in which the service sent it, which is that of its documentation. A list writes thousands.
        value = dict(self.resource)
        value["sid"] = self.sid
        value["parent_call_sid"] = self.parent_call_sid
        value["account_sid"] = self.account_sid or None
        value["status"] = self.status
        value["direction"] = self.direction or None
        value["from"] = self.from_ or None
        value["to"] = self.to or None
        value["date_created"] = format_date(self.date_created)
        value["date_updated"] = format_date(self.date_updated)
        value["start_time"] = format_date(self.start_time)
        value["end_time"] = format_date(self.end_time)
        value["duration"] = self.duration
        value["price"] = None if self.price is None else float(self.price)
        value["price_unit"] = self.price_unit
        value["answered_by"] = self.answered_by
        value["caller_name"] = self.caller_name
        value["forwarded_from"] = self.forwarded_from
        value["queue_time"] = self.queue_time
        return value
