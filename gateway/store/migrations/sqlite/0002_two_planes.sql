-- What gateways elsewhere need: tokens for some apps, whom to wait for, what keys were used for, and an end to the log's growth.

-- Slugs as a JSON list; empty: all apps of the deployment.
ALTER TABLE tokens ADD COLUMN apps TEXT NOT NULL DEFAULT '[]';

-- When an entry was written. Those from before this column count as old.
ALTER TABLE change_log ADD COLUMN at_us INTEGER NOT NULL DEFAULT 0;

-- Keys of one tenant by rising id; the id ends every index of the table by itself.
CREATE INDEX keys_of_deployment ON keys (deployment_id);

-- Whom a control process has welcomed. One that is connected to two of them has two rows, each written by its own alone.
CREATE TABLE gateways (
    deployment_id    INTEGER NOT NULL REFERENCES deployments (id),
    gateway_id       TEXT    NOT NULL,
    control_id       TEXT    NOT NULL,
    token_id         INTEGER NOT NULL REFERENCES tokens (id),
    name             TEXT    NOT NULL,
    version          TEXT    NOT NULL,
    address          TEXT    NOT NULL,
    applied_epoch    INTEGER NOT NULL,
    applied_revision INTEGER NOT NULL,
    staleness_ms     INTEGER NOT NULL,
    stale_max_ms     INTEGER NOT NULL,
    serves_stale     INTEGER NOT NULL CHECK (serves_stale IN (0, 1)),
    is_connected     INTEGER NOT NULL CHECK (is_connected IN (0, 1)),
    welcomed_at_us   INTEGER NOT NULL,
    seen_at_us       INTEGER NOT NULL,
    counts_until_us  INTEGER NOT NULL,
    PRIMARY KEY (deployment_id, gateway_id, control_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX gateways_that_count ON gateways (deployment_id, counts_until_us);

-- Which pieces of which batches of counts have been added up. Kept for longer than anybody tries again.
CREATE TABLE usage_batches (
    deployment_id  INTEGER NOT NULL REFERENCES deployments (id),
    batch_id       BLOB    NOT NULL CHECK (length(batch_id) = 16),
    piece          INTEGER NOT NULL,
    recorded_at_us INTEGER NOT NULL,
    PRIMARY KEY (deployment_id, batch_id, piece)
) STRICT, WITHOUT ROWID;

CREATE INDEX usage_batches_age ON usage_batches (recorded_at_us);

-- Requests of a key in a minute since the Unix epoch, by how they ended.
CREATE TABLE key_usage (
    key_id  INTEGER NOT NULL REFERENCES keys (id),
    minute  INTEGER NOT NULL,
    outcome TEXT    NOT NULL,
    count   INTEGER NOT NULL CHECK (count > 0),
    PRIMARY KEY (key_id, minute, outcome)
) STRICT, WITHOUT ROWID;

CREATE INDEX key_usage_age ON key_usage (minute);
