"""The options of a watch as data, and where it listens once it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from callctl.errors import PortTakenError, without_secrets
from callctl.watch.listener.twiml_responder import Documents
from callctl.watch.monitoring import MonitoringAddress
from callctl.watch.registry.record import WatchRecord
from callctl.watch.tunnel.ngrok import NGROK_AGENT


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """The options of a watch.

    ``public_url`` is where Twilio reaches it, path included; ``tunnel`` the command that brings it there; ``agent``
    the local API of an ngrok agent that may run. With ``unverified`` unsigned callbacks are accepted, and through a
    public address only if ``forgeries_accepted``. ``forward_to`` are the URLs to which requests are passed on; with
    ``forward_insecure`` they may have any certificate. ``since`` is how far back a start looks; ``keep_days`` for how
    many days the store keeps events, 0 for none beyond the run. ``is_service``: it is ``callctl listen``, which shows
    no calls; ``monitoring`` is where it answers those who watch over it.
    """

    host: str
    port: int
    path: str = "/status"
    public_url: str | None = None
    tunnel: str | None = None
    agent: str = NGROK_AGENT
    unverified: bool = False
    forgeries_accepted: bool = False
    documents: Documents = field(default_factory=Documents)
    forward_to: tuple[str, ...] = ()
    forward_insecure: bool = False
    title: str = "watch"
    since: timedelta = timedelta(hours=1)
    keep_days: int = 30
    is_service: bool = False
    monitoring: MonitoringAddress | None = None

    @property
    def acts(self) -> bool:
        """Whether it is to do more than show calls, so that following another watch is not enough."""
        return bool(self.is_service or self.tunnel or self.documents.files or self.forward_to)

    @property
    def drains(self) -> bool:
        """Whether SIGTERM lets what is under way be answered: calls may wait for the TwiML of an application."""
        return bool(self.is_service or self.forward_to)


@dataclass(frozen=True, slots=True)
class Ready:
    """Where a watch listens, as data. ``documents`` are the URLs of what it serves; ``follows`` names the process whose
    store it reads, where it does not listen itself; ``follows_service``: that is ``callctl listen``. ``machine`` is
    where that runs, if it is known by what it announced alone. A password in a URL is there in clear; ``to_json``
    leaves it out.
    """

    host: str
    port: int
    callback_url: str
    health_url: str
    api_url: str
    account_sid: str
    is_twilio: bool
    is_reachable: bool = True
    documents: Mapping[str, str] = field(default_factory=dict)
    follows: int | None = None
    follows_service: bool = False
    machine: str = ""
    monitoring_url: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields of the ``ready`` record."""
        return {
            "host": self.host,
            "port": self.port,
            "callback_url": without_secrets(self.callback_url),
            "health_url": self.health_url,
            "api_url": self.api_url,
            "account_sid": self.account_sid,
            "documents": {name: without_secrets(url) for name, url in self.documents.items()},
            "follows": self.follows,
            **({} if self.monitoring_url is None else {"monitoring_url": self.monitoring_url}),
        }


class WatchAtPortError(PortTakenError):
    """The port is held by a watch of the same account and API address, whose ``record`` this is."""

    def __init__(self, record: WatchRecord, *, port: int) -> None:
        super().__init__(
            f"the port {port} is taken by a {record.noun} of the same account (process {record.pid})",
            hint="stop that one first, or start another with --port",
        )
        self.record = record
