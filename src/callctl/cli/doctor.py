"""``callctl doctor``: what keeps these settings from working, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from callctl.cli import exits
from callctl.cli.io.event_loop import run_loop
from callctl.cli.io.runtime import Form, Runtime
from callctl.cli.options import common
from callctl.cli.options.callback_url import RETRIES, STATUS_PATH, with_status_path
from callctl.cli.options.checks import signing_trouble
from callctl.errors import CallctlError, SettingsError

if TYPE_CHECKING:
    from callctl.api.resources import PhoneNumber
    from callctl.doctor.callback_route import Examined, Running
    from callctl.doctor.numbers import Listeners
    from callctl.settings import Settings
    from callctl.views.doctor_finding import Finding
    from callctl.watch.registry.record import WatchRecord

_LONGEST_CHECK = len("settings file")


def doctor(
    ctx: typer.Context,
    public_url: Annotated[
        str | None,
        typer.Option("--public-url", metavar="URL", help="Test this address; else CALLCTL_PUBLIC_URL."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="PORT", min=0, max=65535, help="Test this port; else CALLCTL_PORT or 8765."),
    ] = None,
    env_file: common.EnvFile = None,
    account_sid: common.AccountSid = None,
    request_timeout: common.RequestTimeout = "5s",
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Check settings, credentials, clock, store and the way back from Twilio, and say what to fix.

    A line each: ✓ fine, ! works but not for everything, ✗ wrong. Nothing is changed, and no call is placed.
    """
    runtime = common.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    given = {
        "TWILIO_ACCOUNT_SID": account_sid,
        "CALLCTL_PUBLIC_URL": public_url,
        "CALLCTL_PORT": None if port is None else str(port),
    }
    report = _Report(runtime)
    try:
        settings = runtime.settings(env_file=env_file, overrides=given)
    except SettingsError as error:
        from callctl.views.doctor_finding import wrong

        report.show(checks=[wrong("settings", error)])
    else:
        from callctl.doctor.settings import setting_findings

        report.show(settings=list(setting_findings(settings)), checks=_checks(runtime, settings))
    raise typer.Exit(report.code)


def _checks(runtime: Runtime, settings: Settings) -> Iterator[Finding]:
    from callctl.doctor.account import account_findings
    from callctl.doctor.callback_route import who_listens
    from callctl.doctor.files import settings_files, state_folder_findings, store_finding, undelivered_findings
    from callctl.views.doctor_finding import Level

    yield from settings_files(settings)
    account = []
    look = cache(lambda: who_listens(settings))
    for finding in account_findings(
        settings,
        runtime.client,
        why_unverified=lambda: look().why_unverified or signing_trouble(settings),
        now=runtime.now,
    ):
        account.append(finding)
        yield finding
    yield store_finding(settings)
    yield from undelivered_findings(settings, now=runtime.now)
    yield from state_folder_findings(settings)
    running = look()
    route = _callback_route(runtime, settings, running, doubted=_doubted(settings, account))
    yield from route.findings
    if any(finding.name == "credentials" and finding.level is Level.FINE for finding in account):
        yield from _numbers(runtime, settings, running, route)


def _doubted(settings: Settings, account: Iterable[Finding]) -> str | None:
    """Return the check that found the token which verifies callbacks to be wrong or missing; None if none did."""
    from callctl.views.doctor_finding import Level

    if not settings.signing_keys:
        return "signing"
    opens_the_api = settings.api_key is None and settings.signing_token is None
    names = ("credentials", "signing") if opens_the_api else ("signing",)
    return next((finding.name for finding in account if finding.name in names and finding.level is Level.WRONG), None)


def _callback_route(runtime: Runtime, settings: Settings, running: Running, *, doubted: str | None) -> Examined:
    from callctl.doctor.callback_route import CallbackRoute, examine_route

    url = None if settings.public_url is None else with_status_path(settings.public_url)
    route = CallbackRoute(url, STATUS_PATH, doubted=doubted)
    return run_loop(runtime, examine_route(settings, route, running=running, now=runtime.now))


def _numbers(runtime: Runtime, settings: Settings, running: Running, route: Examined) -> Iterator[Finding]:
    """Yield what is found of the account's numbers, where a callback URL is known that they could have.

    Where a request through that URL came back, and no listener is known here, none is there.
    """
    from callctl.doctor.numbers import number_findings, unanswered_findings
    from callctl.doctor.retries import retry_findings
    from callctl.support.urls import is_loopback_url
    from callctl.views.doctor_finding import skipped

    watch = running.first
    public = None if settings.public_url is None else with_status_path(settings.public_url)
    url = public if watch is None else watch.callback_url
    if url is None or not (settings.is_twilio or settings.is_loopback):
        return
    numbers: list[PhoneNumber] = []
    unread: CallctlError | None = None
    try:
        numbers = runtime.client(settings).phone_numbers()
    except CallctlError as error:
        unread = error
    yield from retry_findings(numbers, callback_url=url, retries=RETRIES)
    if unread is not None:
        yield skipped("numbers", "not checked: they can't be read", error=unread)
    if watch is None and running.is_known and route.came_back and numbers:
        yield from unanswered_findings(settings, runtime.client, numbers=numbers, callback_url=url)
    if watch is not None and numbers and (settings.is_loopback or not is_loopback_url(url)):
        yield from number_findings(settings, runtime.client, numbers=numbers, listeners=_listeners(running, route))


def _listeners(running: Running, route: Examined) -> Listeners:
    """Return what is known of who listens, by their records and the route, and of the paths of those here."""
    from callctl.doctor.numbers import Listeners, is_of_document
    from callctl.watch.registry.health import cannot_give, serves
    from callctl.watch.registry.record import NO

    @cache
    def served(url: str) -> list[tuple[WatchRecord, bool | None]]:
        at_url = [each for each in running.watches if is_of_document(url, [each.callback_url])]
        return [(each, None if each.host else serves(each, urlsplit(url).path)) for each in at_url]

    def serves_document(url: str) -> bool | None:
        # What it has not itself, one that passes requests on may get from the application.
        known = {None if is_there is False and each.forwards != NO else is_there for each, is_there in served(url)}
        return True if True in known else None if None in known else False

    @cache
    def lacks_document(url: str) -> bool:
        there = [each for each, is_there in served(url) if is_there]
        return bool(there) and all(cannot_give(each, urlsplit(url).path) for each in there)

    return replace(
        Listeners.of(running.watches, retries=RETRIES),
        serves=serves_document,
        lacks=lacks_document,
        lost=route.lost,
        dead=route.dead,
        is_complete=running.is_known,
    )


@dataclass
class _Report:
    """Shows findings as they come, or as one object with ``--json``, and knows the exit code in the end."""

    runtime: Runtime
    code: int = exits.DONE

    def show(self, *, settings: Iterable[Finding] = (), checks: Iterable[Finding]) -> None:
        from callctl.views.doctor import to_json
        from callctl.views.doctor_finding import Level

        of_settings = list(settings)
        width = max([_LONGEST_CHECK, *(len(finding.name) for finding in of_settings)])
        for finding in of_settings:
            self._show(finding, width=width)
        findings = []
        for finding in checks:
            findings.append(finding)
            self._show(finding, width=width)
        if self.runtime.form is Form.JSON:
            self.runtime.write_json(to_json(of_settings, findings))
        wrong = [finding for finding in findings if finding.level is Level.WRONG]
        warnings = sum(finding.level is Level.WARNING for finding in (*of_settings, *findings))
        self.runtime.say(f"callctl: {_count(len(wrong), 'problem')}, {_count(warnings, 'warning')}")
        if wrong:  # the first one may be the cause of the others
            self.code = exits.code_for(wrong[0].error or CallctlError(wrong[0].text))

    def _show(self, finding: Finding, *, width: int) -> None:
        from callctl.views.doctor import plain_line, print_finding

        if self.runtime.form is Form.PLAIN:
            self.runtime.write(plain_line(finding))
        elif self.runtime.form is Form.TABLE:
            print_finding(self.runtime.console(), finding, width=width)


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
