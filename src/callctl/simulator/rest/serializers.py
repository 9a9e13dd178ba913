"""Resources as the API shows them: Twilio's keys, its formats, and null where there is no value (OAS)."""

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime

from callctl.simulator.errors import ApiError, more_info
from callctl.simulator.models import API_VERSION, Facts, Leg, Notification
from callctl.simulator.settings import Dialect, Settings
from callctl.simulator.switch.numbers import is_number

Json = dict[str, object]

_SUBRESOURCES = (
    "notifications",
    "recordings",
    "payments",
    "events",
    "siprec",
    "streams",
    "transcriptions",
    "user_defined_message_subscriptions",
    "user_defined_messages",
)


def account_path(settings: Settings) -> str:
    """Return the path of the account, without `.json`."""
    return f"{settings.base_path}/{API_VERSION}/Accounts/{settings.account_sid}"


def call(leg: Leg, facts: Facts, settings: Settings) -> Json:
    """Show a call."""
    dialect = settings.dialect
    path = f"{account_path(settings)}/Calls/{leg.sid}"
    return {
        "sid": leg.sid,
        "date_created": format_datetime(leg.created),
        "date_updated": format_datetime(facts.updated),
        "parent_call_sid": leg.parent.sid if leg.parent is not None else None,
        "account_sid": settings.account_sid,
        "to": leg.to,
        "to_formatted": formatted(leg.to),
        "from": leg.from_,
        "from_formatted": formatted(leg.from_),
        "phone_number_sid": leg.number_sid,
        "status": facts.status,
        "start_time": time(facts.started),
        "end_time": time(facts.ended),
        "duration": _duration(facts.duration, dialect),
        "price": None,  # null until rated (OAS), and nothing is rated here
        "price_unit": "USD",
        "direction": leg.direction,
        "answered_by": facts.answered_by,
        "annotation": None,
        "api_version": API_VERSION,
        "forwarded_from": None,
        "group_sid": None,
        "caller_name": None,
        "queue_time": str(facts.queue_time),
        "trunk_sid": None,
        "uri": f"{path}.json",
        "subresource_uris": _subresources(path, dialect),
    }


def notification(note: Notification, settings: Settings) -> Json:
    """Show an entry of a call's Notifications; the shape is that of Twilio's older documentation."""
    path = f"{account_path(settings)}/Calls/{note.call_sid}/Notifications/{note.sid}.json"
    return {
        "sid": note.sid,
        "account_sid": settings.account_sid,
        "call_sid": note.call_sid,
        "api_version": API_VERSION,
        "log": note.log,
        "error_code": str(note.code),
        "more_info": more_info(note.code),
        "message_text": note.text,
        "message_date": format_datetime(note.date),
        "request_url": note.url or None,
        "request_method": note.method or None,
        "date_created": format_datetime(note.date),
        "date_updated": format_datetime(note.date),
        "uri": path,
    }


def account(settings: Settings, created: datetime) -> Json:
    """Show the account."""
    path = account_path(settings)
    return {
        "sid": settings.account_sid,
        "owner_account_sid": settings.account_sid,
        "friendly_name": settings.account_name,
        "status": settings.account_status,
        "type": "Full",
        "auth_token": settings.auth_token,
        "date_created": format_datetime(created),
        "date_updated": format_datetime(created),
        "uri": f"{path}.json",
        "subresource_uris": {"calls": f"{path}/Calls.json"},
    }


def error(failure: ApiError, dialect: Dialect) -> tuple[int, Json]:
    """Show why a request was refused: the HTTP status and the body."""
    status = dialect.refusal_status if failure.status == 400 else failure.status
    body: Json = {
        "code": str(failure.code) if dialect.string_codes else failure.code,
        "message": failure.message,
        "more_info": more_info(failure.code),
        "status": status,
    }
    return status, body


def formatted(address: str) -> str:
    """Return a number as people of the US write it, anything else as it is."""
    us = re.fullmatch(r"\+1([0-9]{3})([0-9]{3})([0-9]{4})", address)
    if us is None or not is_number(address):
        return address
    return f"({us[1]}) {us[2]}-{us[3]}"


def time(moment: datetime | None) -> str | None:
    """Write a time as Twilio does: `Fri, 18 Oct 2019 17:00:00 +0000` (OAS)."""
    return None if moment is None else format_datetime(moment)


def _duration(seconds: int | None, dialect: Dialect) -> object:
    if seconds is None or dialect.number_fields:
        return seconds
    return str(seconds)


def _subresources(path: str, dialect: Dialect) -> Mapping[str, str]:
    if dialect.string_codes:  # Somleng shows none (SOM)
        return {}
    return {name: f"{path}/{''.join(part.title() for part in name.split('_'))}.json" for name in _SUBRESOURCES}
