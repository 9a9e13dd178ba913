"""A server that answers at once, or after a set time, with replies made beforehand, in a process of its own.

The simulator would do, but its own work would be measured as well; here a list of 20,000 calls is bytes that lie ready.
"""

import asyncio
import json
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from aiohttp import web

ACCOUNT = "AC" + "0" * 32
TOKEN = "0" * 32
PAGE = 1000


def sid(number: int) -> str:
    """Return the SID of a call."""
    return f"CA{number:032x}"


def call(number: int, status: str) -> dict[str, Any]:
    """Return a call as Twilio writes it."""
    path = f"/2010-04-01/Accounts/{ACCOUNT}/Calls/{sid(number)}"
    ended = status == "completed"
    day, hour, minute, second = 5 + number // 86400 % 20, number // 3600 % 24, number // 60 % 60, number % 60
    moment = f"Mon, {day:02} Jan 2026 {hour:02}:{minute:02}:{second:02} +0000"
    parts = ("notifications", "recordings", "payments", "events", "siprec", "streams", "transcriptions")
    return {
        "sid": sid(number),
        "date_created": moment,
        "date_updated": moment,
        "parent_call_sid": None,
        "account_sid": ACCOUNT,
        "to": f"+1202555{number % 10000:04}",
        "to_formatted": f"(202) 555-{number % 10000:04}",
        "from": "+15005550006",
        "from_formatted": "(500) 555-0006",
        "phone_number_sid": "PN" + "0" * 32,
        "status": status,
        "start_time": moment,
        "end_time": moment if ended else None,
        "duration": "41" if ended else None,
        "price": "-0.01300" if ended else None,
        "price_unit": "USD",
        "direction": "outbound-api",
        "answered_by": None,
        "annotation": None,
        "api_version": "2010-04-01",
        "forwarded_from": None,
        "group_sid": None,
        "caller_name": None,
        "queue_time": "1000",
        "trunk_sid": None,
        "uri": f"{path}.json",
        "subresource_uris": {name: f"{path}/{name.title()}.json" for name in parts},
    }


def pages(total: int, status: str, *, query: str) -> list[bytes]:
    """Return the pages of a list, the newest call first."""
    path = f"/2010-04-01/Accounts/{ACCOUNT}/Calls.json"
    made = []
    for number, start in enumerate(range(0, max(total, 1), PAGE)):
        rows = [call(total - index, status) for index in range(start, min(start + PAGE, total))]
        more = start + PAGE < total
        envelope = {
            "calls": rows,
            "page": number,
            "page_size": PAGE,
            "start": start,
            "end": start + max(len(rows) - 1, 0),
            "uri": f"{path}?{query}",
            "first_page_uri": f"{path}?{query}",
            "previous_page_uri": None,
            "next_page_uri": f"{path}?{query}&Page={number + 1}&PageToken=PA{number + 1}" if more else None,
        }
        made.append(json.dumps(envelope).encode())
    return made


def _serve(pipe: Connection, total: int, status: str, latency: float) -> None:
    lists = {name: pages(total, status, query=f"Status={name}&PageSize={PAGE}") for name in ("", status)}
    none = pages(0, status, query="")

    async def listing(request: web.Request) -> web.Response:
        await asyncio.sleep(latency)
        # No call here has children.
        bodies = none if "ParentCallSid" in request.query else lists.get(request.query.get("Status", ""), none)
        return web.Response(body=bodies[int(request.query.get("Page", 0))], content_type="application/json")

    async def one(request: web.Request) -> web.Response:
        await asyncio.sleep(latency)
        return web.json_response(call(int(request.match_info["sid"][2:], 16), status))

    async def notes(_request: web.Request) -> web.Response:
        await asyncio.sleep(latency)
        return web.json_response({"notifications": [], "next_page_uri": None})

    async def update(request: web.Request) -> web.Response:
        await asyncio.sleep(latency)
        number = int(request.match_info["sid"][2:], 16)
        return web.json_response(call(number, "completed"))

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/2010-04-01/Accounts/{account}/Calls.json", listing)
        app.router.add_get("/2010-04-01/Accounts/{account}/Calls/{sid}.json", one)
        app.router.add_get("/2010-04-01/Accounts/{account}/Calls/{sid}/Notifications.json", notes)
        app.router.add_post("/2010-04-01/Accounts/{account}/Calls/{sid}.json", update)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(f"http://127.0.0.1:{runner.addresses[0][1]}")
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        await runner.cleanup()

    asyncio.run(main())


@contextmanager
def server(*, total: int, status: str, latency: float = 0.0) -> Iterator[str]:
    """Run a server that has ``total`` calls of one status, and answers after ``latency`` seconds; yield its address."""
    near, far = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(far, total, status, latency))
    process.start()
    try:
        yield near.recv()
    finally:
        near.send(None)
        process.join(10)
