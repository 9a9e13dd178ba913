"""Exit codes: the one place that knows which error ends in which."""

from __future__ import annotations

from callctl import errors

DONE = 0
FAILURE = 1
USAGE = 2
NOT_FOUND = 3
AUTHENTICATION = 4
WRONG_CALL_STATE = 5
NETWORK = 6
RATE_LIMITED = 7
NOT_MET = 8
TIMED_OUT = 9
INTERRUPTED = 130

MEANINGS = {
    DONE: "done, or there was nothing to do",
    FAILURE: "failure",
    USAGE: "usage",
    NOT_FOUND: "not found",
    AUTHENTICATION: "authentication",
    WRONG_CALL_STATE: "wrong call state",
    NETWORK: "network",
    RATE_LIMITED: "rate limited",
    NOT_MET: "condition not met, or a part failed",
    TIMED_OUT: "timed out",
    INTERRUPTED: "interrupted",
}

# From the special to the general: the first class that fits decides.
_CODES: tuple[tuple[type[errors.CallctlError], int], ...] = (
    (errors.UsageError, USAGE),
    (errors.NotFoundError, NOT_FOUND),
    (errors.UnknownCallError, NOT_FOUND),
    (errors.AuthenticationError, AUTHENTICATION),
    (errors.WrongCallStateError, WRONG_CALL_STATE),
    (errors.NotEndedError, WRONG_CALL_STATE),
    (errors.NotInProgressError, WRONG_CALL_STATE),
    (errors.RateLimitedError, RATE_LIMITED),
    (errors.NetworkError, NETWORK),
    (errors.ConditionNotMetError, NOT_MET),
    (errors.PartlyFailedError, NOT_MET),
    (errors.WaitTimeoutError, TIMED_OUT),
)


def code_for(error: errors.CallctlError) -> int:
    """Return the exit code for an error of ours; whatever the table does not name is a plain failure."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILURE)
