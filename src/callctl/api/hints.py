"""What to do about the refusals that people meet, by Twilio's code (docs/twilio.md, "Errors")."""

from __future__ import annotations

CREDENTIALS = (
    "`callctl doctor` looks for the cause: account SID and token or key must belong together, to this Region and to "
    "this API address; the key may be deleted, the account not active, these test credentials, or "
    "a blank may have come along"
)
PERMISSION = (
    "the account may be suspended, the key restricted, or these are test credentials, which can only place calls"
)
TEST_CREDENTIALS = (
    "test credentials place calls that never ring, send no callbacks and do nothing else: take the account's own SID "
    "and auth token from the console"
)
NOT_FOUND = "check the SID, the account it belongs to, its Region, and the API address; `callctl list` shows the calls"
TOO_MANY = "too many requests at once: wait a little, or act on fewer calls at a time"
REDIRECTION = "redirections are not followed, since the token would go along: check the API address (CALLCTL_API_URL)"
TROUBLE = "the service has trouble: try again a little later"
ADDRESS = "check the API address (CALLCTL_API_URL); a proxy or a log-in page may be answering in its place"

_CALLER = "--from must be a number of this account, or a caller id verified for it, in E.164 form"
_NUMBER = "write the number in E.164 form: +, country code, number"
_URL = "give an absolute http or https URL that Twilio can reach from outside"

_BY_CODE = {
    "20003": CREDENTIALS,
    "20008": TEST_CREDENTIALS,
    "20403": PERMISSION,
    "70051": PERMISSION,
    "20404": NOT_FOUND,
    "20429": TOO_MANY,
    "10004": "the account's limit of concurrent calls is reached: end some, or have it raised",
    "12100": "the TwiML must be well-formed, at most 4,000 characters, with <Response> as its root",
    "13223": _NUMBER,
    "21201": "say whom to call",
    "21205": _URL,
    "21210": _CALLER,
    "21211": _NUMBER,
    "21212": _CALLER,
    "21213": _CALLER,
    "21215": "allow calls to that country in the console: Voice, Settings, Geo permissions",
    "21216": "the account may not call that number; the console or Twilio's support says why",
    "21217": _NUMBER,
    "21219": "a trial account calls verified numbers only: verify the number in the console, or upgrade the account",
    "21220": "the call is over, or not as far as this takes; `callctl list --live` shows what each call is doing",
    "21609": "the status callback's URL must be absolute, without an underscore in its host, at most 4,000 characters",
}


def hint_for(*, status: int, code: str | None) -> str | None:
    """Return what to do about a refusal, by its code or else its HTTP status; None if there is nothing to advise."""
    if code in _BY_CODE:
        return _BY_CODE[code]
    if 300 <= status < 400:
        return REDIRECTION
    if status >= 500:
        return TROUBLE
    return {401: CREDENTIALS, 403: PERMISSION, 404: NOT_FOUND, 429: TOO_MANY}.get(status)
