-- Version 2: what applications have not taken of what was to be passed on to them, and until when a listener tries that
-- again. "url" has no password, and may be longer than an index holds. There is no foreign key: to look for it with each
-- event that is deleted would take as long again as deleting it.

CREATE TABLE callctl.undelivered (
    world text NOT NULL,
    sid text COLLATE "C" NOT NULL,
    key bytea NOT NULL,
    url text NOT NULL,
    at timestamptz NOT NULL,
    why text NOT NULL,
    tried_until timestamptz NOT NULL
);
CREATE UNIQUE INDEX undelivered_once ON callctl.undelivered (world, sid, key, md5(url));
CREATE INDEX undelivered_by_time ON callctl.undelivered (world, at);
ALTER TABLE callctl.undelivered ALTER COLUMN world SET STATISTICS 0; -- as of the tables of version 1

-- As before, and of calls that are gone also what was not passed on.
CREATE OR REPLACE FUNCTION callctl.delete_older_than(in_world text, in_before timestamptz, in_limit bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    sids text[];
BEGIN
    PERFORM callctl.lock_world(in_world);
    SELECT coalesce(array_agg(sid), '{}') INTO sids FROM (
        SELECT sid FROM callctl.stored_calls WHERE world = in_world AND last_at < in_before ORDER BY last_at LIMIT in_limit
    ) AS chosen;
    DELETE FROM callctl.stored_events WHERE world = in_world AND sid = ANY (sids);
    DELETE FROM callctl.stored_calls WHERE world = in_world AND sid = ANY (sids);
    DELETE FROM callctl.actions AS a WHERE a.world = in_world AND a.at < in_before
        AND NOT EXISTS (SELECT 1 FROM callctl.stored_calls AS c WHERE c.world = in_world AND c.sid = a.sid);
    DELETE FROM callctl.claims AS a WHERE a.world = in_world AND a.at < in_before
        AND NOT EXISTS (SELECT 1 FROM callctl.stored_calls AS c WHERE c.world = in_world AND c.sid IN (a.sid, a.about));
    DELETE FROM callctl.placed_calls AS a WHERE a.world = in_world AND a.at < in_before
        AND NOT EXISTS (SELECT 1 FROM callctl.stored_calls AS c WHERE c.world = in_world AND c.sid = a.sid);
    DELETE FROM callctl.intents AS a WHERE a.world = in_world AND a.until < in_before
        AND NOT EXISTS (SELECT 1 FROM callctl.stored_calls AS c WHERE c.world = in_world AND c.sid = a.sid);
    DELETE FROM callctl.undelivered AS a WHERE a.world = in_world AND a.at < in_before
        AND NOT EXISTS (SELECT 1 FROM callctl.stored_calls AS c WHERE c.world = in_world AND c.sid = a.sid);
    RETURN cardinality(sids);
END $$;
