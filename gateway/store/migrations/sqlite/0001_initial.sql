-- Times are microseconds since the Unix epoch (UTC). Lists and objects are JSON text. Ids are positive 63-bit
-- numbers that are never used again, also not after a restored backup. Secrets are here as hashes only.

-- One row: where the change log stands. Every mutation takes its revision here with its last statements, so that
-- commit order is revision order without gaps. Changes up to `floor` are no longer in the log.
CREATE TABLE log_head (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    epoch    INTEGER NOT NULL CHECK (epoch > 0),
    revision INTEGER NOT NULL CHECK (revision >= floor),
    floor    INTEGER NOT NULL CHECK (floor >= 0)
) STRICT;

-- The epoch is this history's random name: positive, never 0.
INSERT INTO log_head (only_row, epoch, revision, floor) VALUES (1, (random() & 9223372036854775807) | 1, 0, 0);

-- No foreign keys: the log outlives what it speaks of.
CREATE TABLE change_log (
    revision      INTEGER NOT NULL PRIMARY KEY,
    epoch         INTEGER NOT NULL,
    deployment_id INTEGER NOT NULL,
    kind          TEXT    NOT NULL,
    key_hash      BLOB    CHECK (length(key_hash) = 32),
    subject_id    INTEGER,
    CHECK ((key_hash IS NULL) <> (subject_id IS NULL))
) STRICT;

-- One row: the largest id ever given out, also to rows that are deleted by now.
CREATE TABLE id_head (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    last_id  INTEGER NOT NULL
) STRICT;

INSERT INTO id_head (only_row, last_id) VALUES (1, 0);

CREATE TABLE deployments (
    id            INTEGER NOT NULL PRIMARY KEY CHECK (id > 0),
    name          TEXT    NOT NULL UNIQUE,
    plan          TEXT    NOT NULL CHECK (plan IN ('free', 'growth')),
    created_at_us INTEGER NOT NULL
) STRICT;

CREATE TABLE tokens (
    id            INTEGER NOT NULL PRIMARY KEY CHECK (id > 0),
    deployment_id INTEGER NOT NULL REFERENCES deployments (id),
    kind          TEXT    NOT NULL CHECK (kind IN ('management', 'gateway')),
    name          TEXT    NOT NULL,
    token_hash    BLOB    NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    created_at_us INTEGER NOT NULL,
    revoked_at_us INTEGER
) STRICT;

CREATE INDEX tokens_of_deployment ON tokens (deployment_id);

CREATE TABLE schemes (
    id            INTEGER NOT NULL PRIMARY KEY CHECK (id > 0),
    deployment_id INTEGER NOT NULL REFERENCES deployments (id),
    slug          TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    description   TEXT,
    rules         TEXT    NOT NULL,
    created_at_us INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL,
    UNIQUE (deployment_id, slug),
    -- Referenced together, so that nothing of one tenant can point at something of another.
    UNIQUE (id, deployment_id)
) STRICT;

CREATE TABLE apps (
    id              INTEGER NOT NULL PRIMARY KEY CHECK (id > 0),
    deployment_id   INTEGER NOT NULL REFERENCES deployments (id),
    user_id         INTEGER,
    organization_id INTEGER,
    workspace_id    INTEGER,
    slug            TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    description     TEXT,
    is_active       INTEGER NOT NULL CHECK (is_active IN (0, 1)),
    key_prefix      TEXT    NOT NULL,
    permissions     TEXT    NOT NULL,
    resources       TEXT    NOT NULL,
    scheme_id       INTEGER,
    created_at_us   INTEGER NOT NULL,
    updated_at_us   INTEGER NOT NULL,
    deleted_at_us   INTEGER,
    UNIQUE (id, deployment_id),
    FOREIGN KEY (scheme_id, deployment_id) REFERENCES schemes (id, deployment_id)
) STRICT;

-- A deleted app gives its slug free and keeps its id, its row and its keys.
CREATE UNIQUE INDEX apps_live_slug ON apps (deployment_id, slug) WHERE deleted_at_us IS NULL;
CREATE INDEX apps_of_deployment ON apps (deployment_id);
CREATE INDEX apps_of_scheme ON apps (scheme_id) WHERE scheme_id IS NOT NULL;

CREATE TABLE keys (
    id             INTEGER NOT NULL PRIMARY KEY CHECK (id > 0),
    hash           BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
    lineage_id     INTEGER NOT NULL REFERENCES keys (id),
    rotated_from   INTEGER REFERENCES keys (id),
    rotated_to     INTEGER REFERENCES keys (id),
    deployment_id  INTEGER NOT NULL,
    app_id         INTEGER NOT NULL,
    name           TEXT    NOT NULL,
    key_prefix     TEXT    NOT NULL,
    key_suffix     TEXT    NOT NULL,
    permissions    TEXT    NOT NULL,
    metadata       TEXT    NOT NULL,
    owner          TEXT,
    owner_user_id  INTEGER,
    environment    TEXT,
    scheme_id      INTEGER,
    expires_at_us  INTEGER,
    last_used_at_us INTEGER,
    created_at_us  INTEGER NOT NULL,
    updated_at_us  INTEGER NOT NULL,
    revoked_at_us  INTEGER,
    revoked_reason TEXT,
    FOREIGN KEY (app_id, deployment_id) REFERENCES apps (id, deployment_id),
    FOREIGN KEY (scheme_id, deployment_id) REFERENCES schemes (id, deployment_id)
) STRICT;

CREATE INDEX keys_of_app ON keys (app_id);
CREATE INDEX keys_of_scheme ON keys (scheme_id) WHERE scheme_id IS NOT NULL;

-- What a creating call answered, for 24 hours. Never holds a secret: a created key is remembered by its id.
CREATE TABLE idempotency (
    deployment_id   INTEGER NOT NULL REFERENCES deployments (id),
    endpoint        TEXT    NOT NULL,
    idempotency_key TEXT    NOT NULL,
    fingerprint     BLOB    NOT NULL CHECK (length(fingerprint) = 32),
    status          INTEGER,
    body            TEXT,
    key_id          INTEGER REFERENCES keys (id),
    created_at_us   INTEGER NOT NULL,
    PRIMARY KEY (deployment_id, endpoint, idempotency_key),
    CHECK ((body IS NULL) = (status IS NULL)),
    CHECK ((body IS NULL) <> (key_id IS NULL))
) STRICT;

CREATE INDEX idempotency_age ON idempotency (created_at_us);
