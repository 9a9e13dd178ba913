"""``callctl redirect``: other TwiML for live calls, with a preview of what becomes of their other legs."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from callctl.calls.call import Call, CallStatus
from callctl.calls.family import parents_first
from callctl.cli import exits
from callctl.cli.io.dry_run import say_nothing_was_sent, show_request
from callctl.cli.io.results import Outcome, OutcomeWriter, calls, failure, name_some, show_alone, what_failed
from callctl.cli.io.runtime import Form, Runtime
from callctl.cli.options import common, completion
from callctl.cli.options import twiml as twiml_options
from callctl.cli.options.callback_url import find_callback, find_callback_of_live
from callctl.cli.options.calls import calls_to_change
from callctl.cli.options.common import CALLBACKS, WAITING
from callctl.cli.options.history import History
from callctl.errors import (
    ApiError,
    CallctlError,
    ConditionNotMetError,
    NetworkError,
    NotFoundError,
    NoThreadError,
    NotInProgressError,
    PartlyFailedError,
    UsageError,
    WrongCallStateError,
    shortened,
    without_secrets,
)
from callctl.operations import redirect as operation
from callctl.operations.bulk import Done, Failed, for_each, for_each_waiting
from callctl.operations.family import (
    CallAndChildren,
    as_reported,
    children_of,
    fetch_with_children,
    find_parents,
    parent_of,
)
from callctl.operations.reported_status import with_reported_status
from callctl.support.backoff import with_pauses
from callctl.support.clock import elapsed
from callctl.support.dates import read_duration

if TYPE_CHECKING:
    from callctl.api.client import ApiClient
    from callctl.api.requests import RedirectRequest
    from callctl.operations.wait import Goal
    from callctl.settings import Settings

_PARALLEL = 20  # requests at once
_OFTEN = 100  # for so many calls it is looked several times a second what callbacks reported; for more, less often
_LOOK_UP = 5.0  # seconds in which REST may say which call dialled which, before calls are waited for
_SHOWN = 60  # characters of a document, in the command for the other leg
# Of a call that is over, or that REST does not know.
_OVER = (WrongCallStateError, NotInProgressError, NotFoundError)

Failures = Mapping[str, CallctlError | None]  # why calls were not redirected, by SID


def redirect(
    ctx: typer.Context,
    calls: Annotated[
        list[str],
        typer.Argument(
            metavar="CALL",
            autocompletion=completion.call_sids,
            help="SIDs, unambiguous starts of some, @last, or - for SIDs on stdin.",
        ),
    ],
    url: twiml_options.Url = None,
    twiml: twiml_options.Twiml = None,
    say: twiml_options.Say = None,
    dial: twiml_options.Dial = None,
    conference: twiml_options.Conference = None,
    method: twiml_options.Method = None,
    fallback_url: twiml_options.FallbackUrl = None,
    status_callback: Annotated[
        str | None,
        typer.Option(
            "--status-callback",
            metavar="URL|watch",
            help="With --url: where the call reports from now on.\n\n"
            "watch is the running watch. Unless given, nothing changes. Which events are reported can't be chosen for "
            "a call in progress: its end is, if it was placed without callbacks.",
            rich_help_panel=CALLBACKS,
        ),
    ] = None,
    add_callbacks: twiml_options.AddCallbacks = False,
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            metavar="parent|children",
            help="Redirect the other legs of the call named.",
        ),
    ] = None,
    family: Annotated[
        bool,
        typer.Option(
            "--family",
            help="With --conference: both legs of a Dial.\n\n"
            "The child first, then the parent, whichever is named. A child that has left the Dial before stays where "
            "it is, unless it is named, the only one, or in the parent's conference. The parent needs an action or a "
            "verb behind its Dial: without, it hangs up before its turn, and the child is alone in the conference. "
            "Where callctl itself gave it a Dial without, as place --dial does without --then, nothing is sent (exit "
            "8).",
        ),
    ] = False,
    when: Annotated[
        str | None,
        typer.Option(
            "--when",
            metavar="STATUS",
            autocompletion=completion.redirectable,
            help="Wait until it is answered (or: in-progress).\n\n"
            "in-progress (or answered) is the one status in which a call can be redirected. Of both legs of a Dial the "
            "parent goes after the child, and is left alone while the child rings.",
            rich_help_panel=WAITING,
        ),
    ] = None,
    wait_timeout: common.WaitTimeout = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show the request and its effects; change nothing.\n\n"
            "It fetches the other leg, to show what becomes of it; nothing that changes a call is sent.",
        ),
    ] = False,
    env_file: common.EnvFile = None,
    account_sid: common.AccountSid = None,
    request_timeout: common.RequestTimeout = "10s",
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Give calls in progress other TwiML, such as a survey.

    Of a parent leg inside <Dial>, the child drops, and the Dial's action is
    requested too. Of a child leg, the parent goes on with the Dial's action,
    else with its next verb, else it hangs up. Which of these it will be is
    said before anything is sent; --dry-run says it and sends nothing.

    --family --conference ROOM makes a conference of a running call: the child
    goes into it first, then the parent.

    No Status is ever sent with it: Twilio leaves open which of the two would
    count, so the call might be ended instead. `callctl hangup` ends calls.
    """
    runtime = common.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    if on not in (None, "parent", "children"):
        raise UsageError(
            f"--on is parent or children, not {on}",
            hint="the parent is the leg that dialled this one, children are those that this one dialled",
        )
    if family:
        _check_family(conference=conference, on=on, when=when)
    goal = None if when is None else _goal(when)
    if wait_timeout is not None and goal is None:
        raise UsageError("--wait-timeout goes with --when", hint="give --when answered")
    limit = None if wait_timeout is None else read_duration(wait_timeout, option="--wait-timeout")
    if twiml == "-" and "-" in calls:
        raise UsageError(
            "stdin can't hold both the SIDs and the TwiML", hint="put the TwiML into a file: --twiml @FILE"
        )
    settings = runtime.settings(env_file=env_file, overrides={"TWILIO_ACCOUNT_SID": account_sid}, requires_dotenv=False)
    settings.credentials()  # missing credentials are reported before anything else that is missing
    twiml_chosen = twiml_options.read_twiml_options(
        runtime,
        settings,
        url=url,
        twiml=twiml,
        say=say,
        dial=dial,
        conference=conference,
        method=method,
        add_callbacks=add_callbacks,
    )
    fallback = twiml_options.read_fallback(settings, fallback_url)
    report_to = find_callback_of_live(runtime, settings, status_callback, by_url=url is not None)
    client = runtime.client(settings)
    sids = calls_to_change(runtime, settings, client, calls)
    if not sids:
        return
    callback = find_callback(runtime, settings, None) if dial or conference or add_callbacks else None
    document = twiml_chosen.with_callbacks_to(callback)

    from callctl.api.requests import RedirectRequest

    request = RedirectRequest(
        url=document.url,
        method=document.method,
        twiml=document.twiml,
        fallback_url=fallback.url or None,
        fallback_method=fallback.method,
        status_callback=report_to,
    )
    given = {
        "--url": url,
        "--twiml": twiml,
        "--say": say,
        "--conference": conference,
        "--status-callback": status_callback,
    }
    with History(runtime, settings, readonly=dry_run) as history:
        client = history.observing(client)
        options = _same_options(given, dial=dial or (), add_callbacks=add_callbacks)
        preview = RedirectPreview(runtime, client, history, options)
        if conference and family:
            preview, sids = preview.of_conversations(sids, room=conference)
        where = _where(url=url, conference=conference)
        redirects = Redirects(settings, preview, request=request, where=where)
        chosen = preview.others(sids, on=on) if on else sids
        if dry_run:
            redirects.dry_run(chosen, when_answered=goal is not None)
        elif goal is None:
            redirects.redirect(chosen)
        else:
            redirects.redirect_when(goal, chosen, limit=limit)


def _check_family(*, conference: str | None, on: str | None, when: str | None) -> None:
    if conference is None:
        raise UsageError(
            "--family goes with --conference",
            hint="only into a conference can both legs of a <Dial> go together; redirect one leg to anything else",
        )
    if on or when:
        raise UsageError(
            f"--family and {'--on' if on else '--when'} exclude each other",
            hint="--family moves both legs of a <Dial>, which are in progress",
        )


def _where(*, url: str | None, conference: str | None) -> str:
    if conference:
        return f"the conference {conference}"
    return without_secrets(url) if url else "other TwiML"


def _goal(when: str) -> Goal:
    from callctl.operations.wait import Goal

    goal = Goal.read(when, option="--when")
    if goal.name != CallStatus.IN_PROGRESS:
        raise UsageError(
            f"--when is in-progress or answered, not {when}: only a call in progress can be redirected",
            hint="`callctl wait` waits for any status",
        )
    return goal


def _same_options(given: Mapping[str, str | None], *, dial: Sequence[str], add_callbacks: bool) -> str:
    """Return the options for the command that redirects the other leg to the same; without passwords."""
    pairs = [*given.items(), *(("--dial", destination) for destination in dial)]
    words = [word for option, value in pairs if value for word in (option, shortened(value, _SHOWN))]
    return shlex.join([*words, "--add-callbacks"] if add_callbacks else words)


@dataclass(frozen=True, slots=True)
class Effects:
    """A call before it is redirected, None if it could not be fetched; and what becomes of its other legs."""

    call: Call | None
    others: Sequence[operation.OtherLeg]

    def to_json(self) -> dict[str, Any]:
        """Return the fields of the JSON objects about the other legs."""
        return {
            "other_legs": [
                {"call_sid": other.sid, "relation": other.relation, "effect": other.effect} for other in self.others
            ]
        }


@dataclass
class RedirectPreview:
    """Says what becomes of the other legs of calls before they are redirected.

    ``options`` say to where, in the command for another leg.
    """

    moves_together: ClassVar[bool] = False  # whether a parent goes only where its children went

    runtime: Runtime
    client: ApiClient
    history: History
    options: str
    _fetched: dict[str, CallAndChildren | None] = field(default_factory=dict)
    _children_first: dict[str, list[str]] = field(default_factory=dict)  # by their parent

    def others(self, sids: Sequence[str], *, on: str) -> list[str]:
        """Return the other legs of some calls: ``on`` is parent or children.

        Raises:
            UnknownCallError: A call has none.
        """

        def family(sid: str) -> Sequence[str]:
            if on == "parent":
                return (parent_of(self.client, sid),)
            return children_of(self.client, sid, reported=self.history)

        return list(dict.fromkeys(chain.from_iterable(map(family, sids))))

    def of_conversations(self, sids: Sequence[str], *, room: str) -> tuple[ConferencePreview, list[str]]:
        """Return the preview of whole conversations that become a conference, and all their legs.

        Raises:
            UnknownCallError: A call has no other leg, or several that have left its <Dial>.
            NotInProgressError: A leg can't be redirected.
            ConditionNotMetError: A parent is known to hang up before its turn.
        """
        history = self.history
        talking = [
            operation.conversation_of(self.client, sid, named=sids, known=history, reported=history) for sid in sids
        ]
        conversations = {each.parent.sid: each for each in talking}
        preview = ConferencePreview(
            self.runtime, self.client, self.history, self.options, room=room, conversations=conversations
        )
        parents = {child.sid: each.parent.sid for each in talking for child in each.children} | dict.fromkeys(
            conversations
        )
        operation.check_both_legs(parents, known=self.history, command=self.command)
        return preview, preview.legs()

    def say_effects(self, sid: str, *, of_none: bool = False) -> Effects:
        """Say whose phone a call is and what becomes of its other legs; with ``of_none`` also if there are none.

        Raises:
            NotFoundError: There is no such call.
        """
        fetched = self._fetched.get(sid)
        if fetched is not None:
            fetched = as_reported(fetched, reported=self.history)  # more may have been reported since
        elif sid not in self._fetched:
            fetched = self._fetched[sid] = self._fetch(sid)
        if fetched is None:
            return Effects(None, ())
        effects = operation.preview(fetched, known=self.history)
        if effects or of_none:
            self._say(fetched.call, effects)
        return Effects(fetched.call, effects)

    def batches(self, sids: Sequence[str]) -> list[list[str]]:
        """Fetch all of them; return the children before their parents, whose redirects end their Dials.

        Raises:
            ConditionNotMetError: A parent is known to hang up before its turn.
        """
        for group in for_each(sids, self._fetch, parallel=_PARALLEL):
            for result in group:
                if isinstance(result, Done):
                    self._fetched[result.sid] = result.value
        parents = {sid: call.parent_sid for sid, call in self._fetched.items() if call is not None}
        return self._in_order(sids, parents)

    def find_order(self, sids: Sequence[str], *, time_left: Callable[[], float]) -> None:
        """Find out which children go before which parents, for calls that are redirected as soon as each is answered.

        Only what callbacks have not reported is fetched from the API, for ``time_left`` seconds at most.

        Raises:
            ConditionNotMetError: A parent is known to hang up before its turn.
        """
        reported = self.history.parents(sids)
        parents = {sid: reported[sid] for sid in sids if sid in reported}
        if rest := [sid for sid in sids if sid not in parents]:
            parents |= find_parents(self.client, rest, parallel=_PARALLEL, time_left=time_left)
        if unknown := [sid for sid in sids if sid not in parents]:
            self.runtime.say(f"callctl: can't tell which call dialled {name_some(unknown)}: they go in no order")
        self._in_order(sids, parents)

    def _in_order(self, sids: Sequence[str], parents: Mapping[str, str | None]) -> list[list[str]]:
        operation.check_both_legs(parents, known=self.history, command=self.command)
        in_dial = operation.children_in_dial(parents, known=self.history)
        bridged = [sid for parent in in_dial if not self.history.dial_action(parent) for sid in in_dial[parent]]
        if bridged:
            self.runtime.say(
                f"callctl: both legs of a <Dial> are named ({name_some(bridged)} and its parent): redirecting the "
                "first ends the Dial, and a parent without a next verb hangs up before its turn\n"
                "hint: redirect the child alone, and let the Dial's action bring the parent where it shall go"
            )
        groups = parents_first(sids, parents.get)[::-1]
        turns = {sid: turn for turn, group in enumerate(groups) for sid in group}
        # Legs that are each other's parents, which is an API's nonsense, don't wait for each other.
        self._children_first = {
            parent: [child for child in children if turns[child] < turns[parent]]
            for parent, children in in_dial.items()
        }
        return groups

    def children_first(self, parent: str) -> Sequence[str]:
        """Return the children that go before a parent, whose redirect ends their Dial."""
        return self._children_first.get(parent, ())

    def hint_after(self, failed: Failures) -> str:  # noqa: ARG002 - of ConferencePreview
        """Return what to do where some of several calls were not redirected."""
        return "`callctl list --live` shows what each call is doing"

    def command(self, sid: str) -> str:
        """Return the command that redirects a call to the same."""
        return f"callctl redirect {shlex.quote(sid)} {self.options}"

    def _fetch(self, sid: str) -> CallAndChildren | None:
        try:
            return fetch_with_children(self.client, sid, reported=self.history)
        except NotFoundError:
            raise
        except (ApiError, NetworkError, NoThreadError) as error:
            self.runtime.say(f"callctl: can't tell what happens to the other leg of {sid}: {error.message}")
            return None

    def _say(self, call: Call, effects: Sequence[operation.OtherLeg]) -> None:
        lines = [f"callctl: {call.sid} is {operation.whose_phone(call)}"]
        lines += [f"callctl: its {other.relation} leg {other.sid}: {other.effect}" for other in effects]
        lines += [] if effects or call.is_final else ["callctl: it has no other leg"]
        lines += [f"hint: for the other leg: {self.command(other.sid)}" for other in effects if other.goes_on]
        self.runtime.say("\n".join(lines))


def _left_alone(parent: str, children: Sequence[str], failed: Failures) -> ConditionNotMetError:
    if unclear := [child for child in children if _is_unclear(child, failed)]:
        return ConditionNotMetError(
            f"{parent} was left alone: its child leg {name_some(unclear)} may not have been redirected, and would be "
            "dropped then",
            hint=f"`callctl show {shlex.quote(unclear[0])}` shows what became of the child",
        )
    return ConditionNotMetError(
        f"{parent} was left alone: its child leg {name_some(children)} was not redirected, and would be dropped",
        hint="see what became of the child, and try again",
    )


def _is_unclear(sid: str, failed: Failures) -> bool:
    """Return whether a redirect that failed may have been carried out all the same."""
    error = failed.get(sid)
    return error is not None and error.may_be_done


@dataclass
class ConferencePreview(RedirectPreview):
    """Says how conversations become a conference: the children go first, then the parents.

    Each parent's Dial ends as its child leaves it. Source: docs/twilio.md, "Redirects and the other leg".
    ``conversations`` are by the SID of the parent.
    """

    moves_together = True

    room: str = field(kw_only=True)
    conversations: Mapping[str, operation.Conversation] = field(kw_only=True)

    def legs(self) -> list[str]:
        """Return the SIDs of all legs in the order in which they are redirected."""
        return list(chain.from_iterable(self._groups()))

    def batches(self, sids: Sequence[str]) -> list[list[str]]:
        """Say what will happen; return the children, then the parents."""
        for conversation in self.conversations.values():
            self._say_plan(conversation)
        return [[sid for sid in group if sid in sids] for group in self._groups()]

    def say_effects(self, sid: str, *, of_none: bool = False) -> Effects:  # noqa: ARG002 - it has others
        """Return the call and the others of its conversation: all is said of them already."""
        if sid in self.conversations:
            conversation = self.conversations[sid]
            others = [
                operation.OtherLeg(child.sid, "child", f"goes into the conference {self.room} before it")
                for child in conversation.children
            ]
            others += [
                operation.OtherLeg(child, "child", operation.child_stays(left_at))
                for child, left_at in conversation.staying.items()
            ]
            return Effects(conversation.parent, others)
        conversation, child = self._of_child(sid)
        effect = f"goes into the conference {self.room} after it, unless it has hung up by then"
        return Effects(child, [operation.OtherLeg(conversation.parent.sid, "parent", effect)])

    def children_first(self, parent: str) -> Sequence[str]:
        """Return the legs that a parent talks to."""
        conversation = self.conversations.get(parent)
        return () if conversation is None else [child.sid for child in conversation.children]

    def hint_after(self, failed: Failures) -> str:
        """Return what to do about the children that are alone now, or may be, if there are any."""
        parents = {
            child: parent for parent in self.conversations if parent in failed for child in self.children_first(parent)
        }
        alone = [sid for sid, parent in parents.items() if sid not in failed and not _is_unclear(parent, failed)]
        unclear = [sid for sid, parent in parents.items() if _is_unclear(sid if sid in failed else parent, failed)]
        if not (alone or unclear):
            return super().hint_after(failed)
        child = (alone or unclear)[0]
        parent, room = parents[child], shlex.quote(self.room)
        ways = [f"`callctl place TO --conference {room}` brings somebody in"]
        if not isinstance(failed[parent], _OVER):
            ways.insert(0, f"`{self.command(parent)}` brings the other leg in where it is live")
        if alone:
            ways.append(f"`callctl hangup {shlex.quote(child)}` ends it")
            return f"{name_some(alone)} is alone in the conference {self.room}: {', '.join(ways)}"
        shown = f"`callctl show {shlex.quote(child)} {shlex.quote(parent)}` shows what became of both legs"
        return f"{name_some(unclear)} may be alone in the conference {self.room}: {shown}; if so, {', '.join(ways)}"

    def _groups(self) -> list[list[str]]:
        children = [child.sid for each in self.conversations.values() for child in each.children]
        return [children, list(self.conversations)]

    def _of_child(self, sid: str) -> tuple[operation.Conversation, Call]:
        return next(
            (each, child) for each in self.conversations.values() for child in each.children if child.sid == sid
        )

    def _say_plan(self, conversation: operation.Conversation) -> None:
        parent, children = conversation.parent, name_some([child.sid for child in conversation.children])
        lines = [f"{child.sid} is {operation.whose_phone(child)}" for child in conversation.children]
        lines += [
            f"{parent.sid} is {operation.whose_phone(parent)}",
            f"{children} goes into the conference {self.room} first, then {parent.sid}",
        ]
        lines += [
            f"{child} {operation.child_stays(left_at)}; `{self.command(child)}` moves it there as well"
            for child, left_at in conversation.staying.items()
        ]
        if any(child.sid not in conversation.left for child in conversation.children):
            lines += self._end_of_dial(parent.sid, children)
        self.runtime.say("\n".join(f"callctl: {line}" for line in lines))

    def _end_of_dial(self, parent: str, children: str) -> list[str]:
        action = self.history.dial_action(parent)
        if action:
            return [f"the Dial of {parent} ends with the first, and its action, {action}, is requested as well"]
        return [
            f"the Dial of {parent} ends with the first, and its action, if it has one, is requested as well",
            f"without an action or a verb behind that Dial, {parent} hangs up before its turn, and {children} is "
            f"alone in {self.room}",
        ]


def redirect_call(
    client: ApiClient, history: History, sid: str, request: RedirectRequest, *, where: str, command: str
) -> Outcome:
    """Redirect one call, and return the outcome; ``where`` names the document, ``command`` is for the hint.

    Raises:
        CallctlError: The request was refused or not answered.
    """
    return with_pauses(redirecting_call(client, history, sid, request, where=where, command=command), sleep=time.sleep)


def redirecting_call(
    client: ApiClient, history: History, sid: str, request: RedirectRequest, *, where: str, command: str
) -> Generator[float, None, Outcome]:
    """Do what ``redirect_call`` does, and yield the pauses, in seconds, instead of sleeping."""
    form = tuple(request.parameters())
    with history.requesting(sid, "redirect", form) as attempt:
        call = yield from operation.redirecting(
            client.seen_by(attempt),
            sid,
            request,
            command=command,
            reported=lambda: history.leg(sid),
            monotonic=elapsed,
            clock=history.clock(),
        )
    now = f" is {call.status}" if call.status else "; the answer could not be read whole"
    sentence = f"redirected to {where}: {sid}{now}"
    return Outcome("redirect", sid, "redirected", sentence, form, f"to {where}", call if call.status else None)


class Redirects:
    """The redirects of one command; ``where`` names the document."""

    def __init__(self, settings: Settings, preview: RedirectPreview, *, request: RedirectRequest, where: str) -> None:
        self._runtime, self._client, self._history = preview.runtime, preview.client, preview.history
        self._settings = settings
        self._preview = preview
        self._request = request
        self._where = where
        self._redirected: set[str] = set()
        self._failed: dict[str, CallctlError | None] = {}  # of several
        self._reported: set[str] = set()  # of several, those whose outcome is shown and recorded
        self._writer = OutcomeWriter(preview.runtime)

    def redirect(self, sids: Sequence[str]) -> None:
        """Redirect the calls, one as well as many; children before their parents, which end the Dial.

        Raises:
            CallctlError: The only one was not redirected.
            PartlyFailedError: Some of several were not.
        """
        self._redirect_all(sids, self._redirect_one, batches=lambda: self._preview.batches(sids))

    def redirect_when(self, goal: Goal, sids: Sequence[str], *, limit: float | None) -> None:
        """Redirect each call as soon as it gets to the goal; ``limit`` is for how many seconds to wait for that.

        A parent goes after its children among them, as its redirect ends the Dial and would drop them.

        Raises:
            CallctlError: The only one was not redirected; WaitTimeoutError: it did not get there in time.
            ConditionNotMetError: A parent is known to hang up before its turn.
            PartlyFailedError: Some of several were not redirected.
        """
        from callctl.cli.wait import WatchedStore, waiter_for
        from callctl.operations.wait import LOOK

        since, look = elapsed(), LOOK * max(1.0, len(sids) / _OFTEN)
        end = since + (_LOOK_UP if limit is None else min(limit, _LOOK_UP))
        if len(sids) > 1:
            self._preview.find_order(sids, time_left=lambda: end - elapsed())
        with WatchedStore(self._runtime, self._settings) as store:
            waiters = {sid: waiter_for(self._runtime, self._client, sid, store=store, placed=False) for sid in sids}

            def work(sid: str) -> Generator[float, None, Outcome]:
                yield from waiters[sid].waiting(goal, limit=limit, since=since, look=look)
                while not self._reported.issuperset(self._preview.children_first(sid)):
                    yield look
                return (yield from self._redirect_one(sid))

            self._redirect_all(sids, work, batches=lambda: [sids])

    def _check_children(self, parent: str) -> None:
        """Make sure that no child that goes on in the Dial is dropped.

        Raises:
            ConditionNotMetError: One may go on.
        """
        children = self._preview.children_first(parent)
        stayed = [sid for sid in children if sid not in self._redirected]
        if not self._preview.moves_together:
            stayed = [sid for sid in stayed if not self._is_over(sid)]
        if stayed:
            raise _left_alone(parent, stayed, self._failed)

    def _is_over(self, sid: str) -> bool:
        """Return whether a call that was not redirected is over, by callbacks or REST: a refusal may be out of date."""
        leg = self._history.leg(sid)
        if leg is not None and leg.verified and leg.is_final:
            return True
        try:
            return with_reported_status(self._client.fetch(sid), leg).is_final
        except CallctlError:
            return False

    def _redirect_all(
        self,
        sids: Sequence[str],
        work: Callable[[str], Generator[float, None, Outcome]],
        *,
        batches: Callable[[], Sequence[Sequence[str]]],
    ) -> None:
        if len(sids) == 1:
            self._report_single(with_pauses(work(sids[0]), sleep=time.sleep))
        else:
            self._redirect_several(batches(), work)

    def _redirect_several(
        self, batches: Sequence[Sequence[str]], work: Callable[[str], Generator[float, None, Outcome]]
    ) -> None:
        failed = self._failed
        reported = 0
        for batch in batches:
            for group in for_each_waiting(batch, work, parallel=_PARALLEL, accepted=reported > len(failed)):
                failed.update(self._report(group))
                self._reported.update(result.sid for result in group)
                reported += len(group)
        if failed:
            total = sum(map(len, batches))
            raise PartlyFailedError(
                what_failed(failed, total=total, done="redirected"),
                hint=self._preview.hint_after(failed),
            )
        self._writer.finish()

    # One call

    def _redirect_one(self, sid: str) -> Generator[float, None, Outcome]:
        self._check_children(sid)
        effects = self._preview.say_effects(sid)
        self._history.record_intent([sid])
        command = self._preview.command(sid)
        outcome = yield from redirecting_call(
            self._client, self._history, sid, self._request, where=self._where, command=command
        )
        self._redirected.add(sid)
        return outcome._replace(more=effects.to_json())

    # Outcomes

    def _report_single(self, outcome: Outcome) -> None:
        try:  # shown first: the store may be locked
            show_alone(self._runtime, outcome)
        finally:
            self._history.record([outcome])
            self._history.settle([outcome.sid])

    def _report(self, group: Sequence[Done[Outcome] | Failed]) -> dict[str, CallctlError | None]:
        """Show and record outcomes; return the errors of the calls that were not redirected, by SID."""
        done = [result.value for result in group if isinstance(result, Done)]
        failed = [result for result in group if isinstance(result, Failed)]
        shown: list[Outcome] = []
        try:
            for outcome in done:
                self._writer.write(outcome)
                shown.append(outcome)
            for result in failed:
                request = tuple(self._request.parameters())
                self._writer.write(failure("redirect", result.sid, request=request, error=result.error))
        finally:  # Ctrl-C too: the outcomes that are shown are no longer pending
            self._history.record(shown)
            self._history.settle(outcome.sid for outcome in shown)
        return {result.sid: result.error for result in failed}

    # --dry-run

    def dry_run(self, sids: Sequence[str], *, when_answered: bool) -> None:
        """Show each call's request, in the order in which they would be sent; nothing that changes a call is sent.

        ``when_answered``: the redirect would wait until a call is in progress.

        Raises:
            CallctlError: The only call could not be redirected, as it is now.
            PartlyFailedError: Some of several could not.
        """
        in_order = list(chain.from_iterable(self._preview.batches(sids))) if len(sids) > 1 else list(sids)
        failed: list[tuple[str, CallctlError]] = []
        for number, sid in enumerate(in_order):
            if number and self._runtime.form is not Form.JSON:
                self._runtime.write("")
            try:
                self._show(sid, when_answered=when_answered)
            except CallctlError as error:
                failed.append((sid, error))
                if len(in_order) > 1:
                    self._runtime.write_error(error, code=exits.code_for(error), of=sid)
        say_nothing_was_sent(self._runtime)
        if failed and len(in_order) == 1:
            raise failed[0][1]
        if failed:
            named = name_some([sid for sid, _ in failed])
            raise PartlyFailedError(
                f"{len(failed)} of {calls(len(in_order))} could not be redirected: {named}",
                hint="`callctl list --live` shows what each call is doing",
            )

    def _show(self, sid: str, *, when_answered: bool) -> None:
        effects = self._preview.say_effects(sid, of_none=True)
        call = effects.call
        status = None if call is None else call.status
        about = {"call_sid": sid, "status": status, **effects.to_json()}
        show_request(self._runtime, self._settings, self._client.call_url(sid), self._request, about=about)
        if call is not None:
            self._check(call, when_answered=when_answered)

    def _check(self, call: Call, *, when_answered: bool) -> None:
        """Raise what the redirect would end in, as the call is now."""
        if call.status == CallStatus.IN_PROGRESS:
            return
        if when_answered and not call.is_final:
            self._runtime.say(f"callctl: {call.sid} is {call.status}: it would be sent once the call is in progress")
            return
        why = f"{call.sid} could not be redirected: it is {call.status}"
        if call.is_final:
            # Who has completed was answered: the waiting is over at once, and the redirect is refused.
            never = when_answered and call.status != CallStatus.COMPLETED
            kind = ConditionNotMetError if never else NotInProgressError
            raise kind(why, hint="it is over; `callctl list --live` shows the calls that can be redirected")
        command = self._preview.command(call.sid)
        raise NotInProgressError(why, hint=f"`{command} --when answered` waits until it can be")
