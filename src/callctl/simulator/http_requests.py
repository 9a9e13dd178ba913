"""Requests in and out, as data: those that the simulator makes, and the record of each."""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar, NamedTuple

from callctl.support.urls import without_user_and_fragment

ACCOUNT = re.compile(r"^.*/Accounts/[^/]+(?=/)")  # what comes before the rest of each path of the API
_log = logging.getLogger("callctl.simulator")


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """One request to make: `params` travel as a form or, for GET, in the query; `token` names it across retries.

    `awaited` means that a call waits for the reply. `pair` names whose cookies go along; nobody's where it is empty.
    `kind` is document or callback.
    """

    url: str
    method: str
    params: Mapping[str, str]
    token: str = ""
    awaited: bool = False
    pair: str = ""
    kind: str = "document"


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply to a request: a status and a body, or why there is none; and after how many attempts."""

    status: int | None
    body: bytes = b""
    content_type: str = ""  # without its parameters, in lower case
    error: str = ""
    attempts: int = 1

    @property
    def ok(self) -> bool:
        """Whether it was answered with success."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as text; what is no UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace")


Cancel = Callable[[], object]  # stops something under way; harmless when it is over
# Make a request; the function gets the reply, unless the request is cancelled before.
Send = Callable[[OutgoingRequest, Callable[[Reply], None]], Cancel]


class Moment(NamedTuple):
    """When something was: in simulated seconds since the start or the last reset, and the time of day."""

    at: float
    time: datetime


BEFORE = Moment(0.0, datetime.min.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Received:
    """One request that the API received, and its answer, with Twilio's `code` where it was refused.

    `number` counts the records, received and sent, in the order in which they were answered. `when` it was received
    is another matter. `call` is the SID of the call that it placed or is about; empty where it is about none.
    Credentials are left out.
    """

    direction: ClassVar[str] = "received"
    kind: ClassVar[str] = "api"
    about: ClassVar[str] = ""

    method: str
    path: str
    query: Mapping[str, tuple[str, ...]]
    form: Mapping[str, tuple[str, ...]]
    headers: Mapping[str, str]
    reply: Reply
    code: int | None = None
    call: str = ""
    when: Moment = BEFORE
    number: int = 0

    @property
    def status(self) -> int:
        """HTTP's status of the answer."""
        return self.reply.status or 0

    @property
    def url(self) -> str:
        """Its path, as a request that was made has its URL."""
        return self.path

    @property
    def at(self) -> float:
        """When it was received, in simulated seconds since the start or the last reset."""
        return self.when.at

    @property
    def time(self) -> datetime:
        """The time of day when it was received."""
        return self.when.time

    @property
    def parameters(self) -> Mapping[str, tuple[str, ...]]:
        """What its query and its form say, each name with all its values."""
        return {**self.query, **self.form}


@dataclass(frozen=True, slots=True)
class Sent:
    """One request that the simulator made about a call, and its reply; none where a fault dropped it.

    `kind` is document, callback or stream. `url` is as it was given, without user and fragment. `about` is the call's
    status, else what else happened: the event of a conference or a stream, the status of a recording, or who answered.
    `call` is a conference's SID where it is about no call alone. `number` counts the records, received and sent, in
    the order in which they were answered. `when` it was made is another matter. The reply took so many
    `milliseconds` of real time.
    """

    direction: ClassVar[str] = "sent"
    code: ClassVar[None] = None

    method: str
    url: str
    call: str
    about: str
    reply: Reply | None
    kind: str = "callback"
    params: Mapping[str, str] = field(default_factory=dict)
    when: Moment = BEFORE
    number: int = 0
    milliseconds: int = 0

    @classmethod
    def of(cls, request: OutgoingRequest, reply: Reply | None, when: Moment, *, milliseconds: int = 0) -> "Sent":
        """Return the record of a request and its reply."""
        try:
            url = without_user_and_fragment(request.url)
        except ValueError:  # what was given can't be parsed
            url = "no URL"
        params = request.params
        call = params.get("CallSid") or params.get("ConferenceSid", "")
        said = ("CallStatus", "StatusCallbackEvent", "RecordingStatus", "StreamEvent", "AnsweredBy")
        about = next((params[name] for name in said if params.get(name)), "")
        return cls(request.method, url, call, about, reply, request.kind, params, when, milliseconds=milliseconds)

    @property
    def at(self) -> float:
        """When it was made, in simulated seconds since the start or the last reset."""
        return self.when.at

    @property
    def time(self) -> datetime:
        """The time of day when it was made."""
        return self.when.time

    @property
    def parameters(self) -> Mapping[str, tuple[str, ...]]:
        """What was sent along, as a form or in the query."""
        return {name: (value,) for name, value in self.params.items()}


@dataclass(frozen=True, slots=True)
class Noted:
    """One error or warning that was added to a call's notifications, with Twilio's code."""

    call: str
    code: int
    text: str
    is_warning: bool


Traffic = Received | Sent | Noted
OnTraffic = Callable[[Traffic], None]


def ignore(_traffic: Traffic) -> None:
    """Do nothing with a record."""


def logging_failures(on_traffic: OnTraffic) -> OnTraffic:
    """Return a function that passes records on and logs what it raises: the simulator goes on."""

    def report(traffic: Traffic) -> None:
        try:
            on_traffic(traffic)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # pytest.fail() and a cancelled future raise no Exception
            _log.exception("on_traffic failed, and nothing else did")

    return report
