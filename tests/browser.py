"""A headless Chromium, driven by its DevTools protocol: pages as people have them, and what they ask of the network."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LIMIT = 60.0  # seconds; nothing takes so long, but many tests may share a processor
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)
KEYS = {"ArrowDown": 40, "ArrowUp": 38, "ArrowLeft": 37, "ArrowRight": 39, "Enter": 13, "Escape": 27, "Tab": 9,
        "Home": 36, "End": 35}  # fmt: skip

Json = dict[str, Any]


@contextmanager
def running_browser(folder: Path) -> Iterator[str]:
    """Run a browser whose files are in a folder; give the address of its DevTools. Skip where there is none."""
    if PROGRAM is None:
        pytest.skip("no Chromium is installed here")
    with (folder / "stderr").open("w") as talk:
        command = [PROGRAM, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=talk)
        try:
            yield _address(folder / "DevToolsActivePort", process)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(file: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + LIMIT
    while not (file.exists() and file.read_text().count("\n")):
        assert process.poll() is None, (file.parent / "stderr").read_text()
        assert time.monotonic() < deadline, "the browser did not start"
        time.sleep(0.02)
    port, path = file.read_text().splitlines()
    return f"ws://127.0.0.1:{port}{path}"


@asynccontextmanager
async def new_page(devtools: str) -> AsyncIterator[Page]:
    """Give an empty page that shares nothing with others, such as storage."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(devtools, max_msg_size=0, heartbeat=None) as socket,
    ):
        page = Page(socket)
        reading = asyncio.create_task(page.read())
        try:
            await page.begin()
            await page.look(width=1440)
            yield page
            await page.end()
        finally:
            reading.cancel()


class Page:
    """One page. `requested` are the URLs that it asked for, `complaints` what its console says is wrong."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._replies: dict[int, asyncio.Future[Json]] = {}
        self._session = ""
        self._context = ""
        self._time_is_up = asyncio.Event()
        self.requested: list[str] = []
        self.complaints: list[str] = []

    async def begin(self) -> None:
        """Open it."""
        self._context = (await self.send("Target.createBrowserContext"))["browserContextId"]
        made = await self.send("Target.createTarget", url="about:blank", browserContextId=self._context)
        attached = await self.send("Target.attachToTarget", targetId=made["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.send(f"{domain}.enable")

    async def end(self) -> None:
        """Close it, and forget what it kept."""
        self._session, context = "", self._context
        await self.send("Target.disposeBrowserContext", browserContextId=context)

    async def send(self, method: str, **params: Any) -> Json:
        """Send a command of the DevTools protocol and return its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        waiting = self._replies[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json(message)
        reply = await asyncio.wait_for(waiting, LIMIT)
        assert "error" not in reply, (method, reply)
        return dict(reply["result"])

    async def read(self) -> None:
        """Take what the browser says, until it is closed."""
        async for message in self._socket:
            said = message.json()
            if "id" in said:
                waiting = self._replies.pop(said["id"])
                if not waiting.done():
                    waiting.set_result(said)
            else:
                self._happened(said["method"], said["params"])

    def _happened(self, method: str, params: Mapping[str, Any]) -> None:
        match method:
            case "Emulation.virtualTimeBudgetExpired":
                self._time_is_up.set()
            case "Network.requestWillBeSent":
                self.requested.append(params["request"]["url"])
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.complaints.append(details.get("exception", {}).get("description") or details["text"])
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.complaints.append(str([part.get("value") for part in params["args"]]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    async def look(self, *, width: int, height: int = 900, scheme: str = "light") -> None:
        """Give the page a size in CSS pixels, and a light or a dark ground."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        await self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def open(self, url: str) -> None:
        """Go to an address."""
        await self.send("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def ask(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, once its promise is fulfilled."""
        reply = await self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in reply, (expression, reply)
        return reply["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Ask again and again until the value is true, as JavaScript takes it; return it."""
        deadline = time.monotonic() + LIMIT
        while (value := await self.ask(expression)) in (None, False, 0, ""):
            if time.monotonic() > deadline:
                shown = await self.ask("document.body.innerText.slice(0, 2000)")
                raise AssertionError(f"never {expression}; the page shows:\n{shown}")
            await asyncio.sleep(0.02)
        return value

    async def skip(self, seconds: float) -> None:
        """Let so much of the page's own time pass at once: whatever it has timers for happens."""
        self._time_is_up.clear()
        await self.send("Emulation.setVirtualTimePolicy", policy="advance", budget=seconds * 1000)
        await asyncio.wait_for(self._time_is_up.wait(), LIMIT)

    async def press(self, key: str) -> None:
        """Press and release a key, such as `ArrowDown` or `/`."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        about: Json = {"key": key, "windowsVirtualKeyCode": KEYS.get(key, 0)} | ({"text": text} if text else {})
        await self.send("Input.dispatchKeyEvent", type="keyDown", **about)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **about)

    async def type(self, text: str) -> None:
        """Type a text where the focus is."""
        await self.send("Input.insertText", text=text)

    async def click(self, selector: str) -> None:
        """Click in the middle of an element, as the mouse does."""
        place = await self.until(
            f"(() => {{ const node = document.querySelector({selector!r}); if (!node) return null;"
            " node.scrollIntoView({block: 'nearest'}); const box = node.getBoundingClientRect();"
            " return box.width ? {x: box.x + box.width / 2, y: box.y + box.height / 2} : null; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.send("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    async def accessible(self) -> list[tuple[str, str]]:
        """Return the role and the name of everything that a screen reader can come to, in order."""
        nodes = {node["nodeId"]: node for node in (await self.send("Accessibility.getFullAXTree"))["nodes"]}
        found = []
        waiting = [next(iter(nodes))]
        while waiting:
            node = nodes[waiting.pop()]
            waiting += reversed([child for child in node.get("childIds", ()) if child in nodes])
            if not node.get("ignored"):
                found.append((str(node["role"]["value"]), str(node.get("name", {}).get("value", ""))))
        return found
