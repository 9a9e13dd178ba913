"""The API's side: does it answer, are the credentials accepted, whose are they, and is the clock right."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from callctl.api.resources import Account
from callctl.calls.call import Call
from callctl.calls.findings import Finding, fine, skipped, warning, wrong
from callctl.doctor.refusals import CONSOLE, diagnosed, with_source
from callctl.doctor.settings import suspect
from callctl.errors import ApiError, AuthenticationError, CallctlError, NetworkError, NotFoundError, SettingsError
from callctl.rules.engine import FRESH
from callctl.settings import Settings

# The Date header has whole seconds, and a reply takes its time: less than this says nothing.
_EXACT = timedelta(seconds=3)


class Api(Protocol):
    """What is asked of the API."""

    def account(self) -> Account:
        """Return the account; raise ApiError when refused, NetworkError without an answer."""

    def newest(self) -> Iterable[Call]:
        """Yield at most one call."""

    def account_by_token(self) -> Account:
        """Ask for the account as ``account`` does, signed in with the token that verifies callbacks."""

    @property
    def server_time(self) -> datetime | None:
        """What the latest reply said that the time is."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What the credentials opened: the account, or where they may not read it, its newest call, if there is one."""

    account: Account | None = None
    newest: Call | None = None


def account_findings(
    settings: Settings, api: Api, *, unsigned: SettingsError | None, now: Callable[[], datetime]
) -> Iterator[Finding]:
    """Yield what is found, one or two requests later.

    Args:
        settings: The settings.
        api: The API.
        unsigned: Why no callback could be verified, if so.
        now: The time.
    """
    opened: Opened | None = None
    failure: CallctlError | None = None
    try:
        _check_kind(settings)
        opened = _open(settings, api)
    except CallctlError as error:
        failure = error
    at, server_time = now(), api.server_time  # before anything else takes its time
    if failure is not None:
        yield from _closed(settings, failure)
    if opened is not None:
        yield fine("api", f"{settings.api_url} answers{'' if settings.is_twilio else ' (not Twilio)'}")
        yield fine("credentials", "accepted")
        yield _account(settings, opened)
        yield _key(settings, opened)
    yield _clock(server_time, at)
    yield warning("signing", unsigned.message, fix=unsigned.hint) if unsigned else _signing(settings, api, opened)


def _check_kind(settings: Settings) -> None:
    """Refuse credentials that can't open any account, before they are sent anywhere.

    Raises:
        SettingsError: Something is missing, or the account SID is another kind's.
    """
    settings.credentials()
    trouble = suspect(settings)
    if trouble is not None and " is the SID of " in trouble:
        raise SettingsError(trouble, hint=f"account SID and auth token stand on the first page of {CONSOLE}")


def _open(settings: Settings, api: Api) -> Opened:
    try:
        return Opened(account=api.account())
    except NotFoundError:
        if settings.is_twilio:
            raise
    except AuthenticationError as error:
        if settings.api_key is None or error.code == "20008":
            raise
    # A standard or a restricted key (docs/twilio.md, "Credentials"), or a service without this resource: calls are what
    # counts.
    return Opened(newest=next(iter(api.newest()), None))


def _closed(settings: Settings, error: CallctlError) -> Iterator[Finding]:
    if isinstance(error, NetworkError) or (isinstance(error, ApiError) and error.status >= 500):
        yield wrong("api", error)
        yield from (skipped(name, "not checked: the API did not answer") for name in ("credentials", "account", "key"))
        return
    if isinstance(error, ApiError):
        yield fine("api", f"{settings.api_url} answers{'' if settings.is_twilio else ' (not Twilio)'}")
        error = diagnosed(settings, error)
    else:
        yield skipped("api", "not asked: there is nothing to sign in with")
        error = with_source(settings, error)
    yield wrong("credentials", error)
    yield from (skipped(name, "not checked: the credentials open nothing") for name in ("account", "key"))


def _account(settings: Settings, opened: Opened) -> Finding:
    account = opened.account
    if account is None:
        seen = f"newest {opened.newest.sid}" if opened.newest else "there are none yet"
        return fine("account", f"name and status can't be read with these credentials; its calls can: {seen}")
    kind = f" ({account.type})" if account.type else ""
    text = f"“{account.name}”, {account.status or 'of unknown status'}{kind}"
    if account.status in ("suspended", "closed"):
        return wrong("account", CallctlError(text, hint=f"no call can be placed or changed; {CONSOLE} says why"))
    if account.type == "Trial":
        return warning("account", text, fix="a trial account calls verified numbers only")
    sub = settings.account_sid != account.owner_sid and account.owner_sid
    return fine("account", text + (f", a subaccount of {account.owner_sid}" if sub else ""))


def _key(settings: Settings, opened: Opened) -> Finding:
    if settings.api_key is None:
        if settings.token_account_sid not in (None, settings.account_sid):
            return fine("key", f"the auth token of the main account {settings.token_account_sid}")
        return fine("key", "the account's auth token")
    if opened.account is None:
        return fine("key", "an API key, standard or restricted: it does all with calls, and signs no callbacks")
    return fine("key", "a main API key: it may read the account, and signs no callbacks")


def _signing(settings: Settings, api: Api, opened: Opened | None) -> Finding:
    """Tell with which token callbacks are verified, and whether it is the one that Twilio signs with."""
    name = settings.named("CALLCTL_SIGNING_TOKEN" if settings.signing_token else "TWILIO_AUTH_TOKEN")
    if opened is None:
        return skipped("signing", f"callbacks would be verified with {name}; not checked")
    # Only Twilio's tokens open the API and sign as well; elsewhere there may be a key for signatures alone.
    if not (settings.is_twilio or settings.is_loopback):
        return fine("signing", f"callbacks are verified with {name}")
    try:
        primary = _primary_token(settings, api, opened)
    except AuthenticationError as error:
        return wrong("signing", _not_signing(settings, name, error))
    except CallctlError as error:
        return warning("signing", f"callbacks are verified with {name}; not checked: {error.message}", fix=error.hint)
    if primary is None:
        return fine("signing", f"callbacks are verified with {name}, a token of the account")
    if any(hmac.compare_digest(primary.encode(), key.encode()) for key in settings.signing_keys):
        return fine("signing", f"callbacks are verified with {name}, the account's primary token")
    return wrong("signing", _not_signing(settings, name, None))


def _primary_token(settings: Settings, api: Api, opened: Opened) -> str | None:
    """Return the token that signs, if the API tells it. A token that is accepted may be a secondary one."""
    uses_token = settings.api_key is None and settings.signing_keys == (settings.auth_token,)
    account = opened.account if uses_token and opened.account is not None else api.account_by_token()
    primary = account.primary_token
    # Something else may stand in its place, such as stars.
    return primary if primary and (settings.is_loopback or re.fullmatch("[0-9a-f]{32}", primary)) else None


def _not_signing(settings: Settings, name: str, refused: AuthenticationError | None) -> CallctlError:
    what = "which the account does not accept" if refused else "which is not the account's primary token"
    return CallctlError(
        f"callbacks are verified with {name}, {what}: each will be refused",
        hint=f"set it to the primary auth token of {settings.account_sid} ({CONSOLE}); it is what Twilio signs with",
    )


def _clock(server: datetime | None, at: datetime) -> Finding:
    if server is None:
        return skipped("clock", "not compared: no reply told the time")
    ahead = at - server
    seconds = round(ahead.total_seconds())
    if abs(ahead) <= _EXACT:
        return fine("clock", "agrees with the API's", seconds=seconds)
    text = f"{abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'} the API's"
    fix = "have the system set its clock by the network (`timedatectl set-ntp true`; on macOS Settings, Date & Time)"
    if ahead > FRESH:
        return warning(
            "clock", f"{text}: rules take every callback for too old, and do nothing", fix=fix, seconds=seconds
        )
    if ahead < -FRESH:
        told = f"{text}: until callbacks correct it, rules may act on what is too old"
        return warning("clock", told, fix=fix, seconds=seconds)
    return fine("clock", text, seconds=seconds)
