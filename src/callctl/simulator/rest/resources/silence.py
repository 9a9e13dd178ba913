"""Files of silence, of any length and as short in memory: what the simulator has recorded."""

import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass

RATE, SAMPLE_BYTES = 8000, 2  # of WAV: samples a second, and the bytes of each, as Twilio's files have them
MP3_RATE, MP3_SAMPLES, MP3_BYTES = 16000, 576, 36  # of MP3: samples a second, and the samples and bytes of a frame
# MPEG-2 layer III, 8 kbit/s at 16 kHz; the last byte says one channel or two. A frame of zeros behind it is silent.
MP3_MONO, MP3_STEREO = bytes((0xFF, 0xF3, 0x18, 0xC0)), bytes((0xFF, 0xF3, 0x18, 0x00))
CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class SilentFile:
    """A file: what it begins with, and a frame that is repeated so many times."""

    content_type: str
    header: bytes
    frame: bytes
    frames: int

    @property
    def length(self) -> int:
        """How many bytes it has."""
        return len(self.header) + len(self.frame) * self.frames

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield it piece by piece, since an hour is long."""
        yield self.header
        at_once = CHUNK // len(self.frame)
        piece, remaining = self.frame * min(at_once, self.frames), self.frames
        while remaining > 0:
            yield piece[: remaining * len(self.frame)]
            remaining -= at_once


def wav(seconds: int, channels: int) -> SilentFile:
    """Return so many seconds of one channel or two in WAV."""
    frame = bytes(SAMPLE_BYTES * channels)
    samples = seconds * RATE
    length = len(frame) * samples
    form = struct.pack("<HHIIHH", 1, channels, RATE, RATE * len(frame), len(frame), 8 * SAMPLE_BYTES)
    header = struct.pack("<4sI8sI", b"RIFF", 36 + length, b"WAVEfmt ", len(form)) + form
    return SilentFile("audio/x-wav", header + struct.pack("<4sI", b"data", length), frame, samples)


def mp3(seconds: int, channels: int) -> SilentFile:
    """Return so many seconds of one channel or two in MP3."""
    frame = (MP3_MONO if channels == 1 else MP3_STEREO).ljust(MP3_BYTES, b"\0")
    return SilentFile("audio/mpeg", b"", frame, -(-seconds * MP3_RATE // MP3_SAMPLES))
