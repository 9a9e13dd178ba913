"""The options of ``watch`` for rules: what they mean, and the runner that they lead to."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from callctl.calls.watch_trouble import Trouble
from callctl.cli.io.runtime import Runtime
from callctl.cli.options.checks import check_reachable
from callctl.cli.options.common import ACT, ADVANCED
from callctl.errors import UsageError
from callctl.settings import NamedUrl, Settings
from callctl.support.dates import read_duration

if TYPE_CHECKING:
    from callctl.api.client import ApiClient
    from callctl.rules.rule import Action, Rule
    from callctl.rules.runner import RuleRunner
    from callctl.store.event_store import EventStore
    from callctl.support.clock import Clock

RingLimit: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--hangup-ringing-after",
        metavar="DURATION",
        help="End outbound legs that ring longer.\n\n"
        "Without callctl: Timeout on the call, <Dial timeout>. End outbound legs that ring longer, by "
        "Status=canceled, which leaves answered ones alone. That it ends a leg inside <Dial> is unproven on live "
        "Twilio: its status is read back and reported.",
        rich_help_panel=ACT,
    ),
]
AfterDial: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--after-dial",
        metavar="NAME|URL",
        help="Redirect the parent once its child has ended.\n\n"
        "Without callctl, and the proper way: <Dial action> (place --then). This can only catch parents whose "
        "TwiML keeps the caller after the Dial, and can't tell a redirect made by other software apart. When a leg "
        "that was answered ends, redirect its parent here, once.",
        rich_help_panel=ACT,
    ),
]
MaxDuration: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--max-duration",
        metavar="DURATION",
        help="End legs that last longer.\n\n"
        "Without callctl: TimeLimit on the call, <Dial timeLimit>. End legs that last longer, by TimeLimit where "
        "Twilio takes it for a call in progress, else by hanging up.",
        rich_help_panel=ACT,
    ),
]
Settle: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--settle",
        metavar="DURATION",
        help="After a Dial: wait for another leg; 1s unless set.\n\n"
        "How long, after a leg that was dialled has ended, to wait for another one before its parent is redirected.",
        rich_help_panel=ADVANCED,
    ),
]
RulesFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--rules",
        metavar="FILE",
        help="Act by the rules of this TOML file.\n\nIf anything in it is wrong, the watch does not start.",
        rich_help_panel=ACT,
    ),
]
DryRun: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", help="Show what rules would do; do nothing.", rich_help_panel=ACT)
]
CutAnswered: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--cut-answered",
        help="Cut off what Twilio does not cancel. Risky.\n\n"
        "Hang up (Status=completed) ringing legs that Twilio does not cancel. Risks cutting off who answers at "
        "that moment.",
        rich_help_panel=ACT,
    ),
]
AllCalls: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--all-calls",
        help="Let rules act on all calls of the account.\n\nNot only on those that report here or that callctl placed.",
        rich_help_panel=ACT,
    ),
]
MaxActions: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--max-actions",
        metavar="N",
        min=1,
        help="Stop acting after so many in a minute; 100 unless set.",
        rich_help_panel=ADVANCED,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleOptions:
    """The values of these options."""

    hangup_ringing_after: str | None = None
    after_dial: str | None = None
    settle: str | None = None
    max_duration: str | None = None
    rules: Path | None = None
    dry_run: bool = False
    cut_answered: bool = False
    all_calls: bool = False
    max_actions: int | None = None

    @property
    def has_rules(self) -> bool:
        """Whether there is any rule."""
        return any(
            given is not None for given in (self.hangup_ringing_after, self.after_dial, self.max_duration, self.rules)
        )

    def check(self, *, unverified: bool) -> None:
        """Check that the options go together.

        Raises:
            UsageError: An option for rules without a rule, or rules with unverified callbacks.
        """
        without_effect_alone = {
            "--dry-run": self.dry_run,
            "--cut-answered": self.cut_answered,
            "--all-calls": self.all_calls,
            "--max-actions": self.max_actions is not None,
            "--settle": self.settle is not None,
        }
        alone = [name for name, given in without_effect_alone.items() if given]
        if alone and not self.has_rules:
            raise UsageError(
                f"{alone[0]} goes with a rule",
                hint="give --hangup-ringing-after, --after-dial, --max-duration or --rules",
            )
        if unverified and self.has_rules:
            raise UsageError(
                "--unverified and rules exclude each other: anybody could have calls ended", hint="drop --unverified"
            )


def read_rules(settings: Settings, options: RuleOptions, *, cwd: Path) -> list[Rule]:
    """Return the rules of the options and of the rules file.

    Raises:
        UsageError: Anything in them is invalid.
    """
    from callctl.rules.file import load
    from callctl.rules.rule import (
        Cancel,
        Redirect,
        after_dial_rule,
        max_duration_rules,
        ring_limit_rule,
    )

    def resolve(name: str) -> NamedUrl:
        named = settings.named_url(name)
        check_reachable(settings, named.url, what=name)
        return named

    cancel = Cancel(cut_answered=options.cut_answered)
    rules: list[Rule] = []
    if options.hangup_ringing_after is not None:
        rules.append(
            ring_limit_rule(_read_limit(options.hangup_ringing_after, "--hangup-ringing-after"), cancel=cancel)
        )
    if options.after_dial is not None:
        named = resolve(options.after_dial)
        rules.append(after_dial_rule(Redirect(options.after_dial, named.url, named.method)))
    if options.max_duration is not None:
        rules += max_duration_rules(_read_limit(options.max_duration, "--max-duration"))
    if options.rules is not None:
        rules += load(cwd / options.rules, resolve=resolve, cancel=cancel)
    if options.settle is None:
        return rules
    settle = timedelta(seconds=read_duration(options.settle, option="--settle"))
    return [replace(rule, settle=settle) if rule.follows_dial else rule for rule in rules]


def _names(rules: Sequence[Rule]) -> list[str]:
    """Return the names as users know them: ``--max-duration`` makes two rules, which are one to its user."""
    from callctl.rules.rule import MAX_DURATION_HANGUP

    return [rule.name for rule in rules if rule.name != MAX_DURATION_HANGUP]


def _describe(rules: Sequence[Rule], *, dry_run: bool) -> str:
    count = len(_names(rules))
    return f"{count} {'rule' if count == 1 else 'rules'}{' (dry run)' if dry_run else ''}"


def _read_limit(text: str, option: str) -> timedelta:
    seconds = read_duration(text, option=option)
    if seconds < 1:
        raise UsageError(f"{option} is too short: {text}", hint="a second at least: Twilio's own times have no finer")
    return timedelta(seconds=seconds)


def runner_factory(
    runtime: Runtime, settings: Settings, options: RuleOptions, *, clock: Clock
) -> Callable[[EventStore], RuleRunner] | None:
    """Return what makes the runner of a watch's rules from the watch's store, or None if there are no rules.

    Raises:
        CallctlError: A rule is invalid, or credentials are missing.
    """
    rules = read_rules(settings, options, cwd=runtime.cwd) if options.has_rules else []
    if not rules:
        return None
    runtime.say(f"callctl: rules: {', '.join(_names(rules))}{' (dry run)' if options.dry_run else ''}")
    client = runtime.client(settings)
    return lambda store: make_runner(client, store, rules, options=options, clock=clock)


def make_runner(
    client: ApiClient, store: EventStore, rules: Sequence[Rule], *, options: RuleOptions, clock: Clock
) -> RuleRunner:
    """Return a runner of these rules; of ``options`` only those count that are not rules themselves."""
    from callctl.rules.engine import Engine, Scope
    from callctl.rules.executor import DryRun, Executor
    from callctl.rules.rate_limit import PER_MINUTE, RateLimit
    from callctl.rules.runner import RuleRunner
    from callctl.support.threads import start_in_thread

    def make_executor(applies: Callable[[Action], bool], report: Callable[[Trouble], None]) -> Executor | DryRun:
        if options.dry_run:
            return DryRun(client, store, clock=clock)
        return Executor(client, store, clock=clock, sleep=time.sleep, applies=applies, report=report)

    return RuleRunner(
        Engine(rules, scope=Scope.ALL if options.all_calls else Scope.OWN, steady_time=clock.steady),
        make_executor=make_executor,
        store=store,
        rate_limit=RateLimit(per_minute=options.max_actions or PER_MINUTE),
        clock=clock,
        run_in_thread=start_in_thread,
        rest_time=lambda: client.server_time,
        in_words=_describe(rules, dry_run=options.dry_run),
    )
