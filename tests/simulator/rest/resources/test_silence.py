"""Files of silence: their length, and that a reader of such files takes them."""

import io
import wave

import pytest

from callctl.simulator.rest.resources.silence import CHUNK, MP3_BYTES, SilentFile, mp3, wav


async def content(file: SilentFile) -> bytes:
    pieces = [piece async for piece in file.pieces()]
    assert max(map(len, pieces)) <= CHUNK
    return b"".join(pieces)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("seconds", [0, 1, 2, 3, 599, 3600])
async def test_wav(seconds: int, channels: int) -> None:
    file = wav(seconds, channels)
    data = await content(file)
    assert len(data) == file.length
    with wave.open(io.BytesIO(data)) as sound:
        assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (channels, 2, 8000)
        assert sound.getnframes() == seconds * 8000
        samples = sound.readframes(sound.getnframes())
        assert samples.count(0) == len(samples)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("seconds", [0, 1, 2, 3, 599, 3600])
async def test_mp3(seconds: int, channels: int) -> None:
    file = mp3(seconds, channels)
    data = await content(file)
    assert len(data) == file.length
    frames = {data[begin : begin + MP3_BYTES] for begin in range(0, len(data), MP3_BYTES)}
    assert len(frames) == (1 if seconds else 0)
    for frame in frames:
        # Sync; MPEG-2, layer III, no checksum; bit rate 1 of its table (8 kbit/s), rate 2 (16 kHz); the channels.
        assert frame[:4] == bytes([0xFF, 0xF3, 0x18, 0xC0 if channels == 1 else 0])
        assert set(frame[4:]) == {0}
    exact = seconds * 1000  # milliseconds; a frame is 36 of them
    assert exact <= len(data) // MP3_BYTES * 36 < exact + 36
