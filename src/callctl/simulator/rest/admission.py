"""Who may ask the API for what: credentials, the account's standing, and no page that a browser has open."""

import base64
import binascii
import hmac

from aiohttp import web

from callctl.simulator.rest.errors import ApiError
from callctl.simulator.settings import ACTIVE, Settings

READING = frozenset({"GET", "HEAD"})


def authenticate(request: web.Request, settings: Settings, *, of_account: bool) -> None:
    """Let in the account with its token and the API key with its secret; this comes before existence."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    try:
        pair = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        pair = b""
    by_token = hmac.compare_digest(pair, f"{settings.account_sid}:{settings.auth_token}".encode())
    by_key = hmac.compare_digest(pair, f"{settings.api_key}:{settings.api_secret}".encode())
    if scheme.lower() != "basic" or not (by_token or by_key):
        raise ApiError(20003)
    if by_key and not by_token and of_account:
        raise ApiError(20003)  # a standard key has no access to /Accounts (AI:twilio-iam-auth-setup)
    account = request.match_info.get("account")
    if account is not None and account != settings.account_sid:
        raise ApiError(20404, request.path)  # what live Twilio says of another account in the path


def check_standing(settings: Settings, *, of_account: bool, creates: bool) -> None:
    """Refuse what a suspended account may not do, and what test credentials may not (ERR 20403, 20008)."""
    if settings.account_status != ACTIVE and not of_account:
        raise ApiError(20403, f"Account is {settings.account_status}")
    if settings.test_credentials and not creates:
        raise ApiError(20008)


def refuse_browsers(request: web.Request) -> None:
    """Let no page that someone has open place or move calls here: the usual credentials are known to every page."""
    if request.method in READING:
        return
    if any(name in request.headers for name in ("Origin", "Referer", "Sec-Fetch-Site")):
        raise ApiError(20403, "Requests from a browser page are not accepted here")
