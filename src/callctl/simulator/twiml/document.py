"""A document as its verbs see it: where it came from, where it goes on, and what of it can't be imitated."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from urllib.parse import urljoin, urlsplit

from callctl.simulator.http_requests import Reply
from callctl.simulator.models import Source
from callctl.simulator.twiml.steps import Fetch, Note, ScriptEnd

HTTP_FAILURE, UNKNOWN_VERB = 11200, 12200
HTTP_SCHEMES = frozenset({"http", "https"})


@dataclass(frozen=True, slots=True)
class Next:
    """The next document to run, and what its request carries besides the leg's parameters."""

    source: Source
    params: dict[str, str] = field(default_factory=dict)


# What a verb leads to: another document, the end of the script, or (None) the next verb.
Outcome = Next | ScriptEnd | None


class Verb(ABC):
    """One verb of a document, read and ready to run."""

    @abstractmethod
    async def run(self, document: "Document") -> Outcome:
        """Do what it does to its leg."""

    def leaves_ringing(self, *, is_first: bool) -> bool:  # noqa: ARG002
        """Return whether a call that is not answered stays so: most verbs answer it."""
        return False


@dataclass(frozen=True, slots=True)
class Document:
    """A document under way: the URL it came from (empty when it came with the REST request), and its source.

    Only the verbs `allowed` are run in it, where that is not None.
    """

    url: str
    method: str
    source: Source
    allowed: frozenset[str] | None = None

    async def go_to(
        self, url: str, method: str, params: dict[str, str] | None = None, *, code: int = HTTP_FAILURE
    ) -> Next | ScriptEnd:
        """Go to another document; an empty URL is the present one's. Failing, it falls back as the first would."""
        target = absolute(self.url, url)
        if not target:
            text = f"HTTP retrieval failure: {why_none(self.url, url)}"
            await Note(code, text, url=url, method=method)
            if not self.source.fallback_url:
                return ScriptEnd.FAILED
            target, method = self.source.fallback_url, self.source.fallback_method
        return Next(replace(self.source, url=target, method=method, twiml=None), params or {})

    async def link(self, url: str, attribute: str) -> str:
        """Return an attribute's URL as an absolute one; empty, and noted, when it can't be requested."""
        target = absolute(self.url, url) if url else ""
        if url and not target:
            await Note(HTTP_FAILURE, f"HTTP retrieval failure: {attribute} {why_none(self.url, url)}")
        return target


def absolute(base: str, url: str) -> str:
    """Return a document's URL as an absolute one; empty when it can't be requested."""
    try:
        joined = urljoin(base, url) if base else url
        parts = urlsplit(joined)
    except ValueError:
        return ""
    return joined if parts.scheme in HTTP_SCHEMES and parts.hostname else ""


def why_none(base: str, url: str) -> str:
    """Say why a document's URL can't be requested."""
    if base:
        return f"{url!r} is no http or https URL"
    return f"{url!r} is no whole URL, and a document that came as Twiml has none that it could be relative to"


async def fetch(url: str, method: str, params: dict[str, str]) -> Reply:
    """Request a URL for the leg; note it when that fails."""
    reply = await Fetch(url, method, params)
    if not reply.ok:
        why = reply.error or f"answered {reply.status}"
        await Note(HTTP_FAILURE, f"HTTP retrieval failure: {why}", url=url, method=method)
    return reply
