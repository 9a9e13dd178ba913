"""The whole output of ``callctl watch`` to the letter: a family of legs, and all that is not as usual."""

from __future__ import annotations

import io
import os
import re
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import urlencode

import pytest
from cli.frozen import NOON, Frozen
from cli.golden_files import BUSY, FORMS, RINGS, GoldenRun, check_golden
from cli.local_store import store_of
from running import Terminal, env_for

from callctl.calls.action import ActionEvent
from callctl.settings import load
from callctl.watch.listener.signature import signature_of
from callctl.watch.registry import registry
from callctl.watch.registry.health import ask_health
from callctl.watch.selftest import selftest

LIMIT = 90.0
PARENT, NUMBER, SIP, CLIENT = (f"CA{number:032}" for number in range(11, 15))
HOSTILE = "client:\x1b[2J\x1b[31mann\u202e\x9b1A"
LAST_FRAME = "\x1b[?1049l"


class Script:
    """Plays to a watch that runs in this process, from a thread of its own, and ends it with Ctrl-C."""

    def __init__(self, golden: GoldenRun) -> None:
        self._golden = golden
        self._settings = load({"HOME": str(golden.home), **env_for(golden.frozen.simulator)}, cwd=golden.home)
        self.streams = (Terminal() if golden.is_terminal else io.StringIO(), io.StringIO())
        self.failure: Exception | None = None
        self.is_over = False
        self._url = ""

    def run(self) -> None:
        """Run the script to its end, whatever happens."""
        try:
            self._run()
        except Exception as error:
            self.failure = error
        if not self.is_over:
            os.kill(os.getpid(), signal.SIGINT)

    def _run(self) -> None:
        self._until(lambda: any(registry.running(self._settings)), "a watch that runs")
        record = next(iter(registry.running(self._settings)))
        self._url = record.callback_url
        self._until(lambda: (ask_health(record.health_url) or {}).get("reachable") is True, "the self-test")
        # What REST alone reports: a call that rings, and the end of one that no callback reported.
        ringing, ended = self._golden.sids
        self._until_shown(ringing, "ringing")
        self._until_shown(ended, "busy")
        self._send_callback(PARENT, "initiated", at=2, number=0)
        self._send_callback(PARENT, "ringing", at=3, number=1)
        self._ask_for_twiml(at=5)
        self._send_callback(PARENT, "in-progress", at=5, number=2, AnsweredBy="human")
        self._child(NUMBER, "initiated", at=6, number=0, To="+12025550142")
        self._child(SIP, "initiated", at=6, number=0, To="sip:agent@example.com")
        self._child(CLIENT, "initiated", at=7, number=0, To=HOSTILE)
        self._child(NUMBER, "in-progress", at=12, number=2, To="+12025550142")
        self._child(NUMBER, "ringing", at=8, number=1, To="+12025550142")  # overtaken by the one before
        self._child(NUMBER, "ringing", at=8, number=1, To="+12025550142")  # and sent twice
        self._child(SIP, "busy", at=13, number=1, To="sip:agent@example.com", SipResponseCode="486", CallDuration="0")
        self._child(CLIENT, "ringing", at=14, number=1, To=HOSTILE, SipResponseCode="\x1b]0;x\x07")
        self._until_shown(CLIENT, "ringing")
        self._tell(NUMBER, "participant-join", at=14, number=0)
        self._tell(PARENT, "participant-join", at=14, number=1, ParticipantLabel="boss")
        self._tell(PARENT, "participant-hold", at=14, number=3, ParticipantLabel="boss", Hold="true")
        self._until_shown("participant-hold", "")
        self._post({"CallSid": "CA" + "6" * 32, "CallStatus": "ringing"}, signature="L/OH5YylLD5NRKLltdqwSvS0BnU=")
        self._until_shown("refused", "")
        self._act(PARENT, "redirect", "to survey", at=40)
        self._until_shown("to survey", "")
        self._child(CLIENT, "canceled", at=41, number=2, To=HOSTILE)
        self._until_shown(CLIENT, "canceled")
        self._at(75)

    def _at(self, seconds: int) -> None:
        self._golden.frozen.calendar.now = NOON + timedelta(seconds=seconds)

    def _child(self, sid: str, status: str, *, at: int, number: int, **fields: str) -> None:
        self._send_callback(
            sid, status, at=at, number=number, ParentCallSid=PARENT, Direction="outbound-dial", **fields
        )

    def _send_callback(self, sid: str, status: str, *, at: int, number: int, **fields: str) -> None:
        """Send a callback, which arrives in the second in which it fired."""
        self._at(max(at, (self._golden.frozen.calendar.now - NOON).seconds))
        form = self._form(sid, status) | {
            "Timestamp": format_datetime(NOON + timedelta(seconds=at)),
            "SequenceNumber": str(number),
            "CallbackSource": "call-progress-events",
        }
        assert self._post(form | fields) == 204

    def _tell(self, sid: str, event: str, *, at: int, number: int, **fields: str) -> None:
        """Send a conference's callback about a leg."""
        self._at(at)
        form = {
            "AccountSid": self._golden.frozen.simulator.account_sid,
            "ConferenceSid": "CF" + "7" * 32,
            "FriendlyName": "support-7",
            "Timestamp": format_datetime(NOON + timedelta(seconds=at)),
            "SequenceNumber": str(number),
            "StatusCallbackEvent": event,
            "CallSid": sid,
            "Muted": "false",
            "Hold": "false",
        }
        assert self._post(form | fields) == 204

    def _ask_for_twiml(self, *, at: int) -> None:
        self._at(at)
        form = self._form(PARENT, "in-progress") | {"ApiVersion": "2010-04-01"}
        assert self._post(form, url=self._url.replace("/status", "/twiml/survey")) == 200

    def _form(self, sid: str, status: str) -> dict[str, str]:
        return {
            "AccountSid": self._golden.frozen.simulator.account_sid,
            "CallSid": sid,
            "CallStatus": status,
            "From": "+15005550006",
            "To": "+12025550100",
            "Direction": "outbound-api",
        }

    def _post(self, form: dict[str, str], *, url: str | None = None, signature: str | None = None) -> int:
        url = url or self._url
        token = self._golden.frozen.simulator.auth_token
        signed = signature or signature_of(url, list(form.items()), key=token)
        request = urllib.request.Request(url, data=urlencode(form).encode(), headers={"X-Twilio-Signature": signed})
        try:
            with urllib.request.urlopen(request, timeout=LIMIT) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def _act(self, sid: str, action: str, outcome: str, *, at: int) -> None:
        """Record the action of a command on a call, as the command does."""
        recorded = ActionEvent(NOON + timedelta(seconds=at), sid, action, (("Url", "https://example.com"),), outcome)
        with store_of(self._golden.home, self._golden.frozen.simulator) as store:
            store.record_actions([recorded])

    def _until_shown(self, *words: str) -> None:
        """Wait until one line, on either stream, holds these words in this order; the SID of a wide one is cut."""
        pattern = re.compile("[^\n]*".join(map(re.escape, words)).replace(CLIENT, f"(?:{CLIENT}|{CLIENT[:10]}…)"))
        self._until(lambda: any(pattern.search(stream.getvalue()) for stream in self.streams), " … ".join(words))

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < deadline, f"never shown: {what}; but {[one.getvalue() for one in self.streams]}"
            time.sleep(0.02)


def watched(golden: GoldenRun) -> str:
    """Let a watch see it all; return its output and messages, on a terminal the last screen."""
    (golden.home / "survey.xml").write_text("<Response><Say>Hello</Say></Response>")
    golden.call(RINGS, after=3)
    ended = golden.call(BUSY, after=5)
    golden.add_callback(ended, "ringing", seconds=-60)
    script = Script(golden)
    thread = threading.Thread(target=script.run)
    thread.start()
    outcome = golden("watch", "--port", "0", "--serve", "survey=survey.xml", streams=script.streams)
    script.is_over = True
    thread.join()
    if script.failure is not None:
        raise script.failure
    transcript = golden.transcript(outcome)
    if golden.is_terminal:
        transcript = transcript.rpartition(LAST_FRAME.replace("\x1b", "␛"))[2]
    return re.sub(r'(127\.0\.0\.1:|"port": )(?!9876\b)\d+', r"\g<1>54321", transcript)


@pytest.fixture(autouse=True)
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the self-test take no time, and no end be so new that its callback may still come."""
    monkeypatch.setattr("callctl.operations.missed_ends.ARRIVED", timedelta())
    monkeypatch.setattr(selftest, "__kwdefaults__", {**(selftest.__kwdefaults__ or {}), "clock": lambda: 0.0})


@pytest.mark.parametrize("form", FORMS)
def test_to_the_letter(frozen: Frozen, home: Path, form: str) -> None:
    check_golden(watched(GoldenRun(frozen, home, form)), name="watch", form=form)


@pytest.mark.parametrize("form", ["terminal", "no-color"])
def test_to_the_letter_on_a_wide_terminal(frozen: Frozen, home: Path, form: str) -> None:
    check_golden(watched(GoldenRun(frozen, home, form, columns=160)), name="watch_wide", form=form)
