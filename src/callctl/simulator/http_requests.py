"""Requests in and out, as data: those that the simulator makes, and a record of all of them for ``on_traffic``."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from callctl.support.urls import without_user_and_fragment

_log = logging.getLogger("callctl.simulator")


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """One request to make: `params` travel as a form or, for GET, in the query; `token` names it across retries.

    `awaited` means that a call waits for the reply. `pair` names whose cookies go along; nobody's where it is empty.
    """

    url: str
    method: str
    params: Mapping[str, str]
    token: str = ""
    awaited: bool = False
    pair: str = ""


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


Cancel = Callable[[], object]  # stops something under way; harmless when it is over
# Make a request; the function gets the reply, unless the request is cancelled before.
Send = Callable[[OutgoingRequest, Callable[[Reply], None]], Cancel]


@dataclass(frozen=True, slots=True)
class Received:
    """One request that the API received, and its answer: HTTP's status, and Twilio's code where it was refused.

    Credentials are left out.
    """

    method: str
    path: str
    query: Mapping[str, str]
    form: Mapping[str, tuple[str, ...]]
    headers: Mapping[str, str]
    status: int
    code: int | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """One request that the simulator made about a call, and its reply; none where a fault dropped it.

    `url` is as it was given, without user and fragment. `status` is the call's, else what else happened: the event of a
    conference or a stream, the status of a recording, or who answered. `call` is a conference's SID where it is about
    no call alone.
    """

    method: str
    url: str
    call: str
    status: str
    reply: Reply | None

    @classmethod
    def of(cls, request: OutgoingRequest, reply: Reply | None) -> "Sent":
        """Return the record of a request and its reply."""
        try:
            url = without_user_and_fragment(request.url)
        except ValueError:  # what was given can't be parsed
            url = "no URL"
        params = request.params
        about = params.get("CallSid") or params.get("ConferenceSid", "")
        said = ("CallStatus", "StatusCallbackEvent", "RecordingStatus", "StreamEvent", "AnsweredBy")
        status = next((params[name] for name in said if params.get(name)), "")
        return cls(request.method, url, about, status, reply)


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
