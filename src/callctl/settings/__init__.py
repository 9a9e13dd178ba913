"""Settings: where each comes from, how its value is read, and what they are once resolved."""

from __future__ import annotations

from callctl.settings.settings import Credentials, Settings
from callctl.settings.sources import IDENTITY, PLAIN, SECRETS, environ_for_others, load
from callctl.settings.values import (
    DEFAULT_PORT,
    ENVIRONMENT,
    FLAG,
    TWILIO_API_URL,
    URL_PREFIX,
    NamedUrl,
    may_be_token,
    url_name,
)

__all__ = [
    "DEFAULT_PORT",
    "ENVIRONMENT",
    "FLAG",
    "IDENTITY",
    "PLAIN",
    "SECRETS",
    "TWILIO_API_URL",
    "URL_PREFIX",
    "Credentials",
    "NamedUrl",
    "Settings",
    "environ_for_others",
    "load",
    "may_be_token",
    "url_name",
]
