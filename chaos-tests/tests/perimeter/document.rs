//! The configuration of the nodes and the policy of the table.

use consigner_rules::PublicKey;

/// The node's own lists: wider than the policy's in some places, narrower in others.
pub const OVERLAY: &str = r"
api:
  tls:
    cert: api.pem
    key: api-key.pem
    client-ca: ../certs/clients-ca.pem
    admin-ca: ../certs/admins-ca.pem
    crl: [../certs/clients.crl, ../certs/admins.crl]
  clients: [dev-client, vc-cn, vc-dns, vc-spiffe, vc-pinned, vc-votes, vc-exits, viewer]
  admins: [dev-admin, old-admin]
  host-allowlist: [localhost, 127.0.0.1, signer.example, extra.example]
  ip-allowlist: [127.0.0.0/29]
  balancers: [127.0.0.5]
peer: {tls: PEER_TLS}
keymanager: {enabled: true, rate: {per-second: 0}}
limits: {failed-credentials: {free: 0}}
audit: {checkpoint-lines: 20, checkpoint-interval: 1s, anchor-interval: 1s}
oauth: {issuer: 'https://idp.example', audience: [consigner], jwks-file: ../certs/jwks.json}
";

/// The fee recipient of the policy, which is the one that `Chain` names.
pub const FEE_RECIPIENT: &str = "0x12de2496781293fe205125dcea91f49a274d217d";

/// Slots ahead of the clock: nearly four years, the most that a policy takes, so that no machine's clock makes a message
/// of the newest fork one of too far ahead.
pub const FUTURE_SLOTS: u64 = 10_000_000;

/// The document. `pinned` is a fingerprint.
pub fn policy(keys: &[PublicKey], pinned: &str) -> String {
    let (first, second) = (keys[0], keys[1]);
    format!(
        r#"version: 1
hosts: [localhost, 127.0.0.1, signer.example, policy.example]
addresses:
  sign: [127.0.0.1, 127.0.0.2]
  keymanager: [127.0.0.1]
  admin: [127.0.0.1, 127.0.0.4]
  metrics: [127.0.0.1/32]
future-slots: {FUTURE_SLOTS}
tags:
  pool-a: ["{first}", "{second}"]
roles:
  validator:
    keys: {{tags: [pool-a]}}
    operations: [duties, VALIDATOR_REGISTRATION]
    fee-recipients: ["{FEE_RECIPIENT}"]
  votes: {{keys: all, operations: [ATTESTATION]}}
  exits: {{keys: ["{first}"], operations: [VOLUNTARY_EXIT]}}
  viewer: {{keys: all, operations: [list-keys]}}
  auditor: {{operations: [admin.status, admin.policy-read]}}
  keeper: {{operations: [keymanager.list]}}
  operator: {{operations: ["admin.*", "keymanager.*"]}}
clients:
  - {{name: ops, certificate: {{common-name: dev-admin}}, roles: [operator]}}
  - {{name: ops-by-token, jwt: {{issuer: "https://idp.example", claims: {{groups: consigner-ops}}}}, roles: [operator]}}
  - {{name: vc-cn, certificate: {{common-name: vc-cn}}, roles: [validator]}}
  - {{name: vc-dns, certificate: {{dns: vc.example}}, roles: [validator]}}
  - {{name: vc-spiffe, certificate: {{uri: "spiffe://example/vc"}}, roles: [validator]}}
  - {{name: vc-pinned, certificate: {{common-name: vc-pinned, fingerprint: "{pinned}"}}, roles: [validator]}}
  - {{name: vc-unlisted, certificate: {{common-name: vc-unlisted}}, roles: [validator]}}
  - {{name: vc-votes, certificate: {{common-name: vc-votes}}, roles: [votes]}}
  - {{name: vc-exits, certificate: {{common-name: vc-exits}}, roles: [exits]}}
  - {{name: viewer, certificate: {{common-name: viewer}}, roles: [viewer]}}
  - {{name: auditor, certificate: {{common-name: auditor}}, roles: [auditor]}}
  - {{name: keeper, certificate: {{common-name: keeper}}, roles: [keeper]}}
"#
    )
}
