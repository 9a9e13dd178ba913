"""What the keys of the live table do, by the operations of ``hangup``, ``redirect`` and ``show``."""

from __future__ import annotations

import io
import os
import shlex
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from callctl.calls.call import Call, CallStatus
from callctl.calls.family import ancestors, parents_first
from callctl.cli.hangup.single import HangupOptions, error_of, hang_up, outcome_of
from callctl.cli.io.runtime import Runtime
from callctl.cli.options.history import History
from callctl.errors import CallctlError, NoLongerWantedError, NoThreadError, type_and_message, without_secrets
from callctl.support.clock import elapsed
from callctl.support.identity import user_at_host
from callctl.support.threads import run_with_time_limit, start_in_thread
from callctl.views.lines import by_whom
from callctl.views.live.intents import ActionOutcome, HangUp, Redirect, Target
from callctl.views.terminal_safe import printable

if TYPE_CHECKING:
    from callctl.api.client import ApiClient
    from callctl.api.requests import RedirectRequest
    from callctl.calls.action import ActionEvent
    from callctl.calls.board import Snapshot
    from callctl.calls.leg import Leg
    from callctl.cli.io.results import Outcome
    from callctl.operations.hangup import HangupOutcome
    from callctl.settings import Settings

# The results of outcomes after which nothing is left to do.
_DONE = frozenset({"ended", "accepted", "already-over", "redirected"})
# Requests at once for marked legs, as for `hangup`.
_PARALLEL = 20
# Seconds from the confirmation on in which a request may be sent: what was meant then may be wrong later.
SENT_WITHIN = 10.0
_UNCHECKED = "the event store could not be read, so others may have changed it meanwhile"
# Seconds in which the actions in flight may come to their end when the table is left.
LEAVING = 1.0


class _Result(NamedTuple):
    """What came of an action on one leg; ``is_recorded``: a watch shows it, from the store.

    ``is_done``: the leg was changed as it was meant, or had ended before. ``is_unchecked``: it was not
    known whether others had changed it since the question. ``may_be_done``: no answer came.
    """

    sentence: str
    is_recorded: bool
    is_done: bool = False
    is_unchecked: bool = False
    may_be_done: bool = False


@dataclass
class _Question:
    """A question, and the id after which the store has what was not shown yet when it was put, if that is known."""

    intent: HangUp | Redirect
    settings: Settings
    last_action: int | None = None


class _Changes:
    """What was done to calls and not shown when a question was put. Safe for several threads.

    The order is that of the store, for others' clocks may be wrong; only where the last action that was shown is not
    known, times count. What this user did on this machine before the question is no change, even if it was not shown
    yet.
    """

    def __init__(self, history: History, last_action: int | None, *, question_at: datetime) -> None:
        self._history, self._last, self._question_at = history, last_action, question_at
        self._by_sid: dict[str, ActionEvent] = {}
        self._reading = threading.Lock()

    def of(self, sid: str) -> ActionEvent | None:
        """Return the last that changed a call, or may have; None if nothing did."""
        if self._last is None:
            since = [action for action in self._history.actions(sid) if action.at >= self._question_at]
            return next((action for action in reversed(since) if action.may_have_changed_it), None)
        with self._reading:
            for number, action in self._history.actions_after(self._last):
                self._last = number
                if action.may_have_changed_it and not self._is_own_before(action):
                    self._by_sid[action.call_sid] = action
            return self._by_sid.get(sid)

    def _is_own_before(self, action: ActionEvent) -> bool:
        return not action.rule and action.by == user_at_host() and action.at < self._question_at


@dataclass
class _Action:
    """An action in flight: confirmed at ``confirmed_at``, in seconds of elapsed time.

    ``last_action`` is the id after which the store has what the question did not know of; None if it is not known.
    """

    intent: HangUp | Redirect
    question_at: datetime
    confirmed_at: float
    sent_within: float
    last_action: int | None = None
    history: History | None = None
    results: dict[str, _Result] = field(default_factory=dict)
    is_abandoned: bool = False
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def word(self) -> str:
        """What it is, as a noun."""
        return "hang-up" if isinstance(self.intent, HangUp) else "redirect"

    @property
    def time_left(self) -> float:
        """For how many seconds a request may still be sent."""
        return self.confirmed_at + self.sent_within - elapsed()

    def is_wanted(self) -> bool:
        """Return whether a request may still be sent."""
        return not self.is_abandoned and self.time_left > 0

    def check(self) -> None:
        """Raise NoLongerWantedError if no request may be sent any more."""
        if not self.is_wanted():
            raise NoLongerWantedError(self.why_not)

    @property
    def why_not(self) -> str:
        """Why no request is sent any more."""
        return "the table was left" if self.is_abandoned else f"the API did not answer in {self.sent_within:g} s"

    def in_words(self, error: CallctlError, *, sid: str) -> str:
        """Return why nothing was done, or why that is not known."""
        if not isinstance(error, NoLongerWantedError):
            return _in_words(error, sid=sid)
        if error.may_be_done:
            return f"outcome unknown: {sid}: {self.why_not}; `callctl show {sid}` shows what it is doing"
        return f"not sent: the {self.word} of {sid}: {self.why_not}"

    def sets_free(self, sid: str) -> str | None:
        """Say which parent, of those that were to be ended, was not and would go on without this leg; None if none."""
        for parent in ancestors(sid, _parents(self.intent).get):
            result = self.results.get(parent)
            if result is not None and not result.is_done:
                how = "may not have been ended" if result.may_be_done else "was not ended"
                return f"left alone: {sid}: its parent {parent} {how}, and would go on behind its Dial"
        return None

    def drops(self, sid: str, *, known: History) -> str | None:
        """Say which child, of those that were to be redirected, was not and would drop with this leg; None if none."""
        from callctl.operations.redirect import children_in_dial

        for child in children_in_dial(_parents(self.intent), known=known).get(sid, ()):
            result, leg = self.results.get(child), known.leg(child)
            is_over = leg is not None and leg.verified and leg.is_final
            if result is not None and not result.is_done and not is_over:
                how = "may not have been redirected" if result.may_be_done else "was not redirected"
                return f"left alone: {sid}: its child leg {child} {how}, and would be dropped"
        return None

    def sentences(self) -> list[str]:
        """Return what came of it."""
        return [result.sentence for result in self.results.values()]

    def summary(self) -> str:
        """Say what came of several legs so far."""
        is_unchecked = any(result.is_unchecked for result in self.results.values())
        return _summary(self.sentences()) + (f"; {_UNCHECKED}" if is_unchecked else "")

    def outcome(self) -> ActionOutcome:
        """Return what came of it when it is over."""
        sentences = self.sentences()
        return ActionOutcome(
            sentences[0] if len(sentences) == 1 else self.summary(),
            [result.sentence for result in self.results.values() if not result.is_recorded],
            frozenset(sid for sid, result in self.results.items() if not result.is_done),
        )

    def failure(self, why: str) -> ActionOutcome:
        """Return that it broke off."""
        return ActionOutcome(why, [why], frozenset(target.sid for target in self.intent.targets))

    def abandon(self) -> list[str]:
        """Send nothing further, and return a sentence for each leg whose outcome is not known."""
        self.is_abandoned = True
        history = self.history
        requested = frozenset[str]() if history is None else history.abandon()
        sids = [target.sid for target in self.intent.targets if target.sid not in self.results]
        unclear = f"the {self.word} of {{0}} was sent; its outcome is unknown: `callctl show {{0}}`"
        return [unclear.format(sid) if sid in requested else f"the {self.word} of {sid} was not sent" for sid in sids]


class TableOperator:
    """Acts through REST, for a watch that listens as well as for one that follows.

    ``stop`` ends the watch; it may be called in any thread. A request that could not be sent within ``sent_within``
    seconds of its confirmation is not sent any more. ``settings`` returns those that count when a key is pressed: their
    store is the one that is shown, whose rules must know what keys do.
    """

    def __init__(
        self,
        runtime: Runtime,
        settings: Callable[[], Settings],
        *,
        listens: bool,
        may_act: bool,
        stop: Callable[[], None],
        sent_within: float = SENT_WITHIN,
    ) -> None:
        self._runtime, self._settings_now = runtime, settings
        self._listens, self._may_act = listens, may_act
        self._stop = stop
        self._sent_within = sent_within
        self._in_flight: list[_Action] = []
        self._question: _Question | None = None  # the last one

    @property
    def _settings(self) -> Settings:
        """The settings; a table that follows another watch may have changed the store with it."""
        return self._settings_now()

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

    # Questions

    def put_question(self, intent: HangUp | Redirect, *, last_action: int | None) -> None:
        """Note what was shown by now: a leg that was changed after that, by any clock, is left alone.

        Where that is not known it is what the store has by now.
        """
        question = self._question = _Question(intent, self._settings, last_action)

        def read() -> None:
            with History(self._runtime, question.settings, readonly=True) as history:
                question.last_action = history.last_action_id()

        if last_action is None:
            _in_background(read, lambda _why: None)  # without it times count

    def effects(self, intent: HangUp | Redirect, snapshot: Snapshot) -> str:
        """Say what becomes of the other legs, by what callbacks reported and by the redirects that the store has."""
        if len(intent.targets) > 1:
            return self._effects_on_each_other(intent) if isinstance(intent, Redirect) else ""
        target = intent.targets[0]
        leg = snapshot.leg(target.sid)
        if leg is None:
            return ""
        children = [other for other in snapshot.live_family(leg.call_sid) if other.parent_call_sid == leg.call_sid]
        if leg.parent_call_sid is None and not children:
            return ""
        from callctl.operations.redirect import ACTION_IS_REQUESTED, effect_on_parent

        parent = None if leg.parent_call_sid is None else snapshot.leg(leg.parent_call_sid)
        if parent is not None and parent.is_final:
            return ""
        with History(self._runtime, self._settings, readonly=True) as history:
            if leg.parent_call_sid is not None:
                is_live = parent is not None
                effect = effect_on_parent(history, leg.call_sid, parent=leg.parent_call_sid, is_live=is_live)
                return f"its parent{'' if is_live else ','} {effect}"
            redirected = {child.call_sid: history.redirected_at(child.call_sid) for child in children}
        effect = _effect_on_children(children, list(redirected.values()))
        asks_action = isinstance(intent, Redirect) and None in redirected.values()  # a Dial is under way
        return f"{effect}, {ACTION_IS_REQUESTED}" if asks_action else effect

    def _effects_on_each_other(self, intent: Redirect) -> str:
        from callctl.operations.redirect import children_in_dial

        with History(self._runtime, self._settings, readonly=True) as history:
            parents = [
                parent
                for parent in children_in_dial(_parents(intent), known=history)
                if not history.dial_action(parent)
            ]
            lost = [parent for parent in parents if history.dial_action(parent) == ""]
        if lost:
            return f"both legs of a Dial: it has no action, so {lost[0]} would hang up before its turn"
        return "both legs of a Dial: a parent without an action hangs up before its turn" if parents else ""

    # Acting

    def act(self, intent: HangUp | Redirect, *, question_at: datetime, report: Callable[[ActionOutcome], None]) -> None:
        """Begin to end or redirect legs; report the outcome, once.

        A leg that has another status than the one in which it was meant is left alone, and so is one that was changed
        since the question was put, at ``question_at``.
        """
        action = _Action(intent, question_at, confirmed_at=elapsed(), sent_within=self._sent_within)
        question = self._question
        if question is not None and question.intent is intent and question.settings == self._settings:
            action.last_action = question.last_action
        self._in_flight.append(action)

        def fail(why: str) -> None:
            self._end_action(action)
            report(action.failure(why))

        _in_background(lambda: self._act(action, report), fail)

    def close(self) -> None:
        """Wait up to a second for the actions in flight; say what came of each, or that its outcome is unknown."""
        until = elapsed() + LEAVING
        for action in list(self._in_flight):
            is_over = action.over.wait(max(0.0, until - elapsed()))
            unclear = [] if is_over else action.abandon()
            known = action.sentences()
            for sentence in [*known, *unclear] if len(known) < 2 else [action.summary(), *unclear]:
                self._runtime.say(f"callctl: {sentence}")

    def _act(self, action: _Action, report: Callable[[ActionOutcome], None]) -> None:
        try:
            with History(self._runtime, self._settings) as history:
                action.history = history
                self._act_on(action, history)
        finally:
            self._end_action(action)
        report(action.outcome())

    def _end_action(self, action: _Action) -> None:
        if not action.over.is_set():
            action.over.set()
            self._in_flight.remove(action)

    def _act_on(self, action: _Action, history: History) -> None:
        """Take down what came of each leg.

        Raises:
            ConditionNotMetError: A parent among them is known to hang up before its turn; nothing was sent.
        """
        from callctl.operations.bulk import Done, for_each
        from callctl.operations.redirect import check_both_legs

        work = self._work(action, history)
        if isinstance(action.intent, Redirect):
            check_both_legs(_parents(action.intent), known=history, command=_command_to(action.intent.url))
        if not action.is_abandoned:
            history.record_intent(target.sid for target in action.intent.targets)
        accepted = False
        for batch in _batches(action.intent):
            for group in for_each(batch, work, parallel=_PARALLEL, accepted=accepted):
                for result in group:
                    if isinstance(result, Done):
                        accepted = True
                        action.results[result.sid] = result.value
                    else:
                        sentence = action.in_words(result.error, sid=result.sid)
                        action.results[result.sid] = _Result(
                            sentence, history.is_written(result.sid), may_be_done=result.error.may_be_done
                        )

    def _work(self, action: _Action, history: History) -> Callable[[str], _Result]:
        intent, targets = action.intent, {target.sid: target for target in action.intent.targets}
        observed = history.observing(self._client)
        changes = _Changes(history, action.last_action, question_at=action.question_at)
        if isinstance(intent, HangUp):
            return lambda sid: self._end(action, history, observed, targets[sid], changes)
        request, where = self._redirect_request(intent.url)
        command = _command_to(intent.url)

        def redirect(sid: str) -> _Result:
            from callctl.cli.redirect import redirect_call

            if (left_alone := _changed(changes, sid) or action.drops(sid, known=history)) is not None:
                return _Result(left_alone, is_recorded=False)
            action.check()
            client = observed.while_wanted(lambda _may_be_done: action.is_wanted())
            outcome = redirect_call(client, history, sid, request, where=where, command=command(sid))
            return _with_doubt(self._recorded(history, outcome))

        return redirect

    def _end(self, action: _Action, history: History, client: ApiClient, target: Target, changes: _Changes) -> _Result:
        """End a leg if it still has its status: of one that rings, Twilio decides that itself.

        ``Status=canceled`` ends a queued leg that rings by now as well, so such a leg is fetched before.
        """
        from callctl.operations.hangup import check_again

        if (left_alone := _changed(changes, target.sid) or action.sets_free(target.sid)) is not None:
            return _Result(left_alone, is_recorded=False)
        options = HangupOptions(only_ringing=target.status != CallStatus.IN_PROGRESS, wait=None)
        meant = Call(target.sid, target.status)

        def fetch_again() -> HangupOutcome | None:
            return check_again(client, meant, reported=history.leg, matches=lambda call: call.status == target.status)

        def check(_sid: str) -> HangupOutcome | None:
            action.check()
            if options.only_ringing and target.status != CallStatus.QUEUED:
                return None
            try:
                left_alone = run_with_time_limit(action.time_left, fetch_again)
            except TimeoutError:
                raise NoLongerWantedError(action.why_not) from None
            if left_alone is None:
                action.check()
            return left_alone

        ended = hang_up(
            client,
            history,
            target.sid,
            options=options,
            check=check,
        )
        result = self._recorded(history, outcome_of(ended, history, sid=target.sid, options=options))
        return _with_doubt(result._replace(sentence=_with_hint(result.sentence, error_of(ended, options))))

    def _recorded(self, history: History, outcome: Outcome) -> _Result:
        if outcome.is_recorded:
            history.record([outcome])
        history.settle([outcome.sid])
        is_written = history.is_written(outcome.sid)
        is_unchecked = history.is_incomplete and outcome.changes_call
        return _Result(outcome.sentence, is_written, outcome.result in _DONE, is_unchecked)

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
        from callctl.views.call_page import masked_timeline, print_page, timeline_lines, timeline_of
        from callctl.views.terminal_safe import plain_console

        stored = history_of(self._runtime, self._settings, sid)
        timeline = timeline_of(stored.events, stored.actions)
        if self._runtime.masks_numbers:
            timeline = masked_timeline(timeline)
        known = [sid, "", "TIMELINE", *timeline_lines(timeline, own=sid)]
        report([*known, "", "… loading what REST knows of it"])
        try:
            page = page_of(self._runtime, self._settings, self._client, sid)
        except CallctlError as error:
            report([*known, "", _in_words(error, sid=sid)])
            return
        text = io.StringIO()
        print_page(plain_console(text, environ={}, width=width), page)
        report(text.getvalue().splitlines())


def _effect_on_children(children: Sequence[Leg], redirected_at: Sequence[datetime | None]) -> str:
    """Say what becomes of live child legs, of which each may have been redirected out of its Dial at some time."""
    from callctl.operations.redirect import child_goes_on

    count = len(children)
    if count == 1:
        effect = "drops" if redirected_at[0] is None else child_goes_on(redirected_at[0])
        return f"its child leg to {printable(children[0].to or 'unknown')} {effect}"
    drop = sum(moment is None for moment in redirected_at)
    go_on = "they were redirected out of the Dial"
    if drop in (0, count):
        return f"its {count} child legs {'drop' if drop else f'go on: {go_on}'}"
    drops, go = ("drops" if drop == 1 else "drop"), ("goes on" if count - drop == 1 else "go on")
    return f"{drop} of its {count} child legs {drops}; {count - drop} {go}, redirected out of the Dial before"


def _parents(intent: HangUp | Redirect) -> dict[str, str | None]:
    """Return the legs that are meant, each with its parent."""
    return {target.sid: target.parent for target in intent.targets}


def _command_to(url: str) -> Callable[[str], str]:
    """Return what makes the command that redirects a leg there."""
    return lambda sid: shlex.join(["callctl", "redirect", sid, "--url", without_secrets(url)])


def _batches(intent: HangUp | Redirect) -> list[list[str]]:
    """Return the legs in the order in which they are changed.

    Parents are ended first, for one that lost its child goes on with its next verb. Children are redirected first, for
    the redirect of a parent drops them (docs/twilio.md, "Redirects and the other leg").
    """
    parents = _parents(intent)
    batches = parents_first(parents, parents.get)
    return batches if isinstance(intent, HangUp) else batches[::-1]


def _changed(changes: _Changes, sid: str) -> str | None:
    """Say what somebody else did to a call since the question was put; None if nobody did anything."""
    change = changes.of(sid)
    if change is None:
        return None
    meanwhile = f"meanwhile {by_whom(change)}".rstrip()
    return f"left alone: {sid} was changed {meanwhile} ({change.action})"


def _with_doubt(result: _Result) -> _Result:
    return result._replace(sentence=f"{result.sentence}; {_UNCHECKED}") if result.is_unchecked else result


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
    return _with_hint(f"{'outcome unknown' if error.may_be_done else 'not done'}: {whose}{error.message}", error)


def _with_hint(sentence: str, error: CallctlError | None) -> str:
    return sentence if error is None or not error.hint else f"{sentence}; {error.hint}"


def _in_background(work: Callable[[], None], report: Callable[[str], None]) -> None:
    """Do some work in a thread; whatever goes wrong there, or keeps it from being begun, is reported."""

    def run() -> None:
        try:
            work()
        except CallctlError as error:
            report(_with_hint(error.message, error))
        except Exception as error:  # a key must not end the watch
            report(f"unexpected {type_and_message(error)}")

    try:
        start_in_thread(run)
    except NoThreadError as error:
        report(_with_hint(f"not done: {error.message}", error))
