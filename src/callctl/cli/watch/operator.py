"""What the keys of the live table do, by the operations of ``hangup``, ``redirect`` and ``show``."""

from __future__ import annotations

import io
import os
import shlex
import signal
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from callctl.calls.call import Call, CallStatus
from callctl.cli.hangup.single import HangupOptions, error_of, hang_up, outcome_of
from callctl.cli.io.runtime import Runtime
from callctl.cli.options.history import History
from callctl.errors import CallctlError, without_secrets
from callctl.support.threads import describe, start_in_thread
from callctl.views.live.state import HangUp, Redirect, Target

if TYPE_CHECKING:
    from callctl.api.client import ApiClient
    from callctl.api.requests import RedirectRequest
    from callctl.calls.board import Snapshot
    from callctl.cli.io.results import Outcome
    from callctl.operations.hangup import HangupOutcome
    from callctl.settings import Settings

# Requests at once for marked legs, as for `hangup`.
_PARALLEL = 20


class TableOperator:
    """Acts through REST, for a watch that listens as well as for one that follows.

    ``stop`` ends the watch, and ``on_suspend`` stops the process; both may be called in any thread.
    """

    def __init__(
        self,
        runtime: Runtime,
        settings: Settings,
        *,
        listens: bool,
        may_act: bool,
        stop: Callable[[], None],
    ) -> None:
        self._runtime, self._settings = runtime, settings
        self._listens, self._may_act = listens, may_act
        self._stop = stop

    @property
    def listens(self) -> bool:
        """Whether callbacks come to this process, and are lost while it is stopped."""
        return self._listens

    @property
    def may_act(self) -> bool:
        """Whether it changes calls."""
        return self._may_act

    @property
    def urls(self) -> Sequence[str]:
        """The names of the named URLs."""
        return sorted(name.lower() for name in self._settings.urls)

    @cached_property
    def _client(self) -> ApiClient:
        return self._runtime.client(self._settings)

    def leave(self) -> None:
        """End the watch."""
        self._stop()

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        os.kill(os.getpid(), signal.SIGINT)

    def suspend(self) -> None:
        """Stop the process until it is continued."""
        os.kill(os.getpid(), signal.SIGTSTP)

    # Words

    def effects(self, intent: HangUp | Redirect, snapshot: Snapshot) -> str:
        """Say what becomes of the other legs, by what callbacks reported."""
        if len(intent.targets) > 1:
            return ""
        target = intent.targets[0]
        leg = snapshot.leg(target.sid)
        if leg is None:
            return ""
        from callctl.operations.redirect import effect_on_parent

        if leg.parent_call_sid is not None:
            with History(self._runtime, self._settings, readonly=True) as history:
                redirected_at = history.redirected_at(leg.call_sid)
            return f"its parent {effect_on_parent(redirected_at)}"
        children = [
            other for other in snapshot.legs.values() if other.parent_call_sid == leg.call_sid and other.is_live
        ]
        if not children:
            return ""
        which = f"its child leg to {children[0].to}" if len(children) == 1 else f"its {len(children)} child legs"
        drops = "drops" if len(children) == 1 else "drop"
        action = ", and the Dial's action, if it has one, is asked as well" if isinstance(intent, Redirect) else ""
        return f"{which} {drops}{action}"

    # Acting

    def act(self, intent: HangUp | Redirect, *, asked_at: datetime, report: Callable[[str], None]) -> None:
        """Begin to end or redirect legs; report the outcome, or why there is none.

        Each leg is held to the status in which it was meant. ``asked_at`` is when the question was put: a leg that was
        changed since then is left alone.
        """
        _in_background(lambda: self._act(intent, asked_at=asked_at, report=report), report)

    def _act(self, intent: HangUp | Redirect, *, asked_at: datetime, report: Callable[[str], None]) -> None:
        count = len(intent.targets)
        verb = "ending" if isinstance(intent, HangUp) else "redirecting"
        report(f"{verb} {intent.targets[0].sid if count == 1 else f'{count} legs'} …")
        with History(self._runtime, self._settings) as history:
            sentences = self._act_on(intent, history, asked_at=asked_at)
        report(sentences[0] if count == 1 else _summary(sentences))

    def _act_on(self, intent: HangUp | Redirect, history: History, *, asked_at: datetime) -> list[str]:
        """Return a sentence for each leg."""
        from callctl.operations.bulk import Done, for_each

        targets = {target.sid: target for target in intent.targets}
        work = self._work(intent, history, targets, asked_at=asked_at)
        history.record_intent(targets)
        sentences: list[str] = []
        for batch in _batches(intent):
            for group in for_each(batch, work, parallel=_PARALLEL):
                for result in group:
                    if isinstance(result, Done):
                        sentences.append(result.value)
                    else:
                        sentences.append(_in_words(result.error, sid=result.sid))
        return sentences

    def _work(
        self, intent: HangUp | Redirect, history: History, targets: dict[str, Target], *, asked_at: datetime
    ) -> Callable[[str], str]:
        if isinstance(intent, HangUp):
            return lambda sid: self._end(history, targets[sid], asked_at=asked_at)
        request, where = self._redirect_request(intent.url)

        def redirect(sid: str) -> str:
            from callctl.cli.redirect import redirect_call

            if (left_alone := self._changed(history, sid, asked_at)) is not None:
                return left_alone
            command = shlex.join(["callctl", "redirect", sid, "--url", without_secrets(intent.url)])
            outcome = redirect_call(self._client, history, sid, request, where=where, command=command)
            return self._recorded(history, outcome)

        return redirect

    def _end(self, history: History, target: Target, *, asked_at: datetime) -> str:
        """End a leg if it still has its status: of one that rings, Twilio decides that itself."""
        from callctl.operations.hangup import check_again

        if (left_alone := self._changed(history, target.sid, asked_at)) is not None:
            return left_alone
        options = HangupOptions(only_ringing=target.status != CallStatus.IN_PROGRESS, wait=None)
        meant = Call(target.sid, target.status)

        def check(_sid: str) -> HangupOutcome | None:
            return check_again(
                self._client, meant, reported=history.leg, matches=lambda call: call.status == target.status
            )

        ended = hang_up(
            self._client,
            history,
            target.sid,
            options=options,
            on_outage=self._runtime.report_outage,
            check=None if options.only_ringing else check,
        )
        sentence = self._recorded(history, outcome_of(ended, history, sid=target.sid, options=options))
        error = error_of(ended, options)
        return sentence if error is None or not error.hint else f"{sentence}; {error.hint}"

    def _changed(self, history: History, sid: str, asked_at: datetime) -> str | None:
        change = history.change_since(sid, asked_at)
        if change is None:
            return None
        by = f" by rule {change.rule}" if change.rule else ""
        return f"left alone: {sid} was changed meanwhile{by} ({change.action})"

    def _recorded(self, history: History, outcome: Outcome) -> str:
        if outcome.is_recorded:
            history.record([outcome])
        history.settle([outcome.sid])
        return outcome.sentence

    def _redirect_request(self, url: str) -> tuple[RedirectRequest, str]:
        """Return the request, and how its document is named.

        Raises:
            UsageError: The URL can't work, or no URL has this name.
        """
        from callctl.api.requests import RedirectRequest
        from callctl.cli.options.twiml import read_twiml_options

        chosen = read_twiml_options(
            self._runtime,
            self._settings,
            url=url,
            twiml=None,
            say=None,
            dial=None,
            method=None,
            add_callbacks=False,
        )
        document = chosen.with_callbacks_to(None)
        return RedirectRequest(url=document.url, method=document.method, twiml=document.twiml), without_secrets(url)

    # The page of a leg

    def load_page(self, sid: str, width: int, report: Callable[[Sequence[str]], None]) -> None:
        """Report what the store has of a leg at once, and the whole page when REST has answered."""
        _in_background(lambda: self._load_page(sid, width, report), lambda text: report([text]))

    def _load_page(self, sid: str, width: int, report: Callable[[Sequence[str]], None]) -> None:
        from callctl.cli.show import history_of, page_of
        from callctl.views.call_page import print_page, timeline_lines, timeline_of
        from callctl.views.terminal_safe import plain_console

        events, actions = history_of(self._runtime, self._settings, sid)
        known = [sid, "", "TIMELINE", *timeline_lines(timeline_of(events, actions), own=sid)]
        report([*known, "", "… loading what REST knows of it"])
        try:
            page = page_of(self._runtime, self._settings, self._client, sid)
        except CallctlError as error:
            report([*known, "", _in_words(error, sid=sid)])
            return
        text = io.StringIO()
        print_page(plain_console(text, environ={}, width=width), page)
        report(text.getvalue().splitlines())


def _batches(intent: HangUp | Redirect) -> list[list[str]]:
    """Return the legs in the order in which they are changed: of a family the parent first, which ends the Dial."""
    sids = [target.sid for target in intent.targets]
    if isinstance(intent, HangUp) and intent.is_family:
        return [sids[:1], sids[1:]]
    return [sids]


def _summary(sentences: Sequence[str]) -> str:
    """Say what came of several legs: how many of each outcome, and the first that is none of the usual."""
    kinds: dict[str, int] = {}
    for sentence in sentences:
        kind = sentence.partition(":")[0]
        kinds[kind] = kinds.get(kind, 0) + 1
    parts = [f"{count} {kind}" for kind, count in kinds.items()]
    odd = next((text for text in sentences if not text.startswith(("ended:", "redirected"))), None)
    return ", ".join(parts) + (f"; {odd}" if odd else "")


def _in_words(error: CallctlError, *, sid: str) -> str:
    whose = "" if sid in error.message else f"{sid}: "
    return f"not done: {whose}{error.message}" + (f"; {error.hint}" if error.hint else "")


def _in_background(work: Callable[[], None], report: Callable[[str], None]) -> None:
    """Do some work in a thread; whatever goes wrong there is reported."""

    def run() -> None:
        try:
            work()
        except CallctlError as error:
            report(error.message + (f"; {error.hint}" if error.hint else ""))
        except Exception as error:  # a key must not end the watch
            report(f"unexpected {describe(error)}")

    start_in_thread(run)
