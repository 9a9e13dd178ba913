"""Where a listener is: on this machine, and as Twilio knows it; which URLs its requests may be signed over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from callctl.errors import without_secrets
from callctl.support.urls import is_loopback_host

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
        """The callback URL as it may be shown: without the password that Twilio signs in with."""
        return without_secrets(self.callback_url)

    def document_url(self, name: str) -> str:
        """Return where Twilio finds a document: beside the callbacks, below whatever path a proxy puts before them."""
        return base_of(self.callback_url, self.path) + DOCUMENTS + name

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

    @property
    def https_hosts(self) -> frozenset[str]:
        """The hosts, with their ports, of our https URLs, in small letters."""
        parts = (urlsplit(url) for url in self._callback_urls)
        return frozenset(one.netloc.rpartition("@")[2].lower() for one in parts if one.scheme == "https")

    def urls_at(self, path: str) -> list[str]:
        """Return the URLs that this path has below any address of ours, whether it is served here or not."""
        origins = [_origin(url) for url in self._callback_urls]
        return [base + path for base in (*origins, base_of(self.callback_url, self.path))]

    def public_url_at(self, path: str) -> str:
        """Return the URL that this path has where it comes as it was requested."""
        return _origin(self.callback_url) + path

    @property
    def folder(self) -> str:
        """The path that the public URL has before ours; a proxy may take it away, and a tunnel does not."""
        return urlsplit(base_of(self.callback_url, self.path)).path

    def misdirected_urls(self, path: str) -> list[str]:
        """Return the URLs over which a request may be signed that came to a path that is not served here.

        They are this path below any address of ours, or the callback URL itself where a proxy changes the path.
        """
        return [*self.urls_at(path), *self.urls_at(path.rstrip("/")), *self._callback_urls]

    @property
    def _callback_urls(self) -> list[str]:
        return self.signed_urls[self.path]

    @property
    def paths(self) -> dict[str, str]:
        """The path here by the path of a request, which may be that of the public URL; without a slash at the end."""
        return {
            requested.rstrip("/"): path
            for path, urls in self.signed_urls.items()
            for requested in (urlsplit(urls[0]).path, path)
        }


def _origin(url: str) -> str:
    return urlsplit(url)._replace(path="", query="", fragment="").geturl()


def base_of(callback_url: str, path: str) -> str:
    """Return the URL below which a listener's paths are, where a proxy may put another path before its own ``path``."""
    parts = urlsplit(callback_url)
    root = parts.path.rstrip("/").removesuffix(path) if parts.path.rstrip("/").endswith(path) else ""
    return parts._replace(path=root, query="", fragment="").geturl()
