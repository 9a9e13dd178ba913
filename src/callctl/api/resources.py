"""Other resources of the API than calls: the account, its numbers and applications, notifications and participants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from callctl.errors import without_secrets
from callctl.support.dates import parse_date
from callctl.support.parsing import parse_text

# What the form of a notification's text has (docs/twilio.md, "Notifications").
_NOTE_FIELDS = frozenset({"Msg", "ErrorCode", "LogLevel", "EmailNotification"})


@dataclass(frozen=True, slots=True)
class Account:
    """An account (OAS, account).

    Attributes:
        sid: Its SID.
        name: What its owner calls it.
        status: ``active``, ``suspended`` or ``closed``.
        type: ``Trial`` or ``Full``.
        owner_sid: The main account's SID; its own if it is no subaccount.
        primary_token: The auth token that signs its callbacks (docs/twilio.md, "Signatures"), where the API shows it.
    """

    sid: str
    name: str
    status: str
    type: str
    owner_sid: str
    primary_token: str | None = field(default=None, repr=False)

    @classmethod
    def from_resource(cls, resource: Mapping[str, Any]) -> Account:
        """Read the JSON object of a reply; what it lacks is empty.

        Raises:
            ValueError: It is no account.
        """
        text = _texts_of(resource)
        if not text("sid"):
            raise ValueError("no account: it has no sid")
        return cls(
            sid=text("sid"),
            name=text("friendly_name"),
            status=text("status"),
            type=text("type"),
            owner_sid=text("owner_account_sid"),
            primary_token=text("auth_token") or None,
        )


@dataclass(frozen=True, slots=True)
class Notification:
    """An error or a warning that Twilio noted for a call (OAS, call notification)."""

    sid: str
    code: str | None
    level: str
    message: str
    more_info: str | None
    request_url: str | None
    date: datetime | None

    @classmethod
    def from_resource(cls, resource: Mapping[str, Any]) -> Notification:
        """Read the JSON object of a reply. ``log`` is ``0`` for errors and ``1`` for warnings (OAS)."""
        text = _texts_of(resource)
        return cls(
            sid=text("sid"),
            code=text("error_code") or None,
            level={"0": "error", "1": "warning"}.get(text("log"), text("log")),
            message=without_secrets(_message_in(text("message_text"))),
            more_info=text("more_info") or None,
            request_url=without_secrets(text("request_url")) or None,
            date=parse_date(resource.get("message_date")),
        )

    def masked(self) -> Notification:
        """Return the same with the numbers in its message and its URL masked."""
        from callctl.calls.masked_numbers import masked

        url = None if self.request_url is None else masked(self.request_url)
        return replace(self, message=masked(self.message), request_url=url)


def _message_in(text: str) -> str:
    """Return the message of a notification: it is sent as a form within the field, under ``Msg``, or as plain words.

    The other fields of the form are no message: one is a URL, with all that was sent to it.
    """
    form = parse_qs(text, keep_blank_values=True)
    if not form.keys() & _NOTE_FIELDS:
        return text
    return form.get("Msg", [""])[0] or "no message"


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A number of the account, and who handles its calls (OAS, incoming phone number).

    Attributes:
        number: The number in E.164; its SID where the API shows none.
        sid: Its SID.
        voice_url: Where its TwiML is.
        voice_method: By which method; empty where the API shows none.
        voice_fallback_url: Where it is requested if that fails.
        status_callback: Where the end of its calls is reported.
        status_callback_method: By which method; empty where the API shows none.
        application_sid: The application whose URLs count instead of these two, if there is one.
        trunk_sid: The trunk that its calls go to without TwiML, if there is one.
    """

    number: str
    sid: str = ""
    voice_url: str = ""
    voice_method: str = ""
    voice_fallback_url: str = ""
    status_callback: str = ""
    status_callback_method: str = ""
    application_sid: str = ""
    trunk_sid: str = ""

    @classmethod
    def from_resource(cls, resource: Mapping[str, Any]) -> PhoneNumber:
        """Read the JSON object of a reply; what it lacks is empty."""
        text = _texts_of(resource)
        return cls(
            number=text("phone_number") or text("sid"),
            sid=text("sid"),
            application_sid=text("voice_application_sid"),
            trunk_sid=text("trunk_sid"),
            **_urls_of(text),
        )


@dataclass(frozen=True, slots=True)
class Application:
    """Who handles the calls of the numbers that name it (OAS, application); its fields are as those of a number."""

    sid: str
    voice_url: str = ""
    voice_method: str = ""
    voice_fallback_url: str = ""
    status_callback: str = ""
    status_callback_method: str = ""

    @classmethod
    def from_resource(cls, resource: Mapping[str, Any]) -> Application:
        """Read the JSON object of a reply; what it lacks is empty."""
        text = _texts_of(resource)
        return cls(sid=text("sid"), **_urls_of(text))


def _urls_of(text: Callable[[str], str]) -> dict[str, str]:
    """Return the URLs, with their methods, of what handles calls: a number's or an application's."""
    names = ("voice_url", "voice_method", "voice_fallback_url", "status_callback", "status_callback_method")
    return {name: text(name) for name in names}


@dataclass(frozen=True, slots=True)
class Participant:
    """A call in a conference (OAS, conference participant); ``label`` is empty where it has none."""

    call_sid: str
    label: str = ""
    is_muted: bool = False
    is_on_hold: bool = False
    is_coaching: bool = False

    @classmethod
    def from_resource(cls, resource: Mapping[str, Any]) -> Participant:
        """Read the JSON object of a reply; what it lacks is empty, or not so."""
        text = _texts_of(resource)
        flags = (resource.get(name) is True for name in ("muted", "hold", "coaching"))
        return cls(text("call_sid"), text("label"), *flags)


def _texts_of(resource: Mapping[str, Any]) -> Callable[[str], str]:
    """Return what reads a field of a resource as text; empty where it is absent."""
    return lambda name: parse_text(resource.get(name))
