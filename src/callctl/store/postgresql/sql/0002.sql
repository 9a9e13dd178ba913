-- Version 2: what applications have not taken of what was to be passed on to them, and until when a listener tries that
-- again. It goes with its event. "url" has no password, and may be longer than an index holds.

CREATE TABLE callctl.undelivered (
    world text NOT NULL,
    sid text COLLATE "C" NOT NULL,
    key bytea NOT NULL,
    url text NOT NULL,
    at timestamptz NOT NULL,
    why text NOT NULL,
    tried_until timestamptz NOT NULL,
    FOREIGN KEY (world, sid, key) REFERENCES callctl.stored_events (world, sid, key) ON DELETE CASCADE
);
CREATE UNIQUE INDEX undelivered_once ON callctl.undelivered (world, sid, key, md5(url));
CREATE INDEX undelivered_by_time ON callctl.undelivered (world, at);
