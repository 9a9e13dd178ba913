"""The settings one by one: value, where it came from, and what of its form can't be right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from callctl.calls.call import is_endpoint
from callctl.calls.sid import LENGTH, is_twilio_sid
from callctl.errors import REDACTED, without_secrets
from callctl.settings import ENVIRONMENT, FLAG, SECRETS, URL_PREFIX, Settings, url_name
from callctl.settings.values import EDGES, OWN_EDGES, wrong_kind_of_sid
from callctl.views.doctor_finding import Finding, fine, warning

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TOKEN = re.compile(r"[0-9a-f]{32}")
_QUOTES = "\"'`\u2018\u2019\u201c\u201d"
_REGION_AND_EDGE = ("TWILIO_REGION", "TWILIO_EDGE")
_REGIONS = ("us1", *OWN_EDGES)
_COPY_AGAIN = "copy it again from the console (https://console.twilio.com)"


def setting_findings(settings: Settings) -> Iterator[Finding]:
    """Yield each setting that is set, in the order of their names; secrets redacted."""
    values = _values(settings)
    for name in sorted(set(settings.sources) & set(values)):
        source = settings.sources[name]
        facts = {"value": None if name in SECRETS else _shown(name, values[name]), "source": source}
        text = f"{facts['value'] or REDACTED}  {_where(source)}"
        trouble = problem_with(settings, name)
        if name in _REGION_AND_EDGE:
            yield replace(_region_or_edge(settings, name, text), facts=facts)
        elif trouble is None:
            yield replace(fine(name, text), facts=facts)
        else:
            finding = warning(name, f"{text}; it {trouble}", fix=f"{_COPY_AGAIN}, and write nothing else beside it")
            yield replace(finding, facts=facts)


def _region_or_edge(settings: Settings, name: str, text: str) -> Finding:
    """Check whether region and edge can go together: what Twilio documents, which is not all that works."""
    region, edge = settings.region, settings.edge
    if name == "TWILIO_EDGE":
        if edge in EDGES:
            return fine(name, f"{text}{'' if region else '; the region is us1, TWILIO_REGION is not set'}")
        return warning(name, f"{text}; Twilio has no edge of that name", fix=f"one of {', '.join(EDGES)}")
    if settings.implied_edge:
        return fine(name, f"{text}; reached through {settings.implied_edge}, TWILIO_EDGE is not set")
    if region in _REGIONS:
        return fine(name, text)
    return warning(
        name,
        f"{text}; Twilio documents no such region for calls",
        fix=f"one of {', '.join(_REGIONS)}; unset, it is us1",
    )


def doubtful_credential(settings: Settings) -> str | None:
    """Return which of the credentials that are used can't be right, and why, in a clause; None if all look right."""
    used = ["TWILIO_ACCOUNT_SID", *(["TWILIO_API_KEY", "TWILIO_API_SECRET"] if settings.api_key else [])]
    used += [] if settings.api_key else ["TWILIO_AUTH_TOKEN"]
    problems = ((name, problem_with(settings, name)) for name in used)
    return next((f"{settings.named(name)} {trouble}" for name, trouble in problems if trouble), None)


def problem_with(settings: Settings, name: str) -> str | None:
    """Say what of a setting's form can't be right, as the rest of a sentence; None if nothing, or it is not set."""
    text = _values(settings).get(name)
    if text is None or (name not in SECRETS and name != "TWILIO_ACCOUNT_SID"):
        return None
    return _stray(text) or wrong_kind_of_sid(name, text) or (_form(name, text) if settings.is_twilio else None)


def _stray(text: str) -> str | None:
    """Say what came along when a value was copied, without the value."""
    if not text.strip():
        return "is blank"
    if text != text.strip():
        return "begins or ends with a blank"
    if text[0] in _QUOTES or text[-1] in _QUOTES:
        return "is in quote marks"
    if any(char.isspace() for char in text):
        return "has a blank in it"
    if not (text.isascii() and text.isprintable()):
        return "has a character in it that no token has"
    return None


def _form(name: str, text: str) -> str | None:
    """Say where a value lacks the fixed form of Twilio's own: SIDs of 34 characters, tokens of 32 (OAS)."""
    if name in ("TWILIO_ACCOUNT_SID", "TWILIO_API_KEY"):
        if is_twilio_sid(text):
            return None
        prefix = "AC" if name == "TWILIO_ACCOUNT_SID" else "SK"
        if len(text) != LENGTH:
            return f"has {len(text)} characters, where Twilio's have {LENGTH}"
        return f"is not {prefix} and 32 hexadecimal digits"
    if name == "TWILIO_API_SECRET" or _TOKEN.fullmatch(text):
        return None
    if len(text) != 32:
        return f"has {len(text)} characters, where Twilio's have 32"
    return "is not 32 hexadecimal digits in lower case"


def _shown(name: str, text: str) -> str:
    """Return a value as it may be shown: what can't be what its name says may be a secret in the wrong place."""
    if name == "TWILIO_ACCOUNT_SID":
        return text if is_twilio_sid(text) or _UUID.fullmatch(text) else REDACTED
    if name == "CALLCTL_FROM":
        return text if is_endpoint(text) else REDACTED
    return without_secrets(text)


def _where(source: str) -> str:
    return {ENVIRONMENT: "from the environment", FLAG: "from an option"}.get(source, f"in {source}")


def _values(settings: Settings) -> dict[str, str]:
    known = {
        "TWILIO_ACCOUNT_SID": settings.account_sid,
        "TWILIO_AUTH_TOKEN": settings.auth_token,
        "TWILIO_API_KEY": settings.api_key,
        "TWILIO_API_SECRET": settings.api_secret,
        "TWILIO_REGION": settings.region,
        "TWILIO_EDGE": settings.edge,
        "CALLCTL_API_URL": settings.api_url,
        "CALLCTL_SIGNING_TOKEN": settings.signing_token,
        "CALLCTL_FROM": settings.from_,
        "CALLCTL_PUBLIC_URL": settings.public_url,
        "CALLCTL_PORT": str(settings.port),
        "CALLCTL_STORE": settings.store_name,
    }
    urls = {
        name: " ".join(filter(None, (named.method, named.url)))
        for name in settings.sources
        if name.startswith(URL_PREFIX) and (named := settings.urls.get(url_name(name.removeprefix(URL_PREFIX))))
    }
    return {name: text for name, text in known.items() if text is not None} | urls
