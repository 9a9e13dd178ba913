"""Twilio's error replies: codes, HTTP statuses and wording.

Source: docs/twilio.md, "Errors"; the live bodies among the samples.
"""

from collections.abc import Mapping

_TEXTS: Mapping[int, tuple[int, str]] = {
    12100: (400, "Document parse failure"),
    13240: (400, "{0}"),
    16020: (400, "{0}"),
    16024: (400, "{0}"),
    16026: (400, "{0}"),
    20001: (400, "Invalid parameter: {0}"),
    20003: (401, "Authenticate"),
    20004: (405, "Method not allowed"),
    20008: (403, "Resource not accessible with Test Account Credentials"),
    20009: (409, "Cannot delete this resource before it is complete"),
    20403: (403, "{0}"),
    20404: (404, "The requested resource {0} was not found"),
    20429: (429, "Too Many Requests"),
    21200: (400, "{0}"),
    21201: (400, "No 'To' number is specified"),
    21205: (400, "{0}"),
    21210: (
        400,
        "The source phone number provided, {0}, is not yet verified for your account. "
        "You may only make calls from phone numbers that you've verified or purchased from Twilio.",
    ),
    21211: (400, "Invalid 'To' Phone Number: {0}"),
    21212: (400, "From is not a valid phone number: {0}"),
    21213: (400, "From phone number is required."),
    21214: (400, "The 'To' phone number {0} cannot be reached."),
    21215: (
        400,
        "Account not authorized to call {0}. Perhaps you need to enable some international permissions: "
        "https://www.twilio.com/console/voice/calls/geo-permissions/low-risk",
    ),
    21216: (400, "Account not allowed to call {0}"),
    21217: (400, "Phone number does not appear to be valid: {0}"),
    21218: (400, "Invalid parameters: {0}"),
    21220: (400, "Call is not in-progress. {0}"),
    21402: (400, "Invalid URL: {0}"),
    21403: (400, "Invalid Method: {0}"),
    21405: (400, "Cannot set VoiceFallbackUrl without setting VoiceUrl"),
    21406: (400, "Cannot set SmsFallbackUrl without setting SmsUrl"),
    21420: (400, "ApplicationSid is not accessible: {0}"),
    21421: (400, "PhoneNumber is invalid: {0}"),
    21422: (400, "PhoneNumber is not available for purchase: {0}"),
    21451: (400, "Invalid area code: {0}"),
    21452: (400, "No phone numbers found in area code {0}"),
    21471: (400, "Account does not exist: {0}"),
    21501: (404, "The recording {0} is still being processed"),
    21609: (400, "The StatusCallback URL {0} is not a valid URL."),
    22003: (400, "A queue with the name {0} already exists"),
}


class ApiError(Exception):
    """A request that the API refuses; `code` is Twilio's, `status` HTTP's, and a `hint` is the simulator's own."""

    def __init__(self, code: int, *details: str, status: int | None = None, hint: str = "") -> None:
        usual, text = _TEXTS[code]
        super().__init__((text.format(*details) if details else text.replace("{0}", "")) + hint)
        self.code = code
        self.status = status or usual

    @property
    def message(self) -> str:
        """What the reply says."""
        return str(self).strip()


def more_info(code: int) -> str:
    """Return the page that explains a code."""
    return f"https://www.twilio.com/docs/errors/{code}"


class ControlError(ApiError):
    """Something at /simulator that can't be done: a whole sentence, with the code of Twilio's that is nearest."""

    def __init__(self, code: int, sentence: str, *, status: int | None = None) -> None:
        super().__init__(code, status=status)
        self.args = (sentence,)
