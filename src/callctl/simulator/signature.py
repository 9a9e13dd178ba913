"""X-Twilio-Signature, made from the algorithm's description (SIG) and not by the library that checks it."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit


def sign(token: str, url: str, form: Mapping[str, str]) -> str:
    """Sign a request: the URL without fragment and user, then each form parameter's name and value, sorted by name.

    For a GET the pairs are already in the URL, and `form` is empty.
    """
    text = bare(url) + "".join(name + form[name] for name in sorted(form))
    digest = hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def bare(url: str) -> str:
    """Return a URL without what is never signed: the user and the fragment (SIG)."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
