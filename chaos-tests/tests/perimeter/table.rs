//! The table: door x identity x Host x address x operation x key, and what comes of it before and after `policy apply`.
//!
//! Statuses: first without a policy, where the node's own configuration decides, then with [`super::document`].

use super::row::Ask::{
    Ahead, Block, DeleteNothing, Deposit, Exit, ForeignRegistration, Get, Post, Registration, Sync, Vote,
};
use super::row::Door::{Admin, Api, KeyManager, Metrics, Token};
use super::row::{CUT, Row, Shows, row};

const LIST: Ask = Get("/api/v1/eth2/publicKeys");
const KEYSTORES: Ask = Get("/eth/v1/keystores");
const STATUS: Ask = Get("/admin/v1/cluster/status");
const POLICY: Ask = Get("/admin/v1/policy");
const METRICS: Ask = Get("/metrics");

type Ask = super::row::Ask;

/// Who signs, by every kind of name, what, and with which key.
pub const SIGNING: &[Row] = &[
    row("listed by the node, not in the policy", Api, "dev-client", Vote(0)).brings(200, 403).line_after(
        "access",
        "refused",
        "dev-client",
    ),
    row("by common name", Api, "vc-cn", Vote(0)),
    row("a duty that is not slashable", Api, "vc-cn", Sync(0)),
    row("a block is worth a line", Api, "vc-cn", Block(1)).line("BLOCK_V2", "done", "vc-cn"),
    row("another key of the tag", Api, "vc-cn", Vote(1)),
    row("a key outside the tag", Api, "vc-cn", Vote(2)).brings(200, 403).line_after("ATTESTATION", "refused", "vc-cn"),
    row("a key that is nobody's", Api, "vc-cn", Vote(999)).brings(404, 403),
    row("by DNS name", Api, "vc-dns", Vote(0)),
    row("by SPIFFE id", Api, "vc-spiffe", Vote(0)),
    row("by fingerprint", Api, "vc-pinned", Vote(0)),
    row("the same name on another certificate", Api, "vc-impostor", Vote(0)).brings(200, 403).line_after(
        "access",
        "refused",
        "vc-pinned",
    ),
    row("in the policy, not listed by the node", Api, "vc-unlisted", Vote(0)).brings(403, 403).line(
        "access",
        "refused",
        "vc-unlisted",
    ),
    row("in no list at all", Api, "nobody", Vote(0)).brings(403, 403).line("access", "refused", "nobody"),
    row("listed as a client of nodes, a role without rights", Api, "viewer", Vote(0)).brings(200, 403).line_after(
        "ATTESTATION",
        "refused",
        "viewer",
    ),
    row("one type only", Api, "vc-votes", Vote(2)),
    row("another type", Api, "vc-votes", Block(2)).brings(200, 403).line_after("BLOCK_V2", "refused", "vc-votes"),
    row("an exit is no duty", Api, "vc-cn", Exit(0))
        .brings(200, 403)
        .line_before("VOLUNTARY_EXIT", "done", "vc-cn")
        .line_after("VOLUNTARY_EXIT", "refused", "vc-cn"),
    row("an exit by who may", Api, "vc-exits", Exit(0)).line("VOLUNTARY_EXIT", "done", "vc-exits"),
    row("an exit of another key", Api, "vc-exits", Exit(1)).brings(200, 403).line_after(
        "VOLUNTARY_EXIT",
        "refused",
        "vc-exits",
    ),
    row("who may exit may nothing else", Api, "vc-exits", Vote(0)).brings(200, 403).line_after(
        "ATTESTATION",
        "refused",
        "vc-exits",
    ),
    row("a deposit is no duty", Api, "vc-cn", Deposit(0)).brings(200, 403).line_after("DEPOSIT", "refused", "vc-cn"),
    row("a registration with the right fee recipient", Api, "vc-cn", Registration(0)).line(
        "VALIDATOR_REGISTRATION",
        "done",
        "vc-cn",
    ),
    row("a registration with another one", Api, "vc-cn", ForeignRegistration(0)).brings(200, 403).line_after(
        "VALIDATOR_REGISTRATION",
        "refused",
        "vc-cn",
    ),
    row("many years ahead", Api, "vc-cn", Ahead(0)).brings(200, 403).line_after(
        "SYNC_COMMITTEE_MESSAGE",
        "refused",
        "vc-cn",
    ),
    row("administrators sign no more", Api, "old-admin", Vote(0)).brings(200, 403).line_after(
        "access",
        "refused",
        "old-admin",
    ),
];

/// What else clients ask, with which host, from where.
pub const AROUND: &[Row] = &[
    row("who signs may list", Api, "vc-cn", LIST),
    row("who only lists", Api, "viewer", LIST),
    row("who is in no list lists nothing", Api, "nobody", LIST).brings(403, 403).line("access", "refused", "nobody"),
    row("health needs no permission", Api, "nobody", Get("/upcheck")),
    row("nothing is there", Api, "vc-cn", Get("/no/such/path")).brings(404, 404),
    row("a host of both lists", Api, "vc-cn", Vote(0)).host("signer.example"),
    row("a host of the node's list alone", Api, "vc-cn", Vote(0)).host("extra.example").brings(200, 403).line_after(
        "host",
        "refused",
        "extra.example",
    ),
    row("a host of the policy's list alone", Api, "vc-cn", Vote(0)).host("policy.example").brings(403, 403).line(
        "host",
        "refused",
        "policy.example",
    ),
    row("a foreign host", Api, "vc-cn", Get("/upcheck")).host("rebinding.example").brings(403, 403).line(
        "host",
        "refused",
        "rebinding.example",
    ),
    row("an address of both lists", Api, "vc-cn", Vote(0)).from(2),
    row("an address of the node's list alone", Api, "vc-cn", Vote(0)).from(3).brings(200, CUT).line_after(
        "connection",
        "refused",
        "",
    ),
    row("an address of no list", Api, "vc-cn", Vote(0)).from(9).brings(CUT, CUT).line("connection", "refused", ""),
    row("behind a balancer", Api, "vc-cn", Vote(0)).from(5).on_behalf_of(2),
    row("behind a balancer, from elsewhere", Api, "vc-cn", Vote(0))
        .from(5)
        .on_behalf_of(3)
        .brings(200, CUT)
        .line_after("connection", "refused", ""),
    row("a balancer that names nobody", Api, "vc-cn", Vote(0)).from(5).brings(CUT, CUT).line(
        "connection",
        "refused",
        "",
    ),
    row("a header from who is no balancer", Api, "vc-cn", Vote(0)).on_behalf_of(2).brings(CUT, CUT).line(
        "connection",
        "refused",
        "",
    ),
    row("expired", Api, "expired", LIST).brings(CUT, CUT).line("connection", "refused", "vc-cn"),
    row("not yet valid", Api, "early", LIST).brings(CUT, CUT).line("connection", "refused", "vc-cn"),
    row("a certificate for servers", Api, "servers-only", LIST).brings(CUT, CUT).line("connection", "refused", "vc-cn"),
    row("revoked", Api, "revoked", LIST).brings(CUT, CUT).line("connection", "refused", "vc-cn"),
    row("of a foreign CA", Api, "foreign", LIST).brings(CUT, CUT).line("connection", "refused", "vc-cn"),
    row("no certificate", Api, "", LIST).brings(CUT, CUT).line("connection", "refused", ""),
    row("metrics", Metrics, "", METRICS),
    row("metrics from elsewhere", Metrics, "", METRICS).from(2).brings(200, CUT),
];

/// Operators: their own listeners.
pub const OPERATING: &[Row] = &[
    row("status by an operator", Admin, "dev-admin", STATUS),
    row("status by who lost it", Admin, "old-admin", STATUS).brings(200, 403).line_after(
        "admin_access",
        "refused",
        "old-admin",
    ),
    row("an operator's name by the clients' CA", Admin, "false-admin", STATUS).brings(403, 403).line(
        "admin_access",
        "refused",
        "dev-admin",
    ),
    row("the same at the key manager", KeyManager, "false-admin", KEYSTORES).brings(403, 403).line(
        "keymanager_access",
        "refused",
        "dev-admin",
    ),
    row("status by who may only look", Admin, "auditor", STATUS).brings(403, 200).line_before(
        "admin_access",
        "refused",
        "auditor",
    ),
    row("the policy by who may only look", Admin, "auditor", POLICY).brings(403, 200),
    row("history by who may only look", Admin, "auditor", Get("/admin/v1/history/export")).brings(403, 403).line(
        "admin_access",
        "refused",
        "auditor",
    ),
    row("a policy by who may only look", Admin, "auditor", Post("/admin/v1/policy/apply")).brings(403, 403).line(
        "admin_access",
        "refused",
        "auditor",
    ),
    row("status by a client", Admin, "vc-cn", STATUS).brings(403, 403).line("admin_access", "refused", "vc-cn"),
    row("operators from their address", Admin, "dev-admin", STATUS).from(4),
    row("operators from a client's address", Admin, "dev-admin", STATUS).from(2).brings(200, CUT).line_after(
        "connection",
        "refused",
        "",
    ),
    row("administration is not served to clients' port", Api, "dev-admin", STATUS).brings(404, 404),
    row("keystores by an operator", KeyManager, "dev-admin", KEYSTORES),
    row("keystores by who may only list", KeyManager, "keeper", KEYSTORES).brings(403, 200).line_before(
        "keymanager_access",
        "refused",
        "keeper",
    ),
    row("deletion by who may only list", KeyManager, "keeper", DeleteNothing).brings(403, 403).line(
        "keymanager_access",
        "refused",
        "keeper",
    ),
    row("keystores by a client", KeyManager, "vc-cn", KEYSTORES).brings(403, 403).line(
        "keymanager_access",
        "refused",
        "vc-cn",
    ),
    row("keystores from elsewhere", KeyManager, "dev-admin", KEYSTORES).from(2).brings(200, CUT).line_after(
        "connection",
        "refused",
        "",
    ),
    row("keystores on the clients' port", Api, "dev-admin", KEYSTORES).brings(404, 404),
];

/// Tokens of the cluster and of an issuer.
pub const TOKENS: &[Row] = &[
    row("a token alone", Token, "", Vote(0)).shows(Shows::Token("signer")).brings(401, 200),
    row("a token beside a certificate of nobody", Token, "nobody", Vote(0))
        .shows(Shows::Token("signer"))
        .brings(401, 200)
        .line_before("access", "refused", "nobody"),
    row("a token for a key outside its role", Token, "nobody", Vote(2))
        .shows(Shows::Token("signer"))
        .brings(401, 403)
        .line_after("ATTESTATION", "refused", ""),
    row("a token as a password", Token, "nobody", Vote(0)).shows(Shows::Password("signer")).brings(401, 200),
    row("a token as a password on the API port", Api, "dev-client", Vote(0))
        .shows(Shows::Password("signer"))
        .brings(200, 401)
        .line_after("access", "refused", "dev-client"),
    row("a token on top of a certificate", Api, "dev-client", Vote(0)).shows(Shows::Token("signer")).brings(401, 200),
    row("a revoked token", Token, "nobody", Vote(0))
        .shows(Shows::Token("revoked"))
        .brings(401, 401)
        .line_after("access", "refused", "nobody"),
    row("a forged token", Token, "nobody", Vote(0)).shows(Shows::Text("forged")).brings(401, 401),
    row("nobody at all", Token, "", Vote(0)).brings(401, 401).line("access", "refused", "anonymous"),
    row("an access token of an operator", Admin, "visitor", STATUS).shows(Shows::Text("jwt")).brings(401, 200),
    row("an access token at the key manager", KeyManager, "visitor", KEYSTORES)
        .shows(Shows::Text("jwt"))
        .brings(401, 200),
    row("an access token beside a certificate of the clients' CA", Admin, "nobody", STATUS)
        .shows(Shows::Text("jwt"))
        .brings(401, 403)
        .line_after("admin_access", "refused", "nobody"),
    row("an access token of another group", Admin, "visitor", STATUS).shows(Shows::Text("jwt-guest")).brings(401, 403),
    row("an expired access token", Admin, "visitor", STATUS)
        .shows(Shows::Text("jwt-expired"))
        .brings(401, 401)
        .line_after("admin_access", "refused", "visitor"),
    row("an access token for others", Admin, "visitor", STATUS).shows(Shows::Text("jwt-audience")).brings(401, 401),
    row("a forged access token", Admin, "visitor", STATUS).shows(Shows::Text("jwt-forged")).brings(401, 401),
    row("an access token at the token door", Token, "nobody", Vote(0)).shows(Shows::Text("jwt")).brings(401, 401),
];
