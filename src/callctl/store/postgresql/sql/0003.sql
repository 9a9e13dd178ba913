-- Version 3: an action is declined by a function, which sees what was claimed while it waited for the world's row.

-- Store that an action was declined, once for each leg that it was because of ("in_declined" is a rule of its own for
-- that), and not if it is done or in progress. A claim that is held ends with it. Return whether that was done.
CREATE FUNCTION callctl.decline(
    in_world text, in_rule text, in_declined text, in_sid text, in_about text, in_action text, in_fence bigint,
    in_actions jsonb
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM callctl.lock_world(in_world);
    DELETE FROM callctl.claims
    WHERE world = in_world AND rule = in_rule AND sid = in_sid AND fence = in_fence AND lease IS NOT NULL;
    IF NOT FOUND AND in_fence <> 0 OR EXISTS (
        SELECT 1 FROM callctl.claims WHERE world = in_world AND rule IN (in_rule, in_declined) AND sid = in_sid
    ) THEN
        RETURN false;
    END IF;
    INSERT INTO callctl.claims (world, rule, sid, about, action, at, lease, fence, counted)
    VALUES (in_world, in_declined, in_sid, in_about, in_action, clock_timestamp(), NULL, nextval('callctl.fences'), false);
    PERFORM callctl.record_actions(in_world, in_actions);
    RETURN true;
END $$;
