"""How much the simulator takes, and how late its events are: `python benchmarks/simulator.py`.

Calls are placed evenly, each living 60 seconds with two child legs, so that `--calls` are in flight; all legs tell all
events to a receiver in another process. The simulator runs in a third. What is printed was measured from outside:
processor time of the simulator's process, and for each callback the time from when it was due (counted from just before
the call was placed) to its arrival, which includes both ways over HTTP.
"""

import argparse
import asyncio
import multiprocessing
import sys
import time
from multiprocessing.connection import Connection
from urllib.parse import parse_qsl

import aiohttp
from aiohttp import web

from callctl.simulator import Simulator

LIFE = 60.0  # seconds
WINNER, LOSER = "+12025550100", "+12025550101"
EVENTS = "initiated ringing answered completed"
# When each event of a call is due, in seconds from its request: dialled after 0.1, rings 0.2 later, answered 2 later;
# then the Dial does the same, the loser is canceled at the answer, and the conversation ends 50 seconds after it.
DUE = {
    ("parent", "initiated"): 0.1,
    ("parent", "ringing"): 0.3,
    ("parent", "in-progress"): 2.3,
    (WINNER, "initiated"): 2.3,
    (LOSER, "initiated"): 2.3,
    (WINNER, "ringing"): 2.5,
    (LOSER, "ringing"): 2.5,
    (WINNER, "in-progress"): 4.5,
    (LOSER, "canceled"): 4.5,
    (WINNER, "completed"): 54.5,
    ("parent", "completed"): LIFE,
}
Arrival = tuple[str, str, str, float]  # the parent's SID, which leg, the status, when


def receive(pipe: Connection) -> None:
    """Take callbacks in a process of its own; send what arrived when asked for it."""

    async def main() -> None:
        arrivals: list[Arrival] = []

        async def take(request: web.Request) -> web.Response:
            now = time.monotonic()
            form = dict(parse_qsl((await request.read()).decode()))
            parent = form.get("ParentCallSid")
            arrivals.append((parent or form["CallSid"], form["To"] if parent else "parent", form["CallStatus"], now))
            return web.Response(status=204)

        app = web.Application()
        app.router.add_post("/", take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(f"http://127.0.0.1:{runner.addresses[0][1]}/")
        await asyncio.to_thread(pipe.recv)
        pipe.send(arrivals)

    asyncio.run(main())


def simulate(pipe: Connection) -> None:
    """Run the simulator in a process of its own; send its processor time whenever asked."""
    with Simulator() as sim:
        pipe.send((sim.url, sim.account_sid, sim.auth_token))
        while pipe.recv():
            pipe.send(time.process_time())


class Placer:
    """Places calls evenly and remembers when."""

    def __init__(self, facts: tuple[str, str, str], receiver: str) -> None:
        url, account, token = facts
        self._url = f"{url}/2010-04-01/Accounts/{account}/Calls.json"
        self._headers = {"Authorization": aiohttp.encode_basic_auth(account, token)}
        told = f'statusCallback="{receiver}" statusCallbackEvent="{EVENTS}"'
        nouns = f"<Number {told}>{WINNER}</Number><Number {told}>{LOSER}</Number>"
        document = f'<Response><Dial timeLimit="50">{nouns}</Dial><Pause length="5.5"/></Response>'
        self._form = [("To", WINNER), ("From", "+15005550006"), ("Twiml", document), ("StatusCallback", receiver)]
        self._form += [("StatusCallbackEvent", event) for event in EVENTS.split()]
        self.placed: dict[str, float] = {}

    async def place_evenly(self, *, rate: float, seconds: float) -> None:
        """Place so many calls a second, for so long."""
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            began = time.monotonic()
            for number in range(int(rate * seconds)):
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                group.create_task(self._place(session))

    async def _place(self, session: aiohttp.ClientSession) -> None:
        now = time.monotonic()
        async with session.post(self._url, data=self._form, headers=self._headers) as reply:
            body = await reply.json()
            if reply.status != 201:
                raise RuntimeError(f"not placed: {body}")
            self.placed[body["sid"]] = now


def processor_time(pipe: Connection) -> float:
    """Ask the simulator's process for the processor time it has used, in seconds."""
    pipe.send(True)
    used: float = pipe.recv()
    return used


def lateness(arrivals: list[Arrival], placed: dict[str, float]) -> list[float]:
    """Return how late each callback arrived, in seconds, the least late first."""
    return sorted(when - placed[sid] - DUE[leg, status] for sid, leg, status, when in arrivals if sid in placed)


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def share(values: list[float], part: float) -> float:
    """Return the value below which this part of the values lies."""
    return values[min(int(len(values) * part), len(values) - 1)]


def measure(calls: int, seconds: float) -> bool:
    """Run, print, and tell whether the promise was kept."""
    context = multiprocessing.get_context("spawn")
    (near, far), (listener, other) = context.Pipe(), context.Pipe()
    processes = [context.Process(target=simulate, args=(far,)), context.Process(target=receive, args=(other,))]
    for process in processes:
        process.start()
    placer = Placer(near.recv(), listener.recv())
    rate = calls / LIFE

    async def run() -> tuple[float, float]:
        placing = asyncio.create_task(placer.place_evenly(rate=rate, seconds=LIFE + seconds))
        await asyncio.sleep(LIFE)  # from now on as many end as begin
        used, began = processor_time(near), time.monotonic()
        await placing
        window = time.monotonic() - began
        used = processor_time(near) - used
        await asyncio.sleep(LIFE + 2)
        return used, window

    used, window = asyncio.run(run())
    listener.send(True)
    arrivals: list[Arrival] = listener.recv()
    near.send(False)
    for process in processes:
        process.join(10)
    late = lateness(arrivals, placer.placed)
    expected = len(placer.placed) * len(DUE)
    say(f"calls in flight      {calls}, {len(placer.placed)} placed at {rate:.1f} a second")
    say(f"callbacks            {len(arrivals)} of {expected}, {rate * len(DUE):.0f} a second")
    say(f"processor            {used / window:.2f} of one core over {window:.0f} s")
    told = ", ".join(f"{name} {share(late, part) * 1000:.0f} ms" for name, part in (("50 %", 0.5), ("99 %", 0.99)))
    say(f"events arrive after  {told}, the last {late[-1] * 1000:.0f} ms")
    return used / window < 1 and share(late, 0.99) < 0.25 and len(arrivals) == expected


def main() -> int:
    """Parse the command line; the exit code tells whether the promise was kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1000, help="calls in flight")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to measure")
    chosen = parser.parse_args()
    return 0 if measure(chosen.calls, chosen.seconds) else 1


if __name__ == "__main__":
    sys.exit(main())
