"""Media streams: the sound of a call, which is silence here, and what an application sends back.

What the messages and callbacks say is in docs/twilio.md, "Media streams".
"""

import base64
import json
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from callctl.simulator.callbacks import Callbacks
from callctl.simulator.clock import Clock, Timer
from callctl.simulator.http_requests import Cancel
from callctl.simulator.settings import Settings
from callctl.simulator.sockets import Connect, Socket, SocketRequest
from callctl.simulator.switch.call_register import Register
from callctl.simulator.switch.leg import LiveLeg, Resume
from callctl.simulator.twiml.document import UNKNOWN_VERB
from callctl.simulator.twiml.verbs.stream import ConnectStream, StartStream, StopStream, StreamRequest

BYTES_PER_SECOND = 8000  # mu-law
FRAME_SECONDS = 0.02
ROUNDING = 1e-6
SILENCE = base64.b64encode(b"\xff" * round(BYTES_PER_SECOND * FRAME_SECONDS)).decode()
MOST_BACKLOG = 1000  # messages that may wait for an application that does not read; what exceeds it is lost
MOST_FRAMES = 1000  # that are sent at once, where the machine slept
PROTOCOL_ERROR, OVERFLOW = 31924, 31930
STARTED, STOPPED, ERROR = "stream-started", "stream-stopped", "stream-error"


class Streams:
    """The streams of every leg, until they end."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        wall: Callable[[], datetime],
        connect: Connect,
        callbacks: Callbacks,
        register: Register,
    ) -> None:
        self.account_sid = settings.account_sid
        self.clock = clock
        self.wall = wall
        self.connect = connect
        self.callbacks = callbacks
        self.register = register
        self._of_leg: dict[str, list[_Stream]] = {}

    def talk(self, leg: LiveLeg, step: ConnectStream, resume: Resume) -> Cancel:
        """Have a leg talk with an application until that closes the WebSocket."""
        stream = _Talk(self, leg, step.stream, lambda: resume(None))
        self._begin(leg, stream)
        return stream.stop

    def start(self, leg: LiveLeg, step: StartStream, _resume: Resume) -> None:
        """Have an application listen to a leg until it is stopped, or the call ends."""
        self._begin(leg, _Stream(self, leg, step.stream))

    def stop(self, leg: LiveLeg, step: StopStream, _resume: Resume) -> None:
        """Stop the stream of this name; it can be called by its SID, too (inferred)."""
        for stream in self._of_leg.get(leg.leg.sid, ()):
            if step.name and step.name in (stream.request.name, stream.sid):
                stream.stop()
                return
        leg.notify(UNKNOWN_VERB, f"<Stop>: the call has no stream with the name {step.name!r}")

    def forget(self, stream: "_Stream") -> None:
        """Drop a stream that is over."""
        streams = self._of_leg.get(stream.leg.leg.sid, [])
        if stream in streams:
            streams.remove(stream)

    def close(self) -> None:
        """Drop all, without a word."""
        of_legs, self._of_leg = self._of_leg, {}
        for streams in of_legs.values():
            for stream in streams:
                stream.drop()

    def _begin(self, leg: LiveLeg, stream: "_Stream") -> None:
        sid = leg.leg.sid
        if sid not in self._of_leg:
            self._of_leg[sid] = []
            leg.when_ending.append(lambda: self._end(sid))
        self._of_leg[sid].append(stream)
        stream.open()

    def _end(self, sid: str) -> None:
        """The call ends."""
        for stream in self._of_leg.pop(sid, ()):
            stream.stop()


class _Stream:
    """An application that listens to a leg; what happens at its WebSocket arrives here."""

    def __init__(self, streams: Streams, leg: LiveLeg, request: StreamRequest) -> None:
        leg.leg.streams += 1
        self.leg = leg
        self.request = request
        self.sid = streams.register.new_sid("MZ", leg.leg.key, leg.leg.streams)
        self._streams = streams
        self._clock: Clock = streams.clock
        self._socket: Socket | None = None
        self._timer: Timer | None = None
        self._is_over = False
        self._opened_at: float | None = None
        self._sequence = 0
        self._frames = 0
        self._noted: set[int] = set()

    def open(self) -> None:
        """Open the WebSocket, or fail in a moment."""
        if self.request.refusal is not None:
            code, text = self.request.refusal
            self._timer = self._clock.later(0.0, lambda: self.failed(code, text))
        else:
            self._socket = self._streams.connect(SocketRequest(self.request.url, self.leg.leg.sid), self)

    def stop(self) -> None:
        """End it from this side."""
        if self._is_over:
            return
        if self._opened_at is not None:
            self._send_frames()
            about = {"accountSid": self._streams.account_sid, "callSid": self.leg.leg.sid}
            self._send("stop", {"stop": about})
            self._report(STOPPED)
        self.drop()
        self._streams.forget(self)

    def drop(self) -> None:
        """Let go of what it holds."""
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            self._socket.close()

    # What happens at the WebSocket

    def opened(self) -> None:
        """Say what comes, and begin with it."""
        self._opened_at = self._clock.now()
        self._send_text(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        start = {
            "accountSid": self._streams.account_sid,
            "streamSid": self.sid,
            "callSid": self.leg.leg.sid,
            "tracks": list(self.request.tracks),
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": BYTES_PER_SECOND, "channels": 1},
            "customParameters": dict(self.request.parameters),
        }
        self._send("start", {"start": start})
        self._report(STARTED)
        self._pace()

    def received(self, text: str | None) -> None:  # noqa: ARG002
        """Nothing is listened to (ERR 31924)."""
        self._protocol_error("the application of <Start><Stream> may send nothing")

    def closed(self) -> None:
        """The application wants no more."""
        self._report(STOPPED)
        self._end()

    def failed(self, code: int, text: str) -> None:
        """There is no application to be had."""
        where = f"{self.request.url}: " if self.request.url else ""
        self._note(code, f"<Stream>: {where}{text}")
        self._report(ERROR, text)
        self._end()

    # Inside

    def _end(self) -> None:
        self.drop()
        self._streams.forget(self)

    def _pace(self) -> None:
        self._send_frames()
        self._timer = self._clock.later(self._clock.spacing(FRAME_SECONDS), self._pace)

    def _send_frames(self) -> None:
        """Send the sound until now, in frames; what comes behind it is in order then."""
        if self._opened_at is None:
            return
        due = int((self._clock.now() - self._opened_at) / FRAME_SECONDS + ROUNDING)
        self._frames = max(self._frames, due - MOST_FRAMES)
        while self._frames < due:
            self._frames += 1
            for track in self.request.tracks:
                self._send_frame(track)

    def _send_frame(self, track: str) -> None:
        if self._socket is not None and self._socket.backlog >= MOST_BACKLOG:
            self._note(OVERFLOW, "<Stream>: the application does not read its messages; sound is lost")
            return
        milliseconds = round(self._frames * FRAME_SECONDS * 1000)
        media = {"track": track, "chunk": str(self._frames), "timestamp": str(milliseconds), "payload": SILENCE}
        self._send("media", {"media": media})

    def _send(self, event: str, content: dict[str, object]) -> None:
        self._sequence += 1
        message = {"event": event, "sequenceNumber": str(self._sequence)} | content | {"streamSid": self.sid}
        self._send_text(json.dumps(message))

    def _send_text(self, text: str) -> None:
        if self._socket is not None:
            self._socket.send(text)

    def _protocol_error(self, text: str) -> None:
        self._note(PROTOCOL_ERROR, f"<Stream>: {text}; it was passed over")

    def _note(self, code: int, text: str) -> None:
        """Note an error of this stream; each kind is noted once."""
        if code not in self._noted:
            self._noted.add(code)
            self.leg.notify(code, text, url=self.request.url)

    def _report(self, event: str, error: str = "") -> None:
        subscription = self.request.subscription
        if subscription is None:
            return
        form = {
            "AccountSid": self._streams.account_sid,
            "CallSid": self.leg.leg.sid,
            "StreamSid": self.sid,
            "StreamName": self.request.name or self.sid,
            "StreamEvent": event,
            "Timestamp": self._streams.wall().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        if error:
            form["StreamError"] = error
        self._streams.callbacks.report(event, subscription, form, key=self.sid, leg=self.leg.leg)


class _Talk(_Stream):
    """An application that a leg talks with: it hears keys as well, and what it sends is played."""

    def __init__(self, streams: Streams, leg: LiveLeg, request: StreamRequest, on_end: Callable[[], None]) -> None:
        super().__init__(streams, leg, request)
        self._on_end = on_end
        self._stop_listening: Cancel = lambda: None
        self._played_at = 0.0  # the simulated moment at which all that was sent has been played
        self._marks: deque[tuple[float, str]] = deque()  # each with the moment at which it comes back
        self._marks_timer: Timer | None = None

    def opened(self) -> None:
        """Say what comes, and hear keys from now on."""
        super().opened()
        self._listen()

    def drop(self) -> None:
        """Let go of what it holds."""
        self._stop_listening()
        if self._marks_timer is not None:
            self._marks_timer.cancel()
        super().drop()

    def received(self, text: str | None) -> None:
        """Do what the application says."""
        try:
            self._obey(json.loads(text or ""))
        except (ValueError, KeyError, TypeError, RecursionError):  # binascii.Error is a ValueError
            self._protocol_error(f"{(text or 'a message of bytes')[:80]!r} is no media, mark or clear message")

    def _end(self) -> None:
        super()._end()
        self._on_end()

    def _listen(self) -> None:
        self._stop_listening = self.leg.listen(None, self._pressed)

    def _pressed(self, key: object) -> None:
        self._listen()
        self._send_frames()
        self._send("dtmf", {"dtmf": {"track": "inbound_track", "digit": str(key)}})

    def _obey(self, message: Any) -> None:
        now = self._clock.now()
        match message["event"]:
            case "media":
                sound = base64.b64decode(message["media"]["payload"], validate=True)
                self._played_at = max(self._played_at, now) + len(sound) / BYTES_PER_SECOND
            case "mark":
                self._marks.append((max(self._played_at, now), str(message["mark"]["name"])))
                self._return_marks()
            case "clear":
                self._played_at = now
                self._marks = deque((now, name) for _, name in self._marks)
                self._return_marks()
            case _:
                raise ValueError("no event that is known")

    def _return_marks(self) -> None:
        """Send back the marks that have been reached, and wait for the next one."""
        now = self._clock.now()
        reached = now + ROUNDING
        if self._marks and self._marks[0][0] <= reached:
            self._send_frames()
        while self._marks and self._marks[0][0] <= reached:
            _, name = self._marks.popleft()
            self._send("mark", {"mark": {"name": name}})
        if self._marks_timer is not None:
            self._marks_timer.cancel()
        self._marks_timer = self._clock.later(self._marks[0][0] - now, self._return_marks) if self._marks else None
