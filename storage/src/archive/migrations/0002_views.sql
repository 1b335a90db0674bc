-- Views for people and for other programs, version 2 of the archive. Applied once; never edited afterwards.
--
-- consigner_view: the tables with keys, times and numbers as people write them.
-- web3signer: the tables of Web3Signer's slashing-protection database, schema version 12, over all lineages, so that its
-- own tools, or an emergency copy of it, can read them. They are views: nothing can be signed into them.

CREATE SCHEMA consigner_view;

-- Node ids and times are unsigned numbers of 64 bits in a bigint with the same bits.
CREATE FUNCTION consigner_view.unsigned(bits bigint) RETURNS numeric LANGUAGE sql IMMUTABLE AS
$$ SELECT CASE WHEN bits < 0 THEN bits::numeric + 18446744073709551616 ELSE bits::numeric END $$;

-- NULL for what no calendar has: a proposer's clock may show anything.
CREATE FUNCTION consigner_view.at(ms bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS
$$ SELECT CASE WHEN ms BETWEEN 0 AND 253402300799999 THEN to_timestamp(ms / 1000.0) END $$;

CREATE VIEW consigner_view.lineages AS
SELECT c.id AS cluster, encode(c.cluster_id, 'hex') AS lineage, c.network, c.genesis_validators_root, c.adopted,
    c.entered_at
FROM consigner.clusters c;

-- Everything that may have left as a signature: what, when, through which node, for which client.
CREATE VIEW consigner_view.signed AS
SELECT t.cluster, t.log_index, t.ordinal, consigner_view.at(t.proposed_at_ms) AS proposed_at, v.public_key,
    'block'::text AS duty, t.slot, NULL::numeric AS source_epoch, NULL::numeric AS target_epoch,
    NULL::numeric AS exit_epoch, t.signing_root, t.peer AS client, consigner_view.unsigned(t.node) AS node
FROM consigner.signed_blocks t LEFT JOIN consigner.validators v ON v.id = t.validator
UNION ALL
SELECT t.cluster, t.log_index, t.ordinal, consigner_view.at(t.proposed_at_ms), v.public_key,
    'attestation', NULL, t.source_epoch, t.target_epoch, NULL, t.signing_root, t.peer, consigner_view.unsigned(t.node)
FROM consigner.signed_attestations t LEFT JOIN consigner.validators v ON v.id = t.validator
UNION ALL
SELECT t.cluster, t.log_index, t.ordinal, consigner_view.at(t.proposed_at_ms), v.public_key,
    'exit', NULL, NULL, NULL, t.epoch, t.signing_root, t.peer, consigner_view.unsigned(t.node)
FROM consigner.signed_exits t LEFT JOIN consigner.validators v ON v.id = t.validator;

CREATE VIEW consigner_view.refused AS
SELECT t.cluster, t.log_index, t.ordinal, consigner_view.at(t.proposed_at_ms) AS proposed_at, v.public_key, t.duty,
    t.slot, t.source_epoch, t.target_epoch, t.signing_root, t.peer AS client, consigner_view.unsigned(t.node) AS node,
    t.reason
FROM consigner.refusals t LEFT JOIN consigner.validators v ON v.id = t.validator;

CREATE VIEW consigner_view.events AS
SELECT t.cluster, t.log_index, t.ordinal, consigner_view.at(t.proposed_at_ms) AS proposed_at, t.about, t.kind,
    v.public_key, consigner_view.unsigned(t.node) AS node, t.subject, t.slot, t.source_epoch, t.target_epoch
FROM (
    SELECT cluster, log_index, ordinal, proposed_at_ms, 'key' AS about, kind, validator, node, subject, slot,
        source_epoch, target_epoch FROM consigner.key_events
    UNION ALL
    SELECT cluster, log_index, ordinal, proposed_at_ms, 'policy', kind, validator, node, subject, slot,
        source_epoch, target_epoch FROM consigner.policy_events
    UNION ALL
    SELECT cluster, log_index, ordinal, proposed_at_ms, 'cluster', kind, validator, node, subject, slot,
        source_epoch, target_epoch FROM consigner.cluster_events
) t LEFT JOIN consigner.validators v ON v.id = t.validator;

-- `lag`: from the newest proposal of a batch to its being on the disk of this database.
CREATE VIEW consigner_view.batches AS
SELECT b.cluster, b.after_index, b.last_index, b.rows, b.gap, consigner_view.unsigned(b.written_by) AS written_by,
    b.written_at, newest.proposed_at, b.written_at - newest.proposed_at AS lag
FROM consigner.batches b CROSS JOIN LATERAL (
    SELECT consigner_view.at(max(r.ms)) AS proposed_at FROM (
        SELECT max(proposed_at_ms) AS ms FROM consigner.signed_blocks t
            WHERE t.cluster = b.cluster AND t.log_index > b.after_index AND t.log_index <= b.last_index
        UNION ALL SELECT max(proposed_at_ms) FROM consigner.signed_attestations t
            WHERE t.cluster = b.cluster AND t.log_index > b.after_index AND t.log_index <= b.last_index
        UNION ALL SELECT max(proposed_at_ms) FROM consigner.signed_exits t
            WHERE t.cluster = b.cluster AND t.log_index > b.after_index AND t.log_index <= b.last_index
        UNION ALL SELECT max(proposed_at_ms) FROM consigner.refusals t
            WHERE t.cluster = b.cluster AND t.log_index > b.after_index AND t.log_index <= b.last_index
        UNION ALL SELECT max(proposed_at_ms) FROM consigner.key_events t
            WHERE t.cluster = b.cluster AND t.log_index > b.after_index AND t.log_index <= b.last_index
        UNION ALL SELECT max(proposed_at_ms) FROM consigner.policy_events t
            WHERE t.cluster = b.cluster AND t.log_index > b.after_index AND t.log_index <= b.last_index
        UNION ALL SELECT max(proposed_at_ms) FROM consigner.cluster_events t
            WHERE t.cluster = b.cluster AND t.log_index > b.after_index AND t.log_index <= b.last_index
    ) r
) newest;

CREATE VIEW consigner_view.gaps AS
SELECT g.cluster, g.after_index, g.last_index, g.reason, consigner_view.unsigned(g.written_by) AS written_by,
    g.written_at,
    (SELECT count(*) FROM consigner.baselines b WHERE b.cluster = g.cluster AND b.last_index = g.last_index) AS baseline
FROM consigner.gaps g;

CREATE SCHEMA web3signer;

CREATE VIEW web3signer.database_version AS SELECT 1 AS id, 12 AS version;

-- Enabled unless the last that happened to the key was its removal. Lineages follow one another in the order in which
-- they came.
CREATE VIEW web3signer.validators AS
SELECT v.id, v.public_key, coalesce((
    SELECT e.kind = 'key_added' FROM consigner.key_events e
    WHERE e.validator = v.id AND e.kind IN ('key_added', 'key_removed')
    ORDER BY e.cluster DESC, e.log_index DESC, e.ordinal DESC LIMIT 1), true) AS enabled
FROM consigner.validators v;

-- The ids only tell rows apart. One row per validator and slot (and target), as the tables of Web3Signer have it.
CREATE VIEW web3signer.signed_blocks AS
SELECT DISTINCT ON (t.validator, t.slot) t.validator AS validator_id, t.slot, t.signing_root,
    (t.cluster::bigint << 56) + (t.log_index << 16) + t.ordinal AS id
FROM consigner.signed_blocks t
ORDER BY t.validator, t.slot, t.cluster DESC, t.log_index DESC, t.ordinal DESC;

CREATE VIEW web3signer.signed_attestations AS
SELECT DISTINCT ON (t.validator, t.target_epoch) t.validator AS validator_id, t.source_epoch, t.target_epoch,
    t.signing_root, (t.cluster::bigint << 56) + (t.log_index << 16) + t.ordinal AS id
FROM consigner.signed_attestations t
ORDER BY t.validator, t.target_epoch, t.source_epoch DESC, t.cluster DESC, t.log_index DESC, t.ordinal DESC;

-- Nothing at or below these is signed: the greatest of what was imported, of what stands for lost rows, and of the floors
-- after restores (which speak for every validator), and at least the first that was signed here. Both epochs or none.
CREATE VIEW web3signer.low_watermarks AS
SELECT w.validator_id, w.slot, CASE WHEN w.source_epoch IS NOT NULL THEN w.target_epoch END AS target_epoch,
    CASE WHEN w.target_epoch IS NOT NULL THEN w.source_epoch END AS source_epoch
FROM (
    SELECT v.id AS validator_id,
        greatest(blocks.slot, imported.slot, lost.slot, floors.slot) AS slot,
        greatest(votes.source_epoch, imported.source_epoch, lost.source_epoch, floors.source_epoch) AS source_epoch,
        greatest(votes.target_epoch, imported.target_epoch, lost.target_epoch, floors.target_epoch) AS target_epoch
    FROM consigner.validators v
    CROSS JOIN LATERAL (
        SELECT min(t.slot) AS slot FROM consigner.signed_blocks t WHERE t.validator = v.id) blocks
    LEFT JOIN LATERAL (
        SELECT t.source_epoch, t.target_epoch FROM consigner.signed_attestations t WHERE t.validator = v.id
        ORDER BY t.target_epoch LIMIT 1) votes ON true
    CROSS JOIN LATERAL (
        SELECT max(e.slot) AS slot, max(e.source_epoch) AS source_epoch, max(e.target_epoch) AS target_epoch
        FROM consigner.key_events e WHERE e.validator = v.id AND e.kind = 'history_merged') imported
    CROSS JOIN LATERAL (
        SELECT max(b.slot) AS slot, max(b.source_epoch) AS source_epoch, max(b.target_epoch) AS target_epoch
        FROM consigner.baselines b WHERE b.validator = v.id) lost
    CROSS JOIN (
        SELECT max(e.slot) AS slot, max(e.source_epoch) AS source_epoch, max(e.target_epoch) AS target_epoch
        FROM consigner.cluster_events e WHERE e.kind = 'resumed') floors
) w
WHERE w.slot IS NOT NULL OR (w.source_epoch IS NOT NULL AND w.target_epoch IS NOT NULL);

CREATE INDEX ON consigner.baselines (validator);

-- The newest limit holds; "none" is a limit that was taken away.
CREATE VIEW web3signer.metadata AS
SELECT 1 AS id, (SELECT c.genesis_validators_root FROM consigner.clusters c ORDER BY c.id LIMIT 1)
        AS genesis_validators_root,
    newest.source_epoch AS high_watermark_epoch, newest.slot AS high_watermark_slot
FROM (SELECT 1) AS one LEFT JOIN LATERAL (
    SELECT e.slot, e.source_epoch FROM consigner.policy_events e WHERE e.kind = 'high_watermark_set'
    ORDER BY e.cluster DESC, e.log_index DESC, e.ordinal DESC LIMIT 1) newest ON true
WHERE EXISTS (SELECT FROM consigner.clusters);
