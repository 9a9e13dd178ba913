"""<Connect> and its <Stream>: the sound of a call goes to an application by WebSocket."""

from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from callctl.simulator.models import Subscription
from callctl.simulator.sockets import MALFORMED_URL
from callctl.simulator.twiml.document import UNKNOWN_VERB, Document, Outcome, Verb
from callctl.simulator.twiml.elements import Element
from callctl.simulator.twiml.steps import Note, Step

UNSUPPORTED_SCHEME, INVALID_TRACK = 31922, 31941
TRACKS = {
    "inbound_track": ("inbound",),
    "outbound_track": ("outbound",),
    "both_tracks": ("inbound", "outbound"),
}
INBOUND = "inbound_track"


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """A stream to open: `url` is absolute, `tracks` are those that are sent.

    `refusal` is Twilio's code and words for why it can't be opened, where that is clear before.
    """

    url: str
    name: str
    tracks: tuple[str, ...]
    parameters: tuple[tuple[str, str], ...]
    subscription: Subscription | None
    refusal: tuple[int, str] | None


@dataclass(frozen=True, slots=True)
class ConnectStream(Step[None]):
    """Talk with an application until it closes the WebSocket, or can't be reached."""

    stream: StreamRequest


@dataclass(frozen=True, slots=True)
class StartStream(Step[None]):
    """Let an application listen from now on; done at once."""

    stream: StreamRequest


@dataclass(frozen=True, slots=True)
class StopStream(Step[None]):
    """Let the application of this name listen no longer; done at once."""

    name: str


@dataclass(frozen=True, slots=True)
class Stream:
    """One <Stream>, whose addresses are as the document has them."""

    url: str
    name: str
    track: str
    callback_url: str
    callback_method: str
    parameters: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, element: Element) -> "Stream":
        """Read it."""
        return cls(
            url=element.url("url"),
            name=element.get("name").strip(),
            track=element.get("track", INBOUND).strip(),
            callback_url=element.url("statusCallback"),
            callback_method=element.method("statusCallbackMethod"),
            parameters=tuple((each.get("name"), each.get("value")) for each in element.take("Parameter")),
        )

    async def request(self, document: Document, *, tracks: tuple[str, ...]) -> StreamRequest:
        """Return the request for it, with one of these tracks."""
        url, refusal = socket_url(document.url, self.url)
        if urlsplit(url).query:
            await Note(UNKNOWN_VERB, f"<Stream>: the query of {self.url!r} is not sent; use <Parameter>")
        if refusal is None and self.track not in tracks:
            refusal = INVALID_TRACK, f"track {self.track!r} is none of {', '.join(tracks)}"
        callback = await document.link(self.callback_url, "statusCallback")
        return StreamRequest(
            url=url,
            name=self.name,
            tracks=TRACKS.get(self.track, ()),
            parameters=tuple((name, value) for name, value in self.parameters if name),
            subscription=Subscription(callback, self.callback_method) if callback else None,
            refusal=refusal,
        )


def socket_url(base: str, url: str) -> tuple[str, tuple[int, str] | None]:
    """Return the absolute address of a WebSocket; empty, with Twilio's code and words, where it is none."""
    try:
        given = urlsplit(url)
        joined = urlsplit(url if given.scheme else urljoin(base, url))
        is_url = bool(url and joined.hostname)
        _ = joined.port
    except ValueError:
        is_url = False
    if not is_url:
        return "", (MALFORMED_URL, f"url {url!r} is no address")
    if given.scheme and given.scheme != "wss":
        words = f"url {url!r}: only wss: is supported; to an application on this machine it works without TLS, too"
        return "", (UNSUPPORTED_SCHEME, words)
    return joined._replace(scheme="wss").geturl(), None


@dataclass(frozen=True, slots=True)
class Connect(Verb):
    """Talk with an application, and go on when it ends that: at the action, or the next verb."""

    stream: Stream | None
    action: str
    method: str

    @classmethod
    def read(cls, element: Element) -> "Connect":
        """Read it; what else it may connect with stays unread, and is passed over with what would follow it."""
        streams = element.take("Stream", most=1)
        return cls(Stream.read(streams[0]) if streams else None, element.url("action"), element.method())

    async def run(self, document: Document) -> Outcome:
        """Talk, and go on."""
        if self.stream is None:
            return None
        await ConnectStream(await self.stream.request(document, tracks=(INBOUND,)))
        return await document.go_to(self.action, self.method) if self.action else None
