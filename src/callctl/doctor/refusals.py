"""Why credentials open nothing: the likeliest cause, and what to do about it."""

from __future__ import annotations

from callctl.doctor.settings import suspect
from callctl.errors import ApiError, CallctlError, NotFoundError, SettingsError
from callctl.settings import ENVIRONMENT, Settings

CONSOLE = "https://console.twilio.com"


def with_source(settings: Settings, error: CallctlError) -> CallctlError:
    """Add where credentials were looked for: what another source has does not count beside them."""
    identity = {settings.sources[name] for name in settings.sources if name.startswith("TWILIO_")} - {"flag"}
    if not error.message.startswith("missing") or len(identity) != 1:
        return error
    source = identity.pop()
    where = "the environment" if source == ENVIRONMENT else source
    rest = "they are taken all from one place, and it has only some of them; add the others there"
    return SettingsError(f"{error.message} in {where}", hint=rest)


def diagnosed(settings: Settings, error: ApiError) -> ApiError:
    """Return a refusal with its likeliest cause; the same kind of error, with the same code."""
    trouble = suspect(settings)
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
