"""Shows whether events can be stored now: a statement that writes some, as callbacks are, and undoes it."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from callctl.calls.event import CallEvent
from callctl.store.postgresql.rows import event_row

# One statement, so that no client that hangs holds a lock, and one without an error, which the server would log.
# What ``append`` wrote is undone by the error that is caught: nobody sees it, and positions stay as they are. The
# commit is a real one all the same. The world is locked until its end: of trials whose commits wait for a standby, and
# are given up here, the server then holds one and not each. Where another session has locked a table, the trial waits
# before it locks the world: claims go on.
#
# On a full disk a short row may still find room. So the first form makes nearly the largest row, and the second one is
# kept apart from its row, as one with a CallToken is. Hashes are not made smaller by compression.
_TRIAL = """
DECLARE
    one jsonb := {event};
BEGIN
    LOCK TABLE callctl.stored_calls, callctl.stored_events IN ROW EXCLUSIVE MODE;
    PERFORM FROM callctl.worlds WHERE world = {world} FOR UPDATE;
    BEGIN
        PERFORM callctl.append({world}, (
            SELECT jsonb_agg(jsonb_set(
                jsonb_set(one, '{{6}}', to_jsonb(md5((one ->> 6) || n) || md5(n::text))),
                '{{10}}', one -> 10 || jsonb_build_array('Filling', (
                    SELECT string_agg(md5((one ->> 6) || n || ' ' || m), '')
                    FROM generate_series(1, CASE n WHEN 1 THEN 50 ELSE 80 END) AS parts (m)
                ))
            ))
            FROM generate_series(1, 2) AS numbers (n)
        ));
        RAISE USING ERRCODE = 'CCT01';
    EXCEPTION WHEN SQLSTATE 'CCT01' THEN
        NULL;
    END;
END
"""


def trial(world: str) -> str:
    """Return a statement that fails where events of a world can't be stored; their call is none that there is."""
    fields = {"CallSid": f"CA{secrets.token_hex(16)}", "CallStatus": "ringing"}
    event = CallEvent.from_form(fields.items(), received_at=datetime.now(UTC), world=world, verified=True)
    return f"DO {_quoted(_TRIAL.format(event=_quoted(event_row(event)), world=_quoted(world)))}".replace("%", "%%")


def _quoted(text: str) -> str:
    """Return a text as a literal, whatever the server's ``standard_conforming_strings`` is."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
