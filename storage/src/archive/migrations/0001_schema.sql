-- The archive of Consigner, version 1. Applied once, in one transaction; never edited afterwards (it is checksummed).
--
-- Numbers: a log index is a bigint from 0. Slots and epochs are unsigned numbers of 64 bits, so numeric(20). Times in
-- milliseconds and node ids are unsigned 64 bits, too, kept in a bigint with the same bits.

CREATE SCHEMA consigner;

CREATE TABLE consigner.schema_version (
    version     integer PRIMARY KEY,
    name        text NOT NULL,
    checksum    bytea NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now(),
    applied_by  text NOT NULL DEFAULT current_user
);

-- Roles that `archive migrate` gave rights to, so that a later migration can give them the same on new tables.
CREATE TABLE consigner.granted (
    role    text PRIMARY KEY,
    writes  boolean NOT NULL
);

-- Lineages: the life of one cluster id each. A second one gets in only by an operator's `archive migrate --adopt`.
CREATE TABLE consigner.clusters (
    id                       integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cluster_id               bytea NOT NULL UNIQUE CHECK (octet_length(cluster_id) = 16),
    network                  text NOT NULL,
    genesis_validators_root  bytea NOT NULL CHECK (octet_length(genesis_validators_root) = 32),
    adopted                  boolean NOT NULL DEFAULT false,
    entered_at               timestamptz NOT NULL DEFAULT now(),
    entered_by               text NOT NULL DEFAULT current_user
);

CREATE TABLE consigner.validators (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_key  bytea NOT NULL UNIQUE CHECK (octet_length(public_key) = 48)
);

-- What may leave the cluster as a signature. `node` is the node that the client asked; NULL in rows of before rules 3.
CREATE TABLE consigner.signed_blocks (
    cluster         integer NOT NULL,
    log_index       bigint NOT NULL,
    ordinal         integer NOT NULL,
    proposed_at_ms  bigint NOT NULL,
    validator       integer NOT NULL,
    slot            numeric(20) NOT NULL,
    signing_root    bytea NOT NULL,
    peer            text NOT NULL,
    node            bigint,
    PRIMARY KEY (cluster, log_index, ordinal)
) PARTITION BY RANGE (log_index);

CREATE TABLE consigner.signed_attestations (
    cluster         integer NOT NULL,
    log_index       bigint NOT NULL,
    ordinal         integer NOT NULL,
    proposed_at_ms  bigint NOT NULL,
    validator       integer NOT NULL,
    source_epoch    numeric(20) NOT NULL,
    target_epoch    numeric(20) NOT NULL,
    signing_root    bytea NOT NULL,
    peer            text NOT NULL,
    node            bigint,
    PRIMARY KEY (cluster, log_index, ordinal)
) PARTITION BY RANGE (log_index);

CREATE TABLE consigner.signed_exits (
    cluster          integer NOT NULL,
    log_index        bigint NOT NULL,
    ordinal          integer NOT NULL,
    proposed_at_ms   bigint NOT NULL,
    validator        integer NOT NULL,
    epoch            numeric(20) NOT NULL,
    validator_index  numeric(20) NOT NULL,
    signing_root     bytea NOT NULL,
    peer             text NOT NULL,
    node             bigint,
    PRIMARY KEY (cluster, log_index, ordinal)
) PARTITION BY RANGE (log_index);

-- From here on `content` is the change as the program has it, byte for byte; the columns beside it repeat it for people.
CREATE TABLE consigner.refusals (
    cluster         integer NOT NULL,
    log_index       bigint NOT NULL,
    ordinal         integer NOT NULL,
    proposed_at_ms  bigint NOT NULL,
    validator       integer NOT NULL,
    duty            text NOT NULL,
    slot            numeric(20),
    source_epoch    numeric(20),
    target_epoch    numeric(20),
    signing_root    bytea NOT NULL,
    peer            text NOT NULL,
    node            bigint,
    reason          text NOT NULL,
    content         bytea NOT NULL,
    PRIMARY KEY (cluster, log_index, ordinal)
) PARTITION BY RANGE (log_index);

CREATE TABLE consigner.key_events (
    cluster         integer NOT NULL,
    log_index       bigint NOT NULL,
    ordinal         integer NOT NULL,
    proposed_at_ms  bigint NOT NULL,
    kind            text NOT NULL,
    validator       integer,
    node            bigint,
    subject         text NOT NULL,
    slot            numeric(20),
    source_epoch    numeric(20),
    target_epoch    numeric(20),
    content         bytea NOT NULL,
    PRIMARY KEY (cluster, log_index, ordinal)
) PARTITION BY RANGE (log_index);

CREATE TABLE consigner.policy_events (LIKE consigner.key_events INCLUDING ALL) PARTITION BY RANGE (log_index);
CREATE TABLE consigner.cluster_events (LIKE consigner.key_events INCLUDING ALL) PARTITION BY RANGE (log_index);

-- "What did this validator sign in this epoch, at this slot?"
CREATE INDEX ON consigner.signed_blocks (validator, slot);
CREATE INDEX ON consigner.signed_attestations (validator, target_epoch);
CREATE INDEX ON consigner.signed_exits (validator);
CREATE INDEX ON consigner.refusals (validator);
CREATE INDEX ON consigner.key_events (validator);

-- One transaction of the exporter each. The chain of one row begins where the chain of the row before it ends.
CREATE TABLE consigner.batches (
    cluster       integer NOT NULL REFERENCES consigner.clusters,
    after_index   bigint NOT NULL,
    last_index    bigint NOT NULL,
    rows          bigint NOT NULL,
    rows_after    bigint NOT NULL,
    chain_before  bytea NOT NULL CHECK (octet_length(chain_before) = 32),
    chain_after   bytea NOT NULL CHECK (octet_length(chain_after) = 32),
    gap           boolean NOT NULL DEFAULT false,
    written_by    bigint NOT NULL,
    written_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (cluster, last_index),
    UNIQUE (cluster, after_index),
    CHECK (last_index > after_index AND rows >= 0)
);

-- Entries (after_index, last_index] whose rows nobody has any more, and why.
CREATE TABLE consigner.gaps (
    cluster      integer NOT NULL REFERENCES consigner.clusters,
    after_index  bigint NOT NULL,
    last_index   bigint NOT NULL,
    reason       text NOT NULL,
    written_by   bigint NOT NULL,
    written_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (cluster, last_index)
);

-- What each validator had signed at most when a gap was written: nothing in the gap lies above it.
CREATE TABLE consigner.baselines (
    cluster       integer NOT NULL REFERENCES consigner.clusters,
    last_index    bigint NOT NULL,
    validator     integer NOT NULL,
    slot          numeric(20),
    source_epoch  numeric(20),
    target_epoch  numeric(20),
    content       bytea NOT NULL,
    PRIMARY KEY (cluster, last_index, validator)
);

-- Makes the partitions that hold this log index. Runs with its owner's rights, so that the writer needs none to change
-- tables. A partition is attached rather than created in place: that does not wait for those who read.
CREATE FUNCTION consigner.ensure_partitions(at_index bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    span CONSTANT bigint := 10000000;
    part CONSTANT bigint := at_index / span;
    parents CONSTANT text[] := ARRAY['signed_blocks', 'signed_attestations', 'signed_exits', 'refusals', 'key_events',
        'policy_events', 'cluster_events'];
    parent text;
    child text;
    -- The tables that are there, as the statement sees it that asks: to_regclass may remember what was.
    there CONSTANT text := 'SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = ''consigner'' AND c.relname = $1)';
    found boolean;
BEGIN
    IF at_index < 0 THEN
        RAISE EXCEPTION 'a log index is not below zero';
    END IF;
    -- The last one made: nearly always all are there.
    EXECUTE there INTO found USING format('cluster_events_p%s', part);
    IF found THEN
        RETURN;
    END IF;
    -- Two writers of two lineages make them one after the other.
    PERFORM pg_advisory_xact_lock(1129206599, 0);
    FOREACH parent IN ARRAY parents LOOP
        child := format('%s_p%s', parent, part);
        EXECUTE there INTO found USING child;
        CONTINUE WHEN found;
        EXECUTE format('CREATE TABLE consigner.%I (LIKE consigner.%I INCLUDING ALL)', child, parent);
        EXECUTE format('ALTER TABLE consigner.%I ATTACH PARTITION consigner.%I FOR VALUES FROM (%s) TO (%s)',
            parent, child, part * span, (part + 1) * span);
    END LOOP;
END $$;

REVOKE ALL ON FUNCTION consigner.ensure_partitions(bigint) FROM PUBLIC;
