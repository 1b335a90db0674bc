#![allow(clippy::unwrap_used, reason = "tests")]

use super::endpoints::ENDPOINTS;
use super::{Needs, needs};
use consigner_rules::policy::Operation;
use http::Method;
use std::collections::BTreeSet;

/// The text of the router, in which every route is one call of `.route("..", ..)`.
const ROUTER: &str = include_str!("../router.rs");

/// The paths that the router has, from its text.
fn routes() -> BTreeSet<&'static str> {
    ROUTER.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

/// Which methods a path has is asked of the router itself, in `tests/permission.rs`.
#[test]
fn every_route_is_in_the_table_and_nothing_else() {
    let known: BTreeSet<&str> = ENDPOINTS.iter().map(|endpoint| endpoint.path).collect();
    assert_eq!(routes(), known);
    assert!(known.len() > 20, "the text of the router was not understood");
    let distinct: BTreeSet<(&str, &str)> = ENDPOINTS.iter().map(|known| (known.method, known.path)).collect();
    assert_eq!(distinct.len(), ENDPOINTS.len(), "one line per route and method");
}

#[test]
fn only_health_is_for_everybody() {
    let free: BTreeSet<&str> =
        ENDPOINTS.iter().filter(|endpoint| endpoint.needs == Needs::Nothing).map(|endpoint| endpoint.path).collect();
    assert_eq!(free, BTreeSet::from(["/healthcheck", "/leader", "/ready", "/upcheck"]));
}

#[test]
fn every_verb_is_asked_for_by_some_endpoint() {
    let asked: BTreeSet<Operation> = ENDPOINTS.iter().filter_map(|endpoint| endpoint.needs.operation()).collect();
    let verbs = Operation::all().filter(|operation| !matches!(operation, Operation::Sign(_)));
    assert_eq!(verbs.collect::<BTreeSet<_>>(), asked);
}

#[test]
fn head_goes_with_get_and_what_is_not_known_is_nobodys() {
    assert_eq!(needs(&Method::HEAD, "/upcheck"), needs(&Method::GET, "/upcheck"));
    for (method, path) in
        [(Method::PUT, "/upcheck"), (Method::GET, "/nowhere"), (Method::HEAD, "/admin/v1/keys/import")]
    {
        assert_eq!(needs(&method, path), None, "{method} {path}");
    }
}
