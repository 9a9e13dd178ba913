"""Who may do what: with which credentials, from this machine or another, from a browser's page or not."""

import base64
import binascii
import hmac
import ipaddress
from urllib.parse import urlsplit

from aiohttp import web

from callctl.simulator.errors import ApiError
from callctl.simulator.outgoing.web import is_loopback
from callctl.simulator.settings import ACTIVE, Settings

READING = frozenset({"GET", "HEAD"})
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host")  # what a proxy adds, which passes on others' requests
# What a browser says of a request that the address itself has made, or a person who typed it.
OWN_SITE = frozenset({"same-origin", "none"})


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
    """Refuse requests from pages in a browser, for every page knows the default credentials."""
    if request.method in READING:
        return
    if any(name in request.headers for name in ("Origin", "Referer", "Sec-Fetch-Site")):
        raise ApiError(20403, "Requests from a browser page are not accepted here")


def admit_to_control(request: web.Request, settings: Settings) -> None:
    """Let in who may read (see `admit_reader`); a browser's page if it comes from here, and to change nothing."""
    admit_reader(request, settings)
    refuse_browsers(request)
    if not _is_own_page(request):
        raise ApiError(20403, "Requests from other pages are not accepted here")


def admit_reader(request: web.Request, settings: Settings) -> None:
    """Let in who is on this machine, and others with the account's credentials; wrong ones are refused to all."""
    if "Authorization" in request.headers or not is_from_here(request):
        authenticate(request, settings, of_account=False)


def is_from_here(request: web.Request) -> bool:
    """Return whether a request comes from this machine, and means it: a name of another one is a page's trick."""
    peer = None if request.transport is None else request.transport.get_extra_info("peername")
    if not peer or any(name in request.headers for name in FORWARDED):
        return False
    address = ipaddress.ip_address(peer[0].partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback and is_loopback(_host_of(request))


def _host_of(request: web.Request) -> str:
    try:
        return urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
    except ValueError:
        return ""


def _is_own_page(request: web.Request) -> bool:
    """Return whether a request that reads comes from no page, or from one of this address."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None and site not in OWN_SITE:
        return False
    return origin is None or origin.partition("://")[2] == request.headers.get("Host", "")
