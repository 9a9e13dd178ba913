"""The API's side: whether it answers, accepts the credentials, whose they are, and whether the clock is right."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from callctl.api.client import ApiClient
from callctl.api.resources import Account
from callctl.calls.call import Call
from callctl.calls.filter import CallFilter
from callctl.doctor.settings import doubtful_credential
from callctl.errors import (
    ApiError,
    AuthenticationError,
    CallctlError,
    NetworkError,
    NotFoundError,
    NoThreadError,
    SettingsError,
)
from callctl.rules.clock_skew import EXACT
from callctl.rules.rule import FRESH
from callctl.settings import ENVIRONMENT, Settings
from callctl.views.doctor_finding import Finding, fine, skipped, warning, wrong

CONSOLE = "https://console.twilio.com"


@dataclass(frozen=True, slots=True)
class Access:
    """What the credentials opened: the account, or where they may not read it, its newest call, if there is one."""

    account: Account | None = None
    newest: Call | None = None


def account_findings(
    settings: Settings,
    open_client: Callable[[Settings], ApiClient],
    *,
    why_unverified: Callable[[], CallctlError | None],
    now: Callable[[], datetime],
) -> Iterator[Finding]:
    """Yield what is found, one or two requests later.

    Args:
        settings: The settings.
        open_client: Returns the API client for settings with credentials.
        why_unverified: Returns why no callback is verified, or could be, if so.
        now: The time.
    """
    client: ApiClient | None = None
    opened: Access | None = None
    failure: CallctlError | None = None
    try:
        _check_kind(settings)
        client = open_client(settings)
        opened = _open(settings, client)
    except CallctlError as error:
        failure = error
    at, server_time = now(), None if client is None else client.server_time  # before anything else takes its time
    if failure is not None:
        yield from _closed(settings, failure)
    if opened is not None:
        yield fine("api", f"{settings.api_url} answers{'' if settings.is_twilio else ' (not Twilio)'}")
        yield fine("credentials", "accepted")
        yield _account(settings, opened)
        yield _key(settings, opened)
    yield _clock(server_time, at)
    if (why := why_unverified()) is not None:
        yield warning("signing", why.message, fix=why.hint)
    else:
        yield _signing(settings, open_client, opened)


def _check_kind(settings: Settings) -> None:
    """Refuse credentials that can't open any account, before they are sent anywhere.

    Raises:
        SettingsError: Something is missing, or the account SID is another kind's.
    """
    settings.credentials()
    trouble = doubtful_credential(settings)
    if trouble is not None and " is the SID of " in trouble:
        raise SettingsError(trouble, hint=f"account SID and auth token are on the first page of {CONSOLE}")


def _open(settings: Settings, client: ApiClient) -> Access:
    try:
        return Access(account=client.account())
    except NotFoundError:
        if settings.is_twilio:
            raise
    except AuthenticationError as error:
        if settings.api_key is None or error.code == "20008":
            raise
    # A standard or a restricted key (docs/twilio.md, "Credentials"), or a service without this resource: calls are what
    # counts.
    return Access(newest=next(client.list(CallFilter(), page_size=1, limit=1), None))


def _closed(settings: Settings, error: CallctlError) -> Iterator[Finding]:
    if isinstance(error, NetworkError | NoThreadError) or (isinstance(error, ApiError) and error.status >= 500):
        yield wrong("api", error)
        yield from (skipped(name, "not checked: the API did not answer") for name in ("credentials", "account", "key"))
        return
    if isinstance(error, ApiError):
        yield fine("api", f"{settings.api_url} answers{'' if settings.is_twilio else ' (not Twilio)'}")
        error = _diagnosed(settings, error)
    else:
        yield skipped("api", "not checked: there are no credentials")
        error = _with_source(settings, error)
    yield wrong("credentials", error)
    yield from (skipped(name, "not checked: the credentials open nothing") for name in ("account", "key"))


def _with_source(settings: Settings, error: CallctlError) -> CallctlError:
    """Add where credentials were looked for: what another source has does not count beside them."""
    identity = {settings.sources[name] for name in settings.sources if name.startswith("TWILIO_")} - {"flag"}
    if not error.message.startswith("missing") or len(identity) != 1:
        return error
    source = identity.pop()
    where = "the environment" if source == ENVIRONMENT else source
    rest = "they are taken all from one place, and it has only some of them; add the others there"
    return SettingsError(f"{error.message} in {where}", hint=rest)


def _diagnosed(settings: Settings, error: ApiError) -> ApiError:
    """Return a refusal with its likeliest cause; the same kind of error, with the same code."""
    trouble = doubtful_credential(settings)
    host = settings.api_url.partition("://")[2]
    if error.code == "20008":
        text, fix = "these are test credentials", error.hint
    elif isinstance(error, NotFoundError):
        text, fix = (
            f"{host} knows no such account",
            f"copy the account SID again from {CONSOLE}; check the API address",
        )
    elif error.status == 403 or error.code in ("20403", "70051"):
        text = f"recognised, but may not do this: {error.message}"
        fix = f"the account is suspended or closed ({CONSOLE} says why), or a restricted key lacks calls"
    elif error.status != 401 and error.code != "20003":
        return error
    elif trouble is not None:
        text, fix = f"not accepted: {trouble}", f"correct it: {CONSOLE} has a button that copies it"
    else:
        text, fix = _mismatch(settings)
    return error.reworded(text, hint=fix)


def _mismatch(settings: Settings) -> tuple[str, str]:
    """Say what to look for where each part has the right form, yet they are refused (ERR 20003)."""
    region = settings.region
    regional = f"; {region} accepts only what was made there: for keys of the US, unset TWILIO_REGION" if region else ""
    if settings.api_key:
        return (
            "not accepted: the API key and its secret do not belong together, or not to this account",
            f"make a new key at {CONSOLE} (API keys & tokens): a secret is shown only once; the old one may have been "
            f"deleted{regional}",
        )
    named = settings.named("TWILIO_AUTH_TOKEN")
    return (
        f"not accepted: account SID and {named} do not belong together",
        f"one of them is mistyped, or the token was changed: copy both again from {CONSOLE}; a suspended account is "
        f"refused in the same way{regional}",
    )


def _account(settings: Settings, opened: Access) -> Finding:
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


def _key(settings: Settings, opened: Access) -> Finding:
    if settings.api_key is None:
        if settings.token_account_sid not in (None, settings.account_sid):
            return fine("key", f"the auth token of the main account {settings.token_account_sid}")
        return fine("key", "the account's auth token")
    if opened.account is None:
        return fine("key", "an API key, standard or restricted: it does all with calls, and signs no callbacks")
    return fine("key", "a main API key: it may read the account, and signs no callbacks")


def _signing(settings: Settings, open_client: Callable[[Settings], ApiClient], opened: Access | None) -> Finding:
    """Say with which token callbacks are verified, and whether it is the one that Twilio signs with."""
    name = settings.named("CALLCTL_SIGNING_TOKEN" if settings.signing_token else "TWILIO_AUTH_TOKEN")
    if opened is None:
        return skipped("signing", f"callbacks would be verified with {name}; not checked")
    # Only Twilio's tokens open the API and sign as well; elsewhere there may be a key for signatures alone.
    if not (settings.is_twilio or settings.is_loopback):
        return fine("signing", f"callbacks are verified with {name}")
    try:
        primary = _primary_token(settings, open_client, opened)
    except AuthenticationError as error:
        return wrong("signing", _not_signing(settings, name, error))
    except CallctlError as error:
        return warning("signing", f"callbacks are verified with {name}; not checked: {error.message}", fix=error.hint)
    if primary is None:
        return fine("signing", f"callbacks are verified with {name}, a token of the account")
    if any(hmac.compare_digest(primary.encode(), key.encode()) for key in settings.signing_keys):
        return fine("signing", f"callbacks are verified with {name}, the account's primary token")
    return wrong("signing", _not_signing(settings, name, None))


def _primary_token(settings: Settings, open_client: Callable[[Settings], ApiClient], opened: Access) -> str | None:
    """Return the token that signs, if the API shows it. A token that is accepted may be a secondary one."""
    uses_token = settings.api_key is None and settings.signing_keys == (settings.auth_token,)
    if uses_token and opened.account is not None:
        account = opened.account
    else:
        token = next(iter(settings.signing_keys), None)
        by_token = replace(settings, auth_token=token, token_account_sid=None, api_key=None, api_secret=None)
        account = open_client(by_token).account()
    primary = account.primary_token
    # Something else may be in its place, such as stars.
    return primary if primary and (settings.is_loopback or re.fullmatch("[0-9a-f]{32}", primary)) else None


def _not_signing(settings: Settings, name: str, refused: AuthenticationError | None) -> CallctlError:
    what = "which the account does not accept" if refused else "which is not the account's primary token"
    return CallctlError(
        f"callbacks are verified with {name}, {what}: each will be refused",
        hint=f"set it to the primary auth token of {settings.account_sid} ({CONSOLE}); it is what Twilio signs with",
    )


def _clock(server: datetime | None, at: datetime) -> Finding:
    if server is None:
        return skipped("clock", "not compared: no reply had a date")
    ahead = at - server
    seconds = round(ahead.total_seconds())
    if abs(ahead) <= EXACT:
        return fine("clock", "agrees with the API's", seconds=seconds)
    text = f"{abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'} the API's"
    fix = "have the system set its clock by the network (`timedatectl set-ntp true`; on macOS Settings, Date & Time)"
    if ahead > FRESH:
        return warning(
            "clock",
            f"{text}: stored times are wrong, and rules query REST before each action",
            fix=fix,
            seconds=seconds,
        )
    if ahead < -FRESH:
        return warning("clock", f"{text}: stored times are wrong", fix=fix, seconds=seconds)
    return fine("clock", text, seconds=seconds)
