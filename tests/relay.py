"""A tunnel as a program of its own: it passes connections at a free port on to another port, and prints its address.

``relay.py PORT [print-after FILE | listen-after FILE | end-after FILE [WORDS] | move-after FILE]``: it does that only
once the file is there. To move is to have another address, and to print that. With ``hold-while FILE`` nothing comes
through, in either direction, while the file is there, and then all of it does: as where a network is cut for a while.
With ``elsewhere-while FILE`` it is at another address while the file is there, and then at its first one again.
``relay.py PORT log [URL]`` prints a URL for each connection, below its own address, or one with the number for ``%d``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import sys
from collections.abc import Awaitable, Callable

Join = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def main(port: int, late: str = "", file: str = "", last: str = "giving up") -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{held.getsockname()[1]}"
        numbers = itertools.count()

        async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if late == "log":
                _say((file or f"{address}/requests/%d") % next(numbers))
            with contextlib.suppress(OSError):
                inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
                held_by = file if late == "hold-while" else None
                await asyncio.gather(_copy(reader, inner_writer, held_by), _copy(inner_reader, writer, held_by))
            writer.close()

        if late == "elsewhere-while":
            await _alternate(held, join, file)
        if late == "listen-after":
            _say(address)
            await _until_there(file)
        async with await asyncio.start_server(join, sock=held):
            if late == "print-after":
                await _until_there(file)
            if late != "listen-after":
                _say(address)
            await _until_there(file if late in ("end-after", "move-after") else "/nowhere")
            if late == "end-after":
                _say(last)
                os._exit(7)
    await main(port)


async def _alternate(first: socket.socket, join: Join, file: str) -> None:
    with socket.socket() as second:
        second.bind(("127.0.0.1", 0))
        ports = [held.getsockname()[1] for held in (first, second)]
    first.close()
    for turn in itertools.count():
        port = ports[turn % 2]
        async with await asyncio.start_server(join, "127.0.0.1", port):
            _say(f"http://127.0.0.1:{port}")
            while os.path.exists(file) is (turn % 2 == 1):  # noqa: ASYNC110, ASYNC240, PTH110 - a test makes and removes it
                await asyncio.sleep(0.01)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def _until_there(file: str) -> None:
    while not os.path.exists(file):  # noqa: ASYNC110, ASYNC240, PTH110 - another process makes it
        await asyncio.sleep(0.01)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, held_by: str | None) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65536):
            while held_by is not None and os.path.exists(held_by):  # noqa: ASYNC110, ASYNC240, PTH110
                await asyncio.sleep(0.01)
            writer.write(chunk)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
