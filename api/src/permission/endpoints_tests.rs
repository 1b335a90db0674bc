#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use super::endpoints::ENDPOINTS;
use super::{Needs, needs};
use consigner_rules::policy::Operation;
use http::Method;
use std::collections::BTreeSet;

/// The text of the router, in which every route is one call of `.route("..", get(..).post(..))`.
const ROUTER: &str = include_str!("../router.rs");

const METHODS: [&str; 7] = ["get", "post", "put", "delete", "patch", "options", "any"];

/// Method and path of every route that the router has, from its text.
fn routes() -> BTreeSet<(String, &'static str)> {
    let mut found = BTreeSet::new();
    let ends = |text: &'static str| text.split(".route_layer(").next().unwrap();
    for route in ROUTER.split(".route(").skip(1).map(ends) {
        let path = route.trim_start().strip_prefix('"').expect("a path").split('"').next().unwrap();
        let words =
            route.split('(').map(|before| before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next());
        let methods: Vec<&str> = words.flatten().filter(|word| METHODS.contains(word)).collect();
        assert!(!methods.is_empty(), "{path}");
        found.extend(methods.into_iter().map(|method| (method.to_uppercase(), path)));
    }
    found
}

#[test]
fn every_route_is_in_the_table_and_nothing_else() {
    let known: BTreeSet<(String, &str)> =
        ENDPOINTS.iter().map(|endpoint| (endpoint.method.to_owned(), endpoint.path)).collect();
    assert_eq!(routes(), known);
    assert_eq!(known.len(), ENDPOINTS.len(), "one line per route and method");
    assert!(known.len() > 30, "the text of the router was not understood");
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
