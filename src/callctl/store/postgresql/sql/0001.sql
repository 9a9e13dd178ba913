-- The schema, version 1. A released file is never changed: what comes later is in a file of its own, and leaves what
-- earlier versions of callctl call in place, since listeners are updated one by one.
--
-- Every key begins with the world: one account at one API address. What appends, claims or deletes locks the world's
-- row, so that positions have no gaps in the order of commits, and no two such statements wait for each other in a
-- circle. Each is one statement, so that no client that stands still holds a lock.
--
-- In texts of forms and records U+E000 and four hexadecimal digits stand for a character that jsonb can't hold.

CREATE TABLE callctl.worlds (
    world text PRIMARY KEY,
    account_sid text,
    api_url text,
    last_event bigint NOT NULL DEFAULT 0,
    last_action bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- "standing" sorts as the events of a call do: the greatest decides the status.
CREATE TABLE callctl.stored_calls (
    world text NOT NULL,
    sid text COLLATE "C" NOT NULL,
    parent_sid text COLLATE "C",
    status text NOT NULL,
    standing text COLLATE "C" NOT NULL,
    is_final boolean NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (world, sid)
);
CREATE INDEX stored_calls_by_parent ON callctl.stored_calls (world, parent_sid) WHERE parent_sid IS NOT NULL;
CREATE INDEX stored_calls_by_time ON callctl.stored_calls (world, last_at);
CREATE INDEX stored_calls_not_final ON callctl.stored_calls (world, last_at) WHERE NOT is_final;

-- "form" is an array of each name and its value in turn: a name may be there twice, and their order is kept.
CREATE TABLE callctl.stored_events (
    world text NOT NULL,
    position bigint NOT NULL,
    sid text COLLATE "C" NOT NULL,
    key bytea NOT NULL,
    kind text NOT NULL,
    verified boolean NOT NULL,
    received_at timestamptz NOT NULL,
    form jsonb NOT NULL,
    PRIMARY KEY (world, position),
    UNIQUE (world, sid, key)
);

CREATE TABLE callctl.placed (
    world text NOT NULL,
    by text NOT NULL,
    sid text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (world, by)
);
CREATE TABLE callctl.placed_calls (
    world text NOT NULL,
    sid text NOT NULL,
    at timestamptz NOT NULL,
    by text NOT NULL,
    callback text,
    events text NOT NULL DEFAULT '',
    dial_action text,
    PRIMARY KEY (world, sid)
);
CREATE INDEX placed_calls_by_time ON callctl.placed_calls (world, at);

CREATE TABLE callctl.actions (
    world text NOT NULL,
    position bigint NOT NULL,
    sid text NOT NULL,
    at timestamptz NOT NULL,
    record jsonb NOT NULL,
    PRIMARY KEY (world, position)
);
CREATE INDEX actions_by_call ON callctl.actions (world, sid, position);
CREATE INDEX actions_by_time ON callctl.actions (world, at);

CREATE TABLE callctl.intents (
    world text NOT NULL,
    sid text NOT NULL,
    until timestamptz NOT NULL,
    by text NOT NULL,
    PRIMARY KEY (world, sid)
);

-- "lease" is until when the holder may be at work, and null once the answer is recorded. "counted" are those that the
-- limit of actions is for.
CREATE TABLE callctl.claims (
    world text NOT NULL,
    rule text NOT NULL,
    sid text NOT NULL,
    about text NOT NULL,
    action text NOT NULL,
    at timestamptz NOT NULL,
    lease timestamptz,
    fence bigint NOT NULL,
    counted boolean NOT NULL,
    PRIMARY KEY (world, rule, sid)
);
CREATE INDEX claims_open ON callctl.claims (world, sid) WHERE lease IS NOT NULL;
CREATE INDEX claims_counted ON callctl.claims (world, at) WHERE counted;
CREATE SEQUENCE callctl.fences;

-- Who listens, until when that counts unless it is said again, and where callbacks go.
CREATE TABLE callctl.listeners (
    world text NOT NULL,
    nonce text NOT NULL,
    record jsonb NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (world, nonce)
);

-- Which of those that listen does what one alone is to do, and until when.
CREATE TABLE callctl.leaders (
    world text PRIMARY KEY,
    holder text NOT NULL,
    until timestamptz NOT NULL
);

-- No statistics of worlds. With them, a world that is newer than they are seems to have no rows, and each lookup in it may
-- read it whole, by an index that begins with the world and goes on with something else.
ALTER TABLE callctl.stored_calls ALTER COLUMN world SET STATISTICS 0;
ALTER TABLE callctl.stored_events ALTER COLUMN world SET STATISTICS 0;
ALTER TABLE callctl.placed_calls ALTER COLUMN world SET STATISTICS 0;
ALTER TABLE callctl.actions ALTER COLUMN world SET STATISTICS 0;
ALTER TABLE callctl.claims ALTER COLUMN world SET STATISTICS 0;

-- For who reads along ------------------------------------------------------------------------------------------------

CREATE VIEW callctl.calls AS
SELECT w.account_sid, w.api_url, c.sid AS call_sid, c.parent_sid AS parent_call_sid, nullif(c.status, '') AS status,
    c.is_final, c.last_at AS last_event_at, c.world
FROM callctl.stored_calls AS c JOIN callctl.worlds AS w USING (world);

CREATE VIEW callctl.events AS
SELECT w.account_sid, w.api_url, e.position, e.sid AS call_sid, e.kind, e.verified, e.received_at,
    (SELECT jsonb_object_agg(e.form ->> n, e.form ->> n + 1 ORDER BY n)
        FROM generate_series(0, jsonb_array_length(e.form) - 2, 2) AS names (n)) AS form,
    e.world
FROM callctl.stored_events AS e JOIN callctl.worlds AS w USING (world);

-- Functions ----------------------------------------------------------------------------------------------------------

-- Lock a world's row, which is made if there is none, until the statement that calls this is committed.
CREATE FUNCTION callctl.lock_world(in_world text) RETURNS callctl.worlds LANGUAGE plpgsql AS $$
DECLARE
    locked callctl.worlds;
BEGIN
    SELECT * INTO locked FROM callctl.worlds WHERE world = in_world FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO callctl.worlds (world) VALUES (in_world) ON CONFLICT DO NOTHING;
        SELECT * INTO locked FROM callctl.worlds WHERE world = in_world FOR UPDATE;
    END IF;
    RETURN locked;
END $$;

-- Store events; return for each whether it was new, and the last position before theirs: the new ones have those that
-- follow, in their order. An event is an array: sid, parent's sid, status, standing, whether that is final, time in
-- microseconds, key, kind, whether it is verified, arrival in microseconds, form.
--
-- The settings keep plans that were made for empty tables from being used for full ones; so does LIMIT, since a
-- subquery with it is not hashed.
CREATE FUNCTION callctl.append(in_world text, in_events jsonb, OUT outcomes boolean[], OUT before bigint)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    added bigint;
BEGIN
    before := (callctl.lock_world(in_world)).last_event;

    INSERT INTO callctl.stored_calls AS c (world, sid, parent_sid, status, standing, is_final, last_at)
    SELECT in_world, sid, (array_agg(parent ORDER BY n) FILTER (WHERE parent IS NOT NULL))[1],
        (array_agg(status ORDER BY standing COLLATE "C" DESC, n))[1], max(standing COLLATE "C"), bool_or(final), max(at)
    FROM (
        SELECT e ->> 0 AS sid, e ->> 1 AS parent, e ->> 2 AS status, e ->> 3 AS standing, (e ->> 4)::boolean AS final,
            'epoch'::timestamptz + (e ->> 5)::bigint * interval '1 microsecond' AS at, n
        FROM jsonb_array_elements(in_events) WITH ORDINALITY AS x (e, n)
    ) AS new
    GROUP BY sid
    ON CONFLICT (world, sid) DO UPDATE SET
        parent_sid = coalesce(c.parent_sid, excluded.parent_sid),
        status = CASE WHEN excluded.standing > c.standing THEN excluded.status ELSE c.status END,
        is_final = c.is_final OR excluded.is_final,
        last_at = greatest(c.last_at, excluded.last_at),
        standing = greatest(c.standing, excluded.standing);

    WITH new AS (
        SELECT e ->> 0 AS sid, decode(e ->> 6, 'hex') AS key, e, n,
            row_number() OVER (PARTITION BY e ->> 0, e ->> 6 ORDER BY n) = 1 AS is_first
        FROM jsonb_array_elements(in_events) WITH ORDINALITY AS x (e, n)
    ), marked AS (
        SELECT new.*, is_first AND (
            SELECT old.position FROM callctl.stored_events AS old
            WHERE old.world = in_world AND old.sid = new.sid AND old.key = new.key LIMIT 1
        ) IS NULL AS is_new
        FROM new
    ), inserted AS (
        INSERT INTO callctl.stored_events (world, position, sid, key, kind, verified, received_at, form)
        SELECT in_world, before + row_number() OVER (ORDER BY n), sid, key, e ->> 7, (e ->> 8)::boolean,
            'epoch'::timestamptz + (e ->> 9)::bigint * interval '1 microsecond', e -> 10
        FROM marked WHERE is_new
    )
    SELECT array_agg(is_new ORDER BY n), count(*) FILTER (WHERE is_new) INTO outcomes, added FROM marked;

    IF added > 0 THEN
        UPDATE callctl.worlds SET last_event = before + added WHERE world = in_world;
    END IF;
END $$;

-- Return the calls of families that are not over or were touched since. OFFSET 0 has each looked up by its SID: else all
-- calls of the world may be read.
CREATE FUNCTION callctl.recent_calls(in_world text, in_since timestamptz) RETURNS SETOF text LANGUAGE sql STABLE AS $$
    WITH touched AS (
        SELECT sid, parent_sid FROM callctl.stored_calls WHERE world = in_world AND NOT is_final AND status <> ''
        UNION SELECT sid, parent_sid FROM callctl.stored_calls WHERE world = in_world AND last_at >= in_since
    ), heads AS (
        SELECT sid FROM touched UNION SELECT parent_sid FROM touched WHERE parent_sid IS NOT NULL
    )
    SELECT sid FROM touched
    UNION SELECT c.sid FROM heads CROSS JOIN LATERAL (
        SELECT sid FROM callctl.stored_calls WHERE world = in_world AND sid = heads.sid OFFSET 0
    ) AS c
    UNION SELECT c.sid FROM heads CROSS JOIN LATERAL (
        SELECT sid FROM callctl.stored_calls WHERE world = in_world AND parent_sid = heads.sid OFFSET 0
    ) AS c
$$;

-- Return the calls of a call's family: itself, its parent, its siblings and its children.
CREATE FUNCTION callctl.family_calls(in_world text, in_sid text) RETURNS SETOF text LANGUAGE sql STABLE AS $$
    WITH heads AS (
        SELECT in_sid AS sid
        UNION SELECT parent_sid FROM callctl.stored_calls
            WHERE world = in_world AND sid = in_sid AND parent_sid IS NOT NULL
    )
    SELECT sid FROM heads
    UNION SELECT c.sid FROM heads JOIN callctl.stored_calls AS c ON c.world = in_world AND c.parent_sid = heads.sid
$$;

-- Delete at most so many calls without an event since a time, with their events, and what rules and commands did to
-- calls that are gone; return how many calls.
CREATE FUNCTION callctl.delete_older_than(in_world text, in_before timestamptz, in_limit bigint) RETURNS bigint
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
    RETURN cardinality(sids);
END $$;

-- Set the time of at most so many calls that lies after a time to that; return of how many.
CREATE FUNCTION callctl.cap_times(in_world text, in_latest timestamptz, in_limit bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    changed bigint;
BEGIN
    PERFORM callctl.lock_world(in_world);
    UPDATE callctl.stored_calls SET last_at = in_latest WHERE world = in_world AND sid IN (
        SELECT sid FROM callctl.stored_calls WHERE world = in_world AND last_at > in_latest LIMIT in_limit
    );
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END $$;

-- Store actions; the intents to change the calls that may have been changed end. An action is an array: sid, time in
-- microseconds, record, whether it may have changed the call.
CREATE FUNCTION callctl.record_actions(in_world text, in_actions jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    before bigint := (callctl.lock_world(in_world)).last_action;
BEGIN
    INSERT INTO callctl.actions (world, position, sid, at, record)
    SELECT in_world, before + n, a ->> 0, 'epoch'::timestamptz + (a ->> 1)::bigint * interval '1 microsecond', a -> 2
    FROM jsonb_array_elements(in_actions) WITH ORDINALITY AS x (a, n);
    UPDATE callctl.worlds SET last_action = before + jsonb_array_length(in_actions) WHERE world = in_world;
    DELETE FROM callctl.intents WHERE world = in_world
        AND sid IN (SELECT a ->> 0 FROM jsonb_array_elements(in_actions) AS x (a) WHERE (a -> 3)::boolean IS NOT false);
END $$;

-- Store that a command is about to change calls, for a while; return those that had an intent before.
CREATE FUNCTION callctl.add_intents(in_world text, in_sids text[], in_lasting interval, in_by text) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    before text[];
BEGIN
    PERFORM callctl.lock_world(in_world);
    SELECT coalesce(array_agg(sid), '{}') INTO before FROM callctl.intents WHERE world = in_world AND sid = ANY (in_sids);
    INSERT INTO callctl.intents (world, sid, until, by)
    SELECT DISTINCT in_world, sid, clock_timestamp() + in_lasting, in_by FROM unnest(in_sids) AS x (sid)
    ON CONFLICT (world, sid) DO UPDATE SET until = excluded.until, by = excluded.by;
    RETURN before;
END $$;

-- Claim a rule's action on a leg. "refusal" says why not (store/records.py), and is null if it was claimed.
CREATE FUNCTION callctl.claim(
    in_world text, in_rule text, in_sid text, in_about text, in_action text, in_lease interval,
    in_exclusive boolean, in_per_second integer, in_per_minute integer,
    OUT refusal text, OUT fence bigint, OUT lease timestamptz
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    moment timestamptz;
    in_minute bigint;
    in_second bigint;
BEGIN
    PERFORM callctl.lock_world(in_world);
    moment := clock_timestamp();
    IF EXISTS (SELECT 1 FROM callctl.claims AS c WHERE c.world = in_world AND c.rule = in_rule AND c.sid = in_sid) THEN
        refusal := 'claimed-before';
        RETURN;
    END IF;
    -- A limit ends nothing by itself.
    IF in_exclusive AND EXISTS (
        SELECT 1 FROM callctl.claims AS c WHERE c.world = in_world AND c.sid = in_sid AND c.rule <> in_rule
            AND c.lease IS NOT NULL AND c.action <> 'limit'
    ) THEN
        refusal := 'other-in-progress';
        RETURN;
    END IF;
    IF in_per_minute IS NOT NULL THEN
        SELECT count(*), count(*) FILTER (WHERE c.at > moment - interval '1 second') INTO in_minute, in_second
        FROM callctl.claims AS c WHERE c.world = in_world AND c.counted AND c.at > moment - interval '1 minute'
            AND c.at <= moment; -- later ones are from before the clock was set back
        IF in_minute >= in_per_minute THEN
            refusal := 'minute-is-full';
            RETURN;
        ELSIF in_second >= in_per_second THEN
            refusal := 'second-is-full';
            RETURN;
        END IF;
    END IF;
    fence := nextval('callctl.fences');
    lease := moment + in_lease;
    INSERT INTO callctl.claims (world, rule, sid, about, action, at, lease, fence, counted)
    VALUES (in_world, in_rule, in_sid, in_about, in_action, moment, lease, fence, in_per_minute IS NOT NULL);
END $$;

-- Close a claim and store the action's result, both or neither; return whether that was done.
CREATE FUNCTION callctl.settle(in_world text, in_rule text, in_sid text, in_fence bigint, in_action jsonb)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    before bigint := (callctl.lock_world(in_world)).last_action;
BEGIN
    UPDATE callctl.claims SET lease = NULL
    WHERE world = in_world AND rule = in_rule AND sid = in_sid AND fence = in_fence AND lease IS NOT NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO callctl.actions (world, position, sid, at, record)
    VALUES (in_world, before + 1, in_action ->> 0,
        'epoch'::timestamptz + (in_action ->> 1)::bigint * interval '1 microsecond', in_action -> 2);
    UPDATE callctl.worlds SET last_action = before + 1 WHERE world = in_world;
    RETURN true;
END $$;
