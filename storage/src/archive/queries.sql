-- Questions to the archive, for psql: psql -v validator=8000...ffff -v epoch=250000 -v lineage=0011... "postgres://READER@..."
-- Each part begins with its name. docs/ARCHIVE.md shows them; storage/tests/archive_read runs every one.

-- query: signed-in-epoch
-- What did this validator sign in this epoch, through which node, for which client? (32 slots per epoch.)
SELECT log_index, proposed_at, duty, slot, source_epoch, target_epoch, encode(signing_root, 'hex') AS signing_root,
    node, client
FROM consigner_view.signed
WHERE public_key = decode(:'validator', 'hex')
    AND (target_epoch = :epoch OR slot BETWEEN :epoch * 32 AND :epoch * 32 + 31 OR exit_epoch = :epoch)
ORDER BY cluster, log_index, ordinal;

-- query: refusals-by-client
-- Which clients were refused, how often, when last, and why?
SELECT client, duty, count(*) AS refusals, max(proposed_at) AS last, max(reason) AS example
FROM consigner_view.refused
GROUP BY client, duty ORDER BY refusals DESC;

-- query: newest-by-validator
-- How far has each validator signed?
SELECT encode(v.public_key, 'hex') AS validator,
    (SELECT max(slot) FROM consigner.signed_blocks b WHERE b.validator = v.id) AS slot,
    (SELECT max(target_epoch) FROM consigner.signed_attestations a WHERE a.validator = v.id) AS target_epoch
FROM consigner.validators v ORDER BY 1;

-- query: through-nodes
-- Through which node do signatures come, and for which client?
SELECT node, client, count(*) AS signatures, max(proposed_at) AS last
FROM consigner_view.signed GROUP BY node, client ORDER BY node, client;

-- query: key-events
-- What happened to this validator's key and history?
SELECT log_index, proposed_at, kind, subject, slot, source_epoch, target_epoch
FROM consigner_view.events
WHERE public_key = decode(:'validator', 'hex') ORDER BY cluster, log_index, ordinal;

-- query: gaps
-- What is known to be lost, why, and for how many validators does a baseline stand?
SELECT l.lineage, g.after_index, g.last_index, g.reason, g.written_by, g.written_at, g.baseline
FROM consigner_view.gaps g JOIN consigner_view.lineages l USING (cluster) ORDER BY l.cluster, g.last_index;

-- query: batch-lag
-- How long after its newest proposal was each of the last batches on the disk?
SELECT l.lineage, b.after_index, b.last_index, b.rows, b.written_by, b.written_at, b.lag
FROM consigner_view.batches b JOIN consigner_view.lineages l USING (cluster)
WHERE l.lineage = :'lineage' ORDER BY b.last_index DESC LIMIT 20;
