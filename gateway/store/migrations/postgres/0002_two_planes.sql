-- What gateways elsewhere need: tokens for some apps, whom to wait for, what keys were used for, and an end to the log's growth.

-- Slugs as a JSON list; empty: all apps of the deployment.
ALTER TABLE tokens ADD COLUMN apps TEXT NOT NULL DEFAULT '[]';

-- When an entry was written. Those from before this column count as old.
ALTER TABLE change_log ADD COLUMN at_us BIGINT NOT NULL DEFAULT 0;

-- Where this history was last at home: another place means that it is a copy. See history.rs.
ALTER TABLE log_head ADD COLUMN home TEXT;

-- Keys of one tenant, and of one app, by rising id.
CREATE INDEX keys_of_deployment ON keys (deployment_id, id);
DROP INDEX keys_of_app;
CREATE INDEX keys_of_app ON keys (app_id, id);

-- Whom a control process has welcomed. One that is connected to two of them has two rows, each written by its own alone.
CREATE TABLE gateways (
    deployment_id    BIGINT NOT NULL REFERENCES deployments (id),
    gateway_id       TEXT    NOT NULL,
    control_id       TEXT    NOT NULL,
    token_id         BIGINT NOT NULL REFERENCES tokens (id),
    name             TEXT    NOT NULL,
    version          TEXT    NOT NULL,
    address          TEXT    NOT NULL,
    applied_epoch    BIGINT NOT NULL,
    applied_revision BIGINT NOT NULL,
    staleness_ms     BIGINT NOT NULL,
    stale_max_ms     BIGINT NOT NULL,
    serves_stale     BOOLEAN NOT NULL,
    is_connected     BOOLEAN NOT NULL,
    welcomed_at_us   BIGINT NOT NULL,
    seen_at_us       BIGINT NOT NULL,
    counts_until_us  BIGINT NOT NULL,
    PRIMARY KEY (deployment_id, gateway_id, control_id)
);

CREATE INDEX gateways_that_count ON gateways (deployment_id, counts_until_us);

-- Which pieces of which batches of counts have been added up. Kept for longer than anybody tries again.
CREATE TABLE usage_batches (
    deployment_id  BIGINT NOT NULL REFERENCES deployments (id),
    batch_id       BYTEA   NOT NULL CHECK (length(batch_id) = 16),
    piece          BIGINT NOT NULL,
    recorded_at_us BIGINT NOT NULL,
    PRIMARY KEY (deployment_id, batch_id, piece)
);

CREATE INDEX usage_batches_age ON usage_batches (recorded_at_us);

-- Requests of a key in a minute since the Unix epoch, by how they ended.
CREATE TABLE key_usage (
    key_id  BIGINT NOT NULL REFERENCES keys (id),
    minute  BIGINT NOT NULL,
    outcome TEXT    NOT NULL,
    count   BIGINT NOT NULL CHECK (count > 0),
    PRIMARY KEY (key_id, minute, outcome)
);

CREATE INDEX key_usage_age ON key_usage (minute);
