"""A simulated switchboard for tests of the live table on a terminal: calls placed and steered by hand, and the keys."""

from __future__ import annotations

import base64
import json
import re
import select
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from processes import OnTerminal
from running import env_for

from callctl.calls.sid import SHOWN_START
from callctl.settings import load
from callctl.simulator import FarEnd, Received, Simulator
from callctl.views.live.rows import MARKED, SELECTED, SELECTED_AND_MARKED
from callctl.watch.listener.signature import signature_of
from callctl.watch.registry import registry

ANSWERS, NEVER, FAILS = "+12025550100", "+12025550103", "+12025550104"
FAR_ENDS = {ANSWERS: FarEnd(after=0.0), NEVER: FarEnd("never"), FAILS: FarEnd("fails", after=0.0, sip_code=503)}
EVENTS = ("initiated", "ringing", "answered", "completed")
ESCAPE, ENTER, BACKSPACE, CTRL_C, CTRL_S, CTRL_Z = "\x1b", "\r", "\x7f", "\x03", "\x13", "\x1a"
UP, DOWN, PAGE_UP, PAGE_DOWN, CTRL_B, CTRL_F = "\x1b[A", "\x1b[B", "\x1b[5~", "\x1b[6~", "\x02", "\x06"
WATCH = ("watch", "--port", "0", "--no-poll")


class Switchboard:
    """Calls on the simulator whose callbacks come to the watch of a home directory."""

    def __init__(self, simulator: Simulator, home: Path, *, api_url: str | None = None) -> None:
        """Prepare; ``api_url`` is where callctl asks, if not the simulator itself."""
        self.simulator, self._home = simulator, home
        self.env = env_for(simulator) | ({} if api_url is None else {"CALLCTL_API_URL": api_url})
        self.env["CALLCTL_URL_SURVEY"] = f"{simulator.url}/simulator/survey"

    @property
    def callback_url(self) -> str:
        """The address that the running watch listens at."""
        settings = load({"HOME": str(self._home), **self.env}, cwd=self._home)
        return next(registry.running(settings)).callback_url

    def place(self, to: str, *, twiml: str = "<Response><Pause length='600'/></Response>", url: str = "") -> str:
        """Place a call that reports each step, by default to the watch, and return its SID; unanswered it rings on."""
        fields = {"To": to, "From": "+15005550006", "Twiml": twiml, "Timeout": "600"}
        callback = {"StatusCallback": url or self.callback_url, "StatusCallbackEvent": EVENTS}
        return str(self._request("Calls.json", fields | callback)["sid"])

    def place_silent(self, to: str) -> str:
        """Place a call that reports nothing."""
        twiml = "<Response><Pause length='600'/></Response>"
        fields = {"To": to, "From": "+15005550006", "Twiml": twiml, "Timeout": "600"}
        return str(self._request("Calls.json", fields)["sid"])

    def answer(self, sid: str) -> None:
        """Have the phone answered that rings."""
        self.simulator.answer(sid)

    def hang_up(self, sid: str) -> None:
        """Have the called side hang up."""
        self.simulator.hang_up(sid)

    def status(self, sid: str) -> str:
        """Return what REST says of a call."""
        return str(self._request(f"Calls/{sid}.json")["status"])

    def children(self, sid: str) -> list[str]:
        """Return the legs that a call has dialled."""
        return [str(call["sid"]) for call in self._request(f"Calls.json?ParentCallSid={sid}")["calls"]]

    @property
    def changes(self) -> list[Received]:
        """The requests that would change a call."""
        return [one for one in self.simulator.requests if one.method == "POST" and "/Calls/" in one.path]

    def report(self, sid: str, status: str, **more: str) -> None:
        """Send the watch a callback, signed as Twilio signs, whatever the call itself does."""
        url = self.callback_url
        fields = {"CallSid": sid, "AccountSid": self.simulator.account_sid, "CallStatus": status, **more}
        fields = {"From": "+15005550006", "To": ANSWERS, "Direction": "outbound-api"} | fields
        signature = signature_of(url, list(fields.items()), key=self.simulator.auth_token)
        headers = {"X-Twilio-Signature": signature}
        request = urllib.request.Request(url, data=urlencode(fields).encode(), headers=headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            assert response.status == 204

    def _request(self, path: str, form: Mapping[str, Any] | None = None) -> dict[str, Any]:
        url = f"{self.simulator.url}/2010-04-01/Accounts/{self.simulator.account_sid}/{path}"
        return dict(json.loads(self._open(url, None if form is None else urlencode(form, doseq=True).encode())))

    def _open(self, url: str, body: bytes | None) -> bytes:
        account = f"{self.simulator.account_sid}:{self.simulator.auth_token}"
        headers = {"Authorization": f"Basic {base64.b64encode(account.encode()).decode()}"}
        request = urllib.request.Request(url, data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            return bytes(response.read())


@contextmanager
def switchboard(home: Path) -> Iterator[Switchboard]:
    """Start a simulator whose far ends answer at once, where they do."""
    with Simulator(port=0, far_end=FAR_ENDS) as simulator:
        yield Switchboard(simulator, home)


# A child's row at 80 columns begins with a sign for it, and so has a character less of the SID.
_SID = re.compile(r"CA\w{7}")


def start_of(sid: str) -> str:
    """Return as much of a SID as stands in every row."""
    return sid[: SHOWN_START - 1]


class LiveTerminal(OnTerminal):
    """callctl on a pseudo-terminal, operated by its keys."""

    @property
    def text(self) -> str:
        """All of the screen, with a space between lines: a sentence is found wherever it was wrapped."""
        return " ".join(row.strip() for row in self.rows)

    @property
    def selected(self) -> str:
        """The start of the selected leg's SID, as ``start_of`` has it; of any other row its text; else nothing."""
        return self._leg_at(lambda row: row[:1] in (SELECTED, SELECTED_AND_MARKED))

    @property
    def first(self) -> str:
        """The first row on the screen, likewise."""
        return self._leg_at(lambda row: "→" in row or "⏎ " in row or _SID.search(row) is not None)

    def _leg_at(self, is_meant: Callable[[str], bool]) -> str:
        rows = self.rows
        number = next((number for number, row in enumerate(rows) if is_meant(row)), None)
        if number is None:
            return ""
        if "⏎" in rows[number]:
            return rows[number].lstrip(SELECTED)
        found = next(filter(None, map(_SID.search, rows[number : number + 2])), None)
        return "" if found is None else found[0]

    @property
    def marked(self) -> int:
        """How many rows on the screen are marked."""
        return sum(row[:1] in (MARKED, SELECTED_AND_MARKED) and "+1" in row for row in self.rows)

    def shows(self, *texts: str) -> str:
        """Wait until all of these stand on the screen; return the screen."""
        self.until(lambda _rows: all(text in self.text for text in texts))
        return self.text

    def lacks(self, *texts: str) -> None:
        """Wait until none of these stands on the screen."""
        self.until(lambda _rows: not any(text in self.text for text in texts))

    def selects(self, sid: str) -> None:
        """Wait until a leg is selected."""
        self.until(lambda _rows: self.selected == start_of(sid))

    def moves(self, key: str) -> str:
        """Press a key that selects another row; return that."""
        before = self.selected
        self.type(key)
        self.until(lambda _rows: self.selected not in ("", before))
        return self.selected

    def select(self, sid: str) -> None:
        """Go to a leg by keys, from the first row on."""
        self.type("g")
        self.until(lambda _rows: self.selected == self.first != "")
        while self.selected != start_of(sid):
            self.moves("j")

    def insists(self, key: str, text: str) -> None:
        """Press a key until what it does is seen: just continued, a table drops what was typed before."""
        begin = len(self.raw)
        while text.encode() not in self.raw[begin:]:
            self.type(key)
            self._read(0.1)

    def confirm(self, key: str = "y") -> None:
        """Answer the question on the screen: again until it is taken, for a ``y`` too soon counts for nothing."""
        question = self.question
        assert question
        while self.question == question:
            self.type(key)
            self._read(0.1)

    def confirm_number(self, number: str) -> None:
        """Type the number that a question asks for, one digit, and Enter."""
        while f": {number}▏" not in self.text:
            self.type(number)
            self._read(0.1)
        self.type(ENTER)

    def paste(self, text: str) -> None:
        """Paste a text, as a terminal does where bracketed paste is on."""
        assert self.raw.rfind(b"\x1b[?2004h") > self.raw.rfind(b"\x1b[?2004l")
        self.type(f"\x1b[200~{text}\x1b[201~")

    @property
    def question(self) -> str:
        """The question that is asked, without the times in it; empty if there is none."""
        begin = max(map(self.text.rfind, ("hang up ", "redirect ", "stop listening?", "dismiss ")))
        asked = self.text[begin:] if begin >= 0 else ""
        return re.sub(r"\d\d:\d\d", "", asked.partition("?")[0]) if "y: yes" in asked else ""

    def settles(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so that can be seen elsewhere, and read on meanwhile."""
        while not condition():
            self._read(0.05)

    def _read(self, timeout: float) -> bool:
        """Read on until a frame is whole, as far as can be told."""
        has_read = super()._read(timeout)
        while has_read and select.select([self.descriptor], [], [], 0.005)[0]:
            has_read = super()._read(0)
        return has_read
