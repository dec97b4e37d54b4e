-- Times are microseconds since the Unix epoch (UTC). Lists and objects are JSON text. Ids are positive 63-bit
-- numbers that are never used again, also not after a restored backup. Secrets are here as hashes only.

-- One row: where the change log stands. Every writer locks it with its first statement, so that ids and revisions rise
-- in commit order, the revisions without gaps. Changes up to `floor` are no longer in the log.
CREATE TABLE log_head (
    only_row BIGINT  NOT NULL PRIMARY KEY CHECK (only_row = 1),
    epoch    BIGINT  NOT NULL CHECK (epoch > 0),
    revision BIGINT  NOT NULL CHECK (revision >= floor),
    floor    BIGINT  NOT NULL CHECK (floor >= 0)
);

-- The epoch is this history's random name: positive, never 0.
INSERT INTO log_head (only_row, epoch, revision, floor)
VALUES (1, (('x' || substr(md5(gen_random_uuid()::text), 1, 16))::bit(64)::bigint & 9223372036854775807) | 1, 0, 0);

-- No foreign keys: the log outlives what it speaks of.
CREATE TABLE change_log (
    revision      BIGINT  NOT NULL PRIMARY KEY,
    epoch         BIGINT  NOT NULL,
    deployment_id BIGINT  NOT NULL,
    kind          TEXT    NOT NULL,
    key_hash      BYTEA   CHECK (length(key_hash) = 32),
    subject_id    BIGINT,
    CHECK ((key_hash IS NULL) <> (subject_id IS NULL))
);

-- One row: the largest id ever given out, also to rows that are deleted by now.
CREATE TABLE id_head (
    only_row BIGINT  NOT NULL PRIMARY KEY CHECK (only_row = 1),
    last_id  BIGINT  NOT NULL
);

INSERT INTO id_head (only_row, last_id) VALUES (1, 0);

CREATE TABLE deployments (
    id            BIGINT  NOT NULL PRIMARY KEY CHECK (id > 0),
    name          TEXT    NOT NULL UNIQUE,
    plan          TEXT    NOT NULL CHECK (plan IN ('free', 'growth')),
    created_at_us BIGINT  NOT NULL
);

CREATE TABLE tokens (
    id            BIGINT  NOT NULL PRIMARY KEY CHECK (id > 0),
    deployment_id BIGINT  NOT NULL REFERENCES deployments (id),
    kind          TEXT    NOT NULL CHECK (kind IN ('management', 'gateway')),
    name          TEXT    NOT NULL,
    token_hash    BYTEA   NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    created_at_us BIGINT  NOT NULL,
    revoked_at_us BIGINT
);

CREATE INDEX tokens_of_deployment ON tokens (deployment_id);

CREATE TABLE schemes (
    id            BIGINT  NOT NULL PRIMARY KEY CHECK (id > 0),
    deployment_id BIGINT  NOT NULL REFERENCES deployments (id),
    slug          TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    description   TEXT,
    rules         TEXT    NOT NULL,
    created_at_us BIGINT  NOT NULL,
    updated_at_us BIGINT  NOT NULL,
    UNIQUE (deployment_id, slug),
    -- Referenced together, so that nothing of one tenant can point at something of another.
    UNIQUE (id, deployment_id)
);

CREATE TABLE apps (
    id              BIGINT  NOT NULL PRIMARY KEY CHECK (id > 0),
    deployment_id   BIGINT  NOT NULL REFERENCES deployments (id),
    user_id         BIGINT,
    organization_id BIGINT,
    workspace_id    BIGINT,
    slug            TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    description     TEXT,
    is_active       BOOLEAN NOT NULL,
    key_prefix      TEXT    NOT NULL,
    permissions     TEXT    NOT NULL,
    resources       TEXT    NOT NULL,
    scheme_id       BIGINT,
    created_at_us   BIGINT  NOT NULL,
    updated_at_us   BIGINT  NOT NULL,
    deleted_at_us   BIGINT,
    UNIQUE (id, deployment_id),
    FOREIGN KEY (scheme_id, deployment_id) REFERENCES schemes (id, deployment_id)
);

-- A deleted app gives its slug free and keeps its id, its row and its keys.
CREATE UNIQUE INDEX apps_live_slug ON apps (deployment_id, slug) WHERE deleted_at_us IS NULL;
CREATE INDEX apps_of_deployment ON apps (deployment_id);
CREATE INDEX apps_of_scheme ON apps (scheme_id) WHERE scheme_id IS NOT NULL;

CREATE TABLE keys (
    id             BIGINT  NOT NULL PRIMARY KEY CHECK (id > 0),
    hash           BYTEA   NOT NULL UNIQUE CHECK (length(hash) = 32),
    lineage_id     BIGINT  NOT NULL REFERENCES keys (id),
    rotated_from   BIGINT REFERENCES keys (id),
    rotated_to     BIGINT REFERENCES keys (id),
    deployment_id  BIGINT  NOT NULL,
    app_id         BIGINT  NOT NULL,
    name           TEXT    NOT NULL,
    key_prefix     TEXT    NOT NULL,
    key_suffix     TEXT    NOT NULL,
    permissions    TEXT    NOT NULL,
    metadata       TEXT    NOT NULL,
    owner          TEXT,
    owner_user_id  BIGINT,
    environment    TEXT,
    scheme_id      BIGINT,
    expires_at_us  BIGINT,
    last_used_at_us BIGINT,
    created_at_us  BIGINT  NOT NULL,
    updated_at_us  BIGINT  NOT NULL,
    revoked_at_us  BIGINT,
    revoked_reason TEXT,
    FOREIGN KEY (app_id, deployment_id) REFERENCES apps (id, deployment_id),
    FOREIGN KEY (scheme_id, deployment_id) REFERENCES schemes (id, deployment_id)
);

CREATE INDEX keys_of_app ON keys (app_id);
CREATE INDEX keys_of_scheme ON keys (scheme_id) WHERE scheme_id IS NOT NULL;

-- What a creating call answered, for 24 hours. Never holds a secret: a created key is remembered by its id.
CREATE TABLE idempotency (
    deployment_id   BIGINT  NOT NULL REFERENCES deployments (id),
    endpoint        TEXT    NOT NULL,
    idempotency_key TEXT    NOT NULL,
    fingerprint     BYTEA   NOT NULL CHECK (length(fingerprint) = 32),
    status          BIGINT,
    body            TEXT,
    key_id          BIGINT REFERENCES keys (id),
    created_at_us   BIGINT  NOT NULL,
    PRIMARY KEY (deployment_id, endpoint, idempotency_key),
    CHECK ((body IS NULL) = (status IS NULL)),
    CHECK ((body IS NULL) <> (key_id IS NULL))
);

CREATE INDEX idempotency_age ON idempotency (created_at_us);
