"""What goes in and out: each request that the API received, and each that the simulator made, for whoever watches."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from callctl.simulator.network import Ask, Reply
from callctl.simulator.signature import bare

_log = logging.getLogger("callctl.simulator")


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
    """One request that the simulator made about a call, and what came of it; no reply where a fault dropped it.

    `url` is as it was given, without user and fragment.
    """

    method: str
    url: str
    call: str
    status: str
    reply: Reply | None

    @classmethod
    def of(cls, request: Ask, reply: Reply | None) -> "Sent":
        """Return what is to be told of a request."""
        try:
            url = bare(request.url)
        except ValueError:  # what was given can't be taken apart
            url = "no URL"
        return cls(request.method, url, request.params.get("CallSid", ""), request.params.get("CallStatus", ""), reply)


@dataclass(frozen=True, slots=True)
class Noted:
    """One error or warning that was added to a call's notifications, with Twilio's code."""

    call: str
    code: int
    text: str
    is_warning: bool


Traffic = Received | Sent | Noted
Witness = Callable[[Traffic], None]


def nobody(_traffic: Traffic) -> None:
    """Watch nothing."""


def harmless(witness: Witness) -> Witness:
    """Return a witness that changes nothing by what it raises: that is logged, and it is given what comes next."""

    def watch(traffic: Traffic) -> None:
        try:
            witness(traffic)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # pytest.fail() and a cancelled future raise no Exception
            _log.exception("the witness failed, and nothing else did")

    return watch
