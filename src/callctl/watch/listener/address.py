"""Where a listener is: on this machine, and as Twilio knows it; which URLs its requests may be signed over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from callctl.errors import without_secrets
from callctl.support.urls import is_loopback_host
from callctl.watch.listener.signature import Gate

DOCUMENTS: Final = "/twiml/"  # what is served lies below it, by name
_ANY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener is: bound to ``host`` and ``port``, and known to Twilio as ``public_url``, if at all.

    ``documents`` are the names of the TwiML documents that are served beside the callbacks.
    """

    host: str
    port: int
    path: str
    public_url: str | None
    documents: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """The address on this machine, without a path."""
        host = _ANY_ADDRESS.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def callback_url(self) -> str:
        """What to give Twilio: the public URL, or the local one where there is none."""
        return self.public_url or self.url + self.path

    @property
    def shown_url(self) -> str:
        """What may be told to anybody: the callback URL without the password that Twilio signs in with."""
        return without_secrets(self.callback_url)

    def document_url(self, name: str) -> str:
        """Return where Twilio finds a document: beside the callbacks, below whatever path a proxy puts before them."""
        return _beside(self.callback_url, self.path) + DOCUMENTS + name

    @property
    def signed_urls(self) -> dict[str, list[str]]:
        """The URLs over which a request may be signed, by the path here: the public one, and local simulators' ones."""
        local = [self.url, *([f"http://localhost:{self.port}"] if is_loopback_host(self.host) else [])]
        signed = {self.path: [*filter(None, [self.public_url]), *(url + self.path for url in local)]}
        for name in self.documents:
            path = DOCUMENTS + name
            public = [self.document_url(name)] if self.public_url else []
            signed[path] = [*public, *(url + path for url in local)]
        return signed

    def urls_at(self, path: str) -> list[str]:
        """Return over which URLs a request may be signed that came to another path than one of ours.

        That is this path below any of ours, or the callback URL itself where a proxy changes the path.
        """
        own = self.signed_urls[self.path]
        origins = [urlsplit(url)._replace(path="", query="", fragment="").geturl() for url in own]
        bases = (*origins, _beside(self.callback_url, self.path))
        return [*(base + end for base in bases for end in (path, path.rstrip("/"))), *own]

    @property
    def places(self) -> dict[str, str]:
        """The path here that a request's path stands for, by the public URL or not; without a slash at the end."""
        return {
            one.rstrip("/"): place
            for place, urls in self.signed_urls.items()
            for one in (urlsplit(urls[0]).path, place)
        }


def gates(
    address: Address, *, keys: Sequence[str] | None, other_keys: Sequence[str], account_sid: str | None
) -> dict[str, Gate]:
    """Return who lets requests in, by path; nobody stands there where ``keys`` is None.

    Raises:
        SettingsError: ``keys`` is empty.
    """
    if keys is None:
        return {}
    return {
        place: Gate(urls, keys=keys, other_keys=other_keys, account_sid=account_sid)
        for place, urls in address.signed_urls.items()
    }


def _beside(callback_url: str, path: str) -> str:
    parts = urlsplit(callback_url)
    root = parts.path.rstrip("/").removesuffix(path) if parts.path.rstrip("/").endswith(path) else ""
    return parts._replace(path=root, query="", fragment="").geturl()
