"""Texts as they may be shown and kept: without the passwords of URLs, of SIP addresses and of ``<Sip>`` nouns."""

from __future__ import annotations

import re

MASK = "***"
# What stands before the last @ of a URL's authority: with it Twilio signs in where it asks for a document.
_IN_URL = re.compile(r"(://)([^/\s\"<>?#]*)@")
# RFC 3261, 19.1.1: sip:user:password@host. What is no address, since it has several @ or a blank, is masked as well.
_IN_SIP = re.compile(r"(\bsips?:[^\s<>\"@:]*:)[^\s<>\"]*@", re.IGNORECASE)
_IN_NOUN = re.compile(r"""(\bpassword\s*=\s*)("[^"]*"|'[^']*')""")


def masked(text: str) -> str:
    """Return a text without passwords: ``https://user:***@host``. A user alone may be a key, so it is masked too."""
    if "@" in text:
        text = _IN_URL.sub(lambda found: f"{found[1]}{_user(found[2])}{MASK}@", without_sip_passwords(text))
    return _IN_NOUN.sub(rf'\1"{MASK}"', text) if "password" in text else text


def without_sip_passwords(text: str) -> str:
    """Return a text with ``sip:user:***@host`` for each SIP address that holds a password."""
    return _IN_SIP.sub(rf"\1{MASK}@", text) if "@" in text else text


def masked_whole(text: str) -> str:
    """Return what is no URL without all that could have been meant as a password: everything before its last ``@``."""
    _, at, rest = text.rpartition("@")
    return f"{MASK}@{rest}" if at else text


def _user(info: str) -> str:
    user, colon, _ = info.partition(":")
    return f"{user}:" if colon else ""
