//! Policy documents of the tests, and how they are applied.
#![allow(dead_code, reason = "each test uses a part")]

use super::world::{DEADLINE, POLL, World};
use consigner_chaos::perimeter::Call;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Instant;

/// The call that applies a document.
pub const APPLY: &str = "/admin/v1/policy/apply";

/// Lets clients with these common names sign everything for every key; the certificate of `consigner dev` for operators
/// does the rest.
pub fn everybody(names: &[&str]) -> String {
    let client =
        |name: &&str| format!("  - {{name: {name}, certificate: {{common-name: {name}}}, roles: [validator]}}\n");
    format!(
        "version: 1\n\
         roles:\n  \
           validator: {{keys: all, operations: [duties, VOLUNTARY_EXIT, DEPOSIT, VALIDATOR_REGISTRATION]}}\n  \
           operator: {{operations: [\"admin.*\", \"keymanager.*\"]}}\n\
         clients:\n  \
           - {{name: ops, certificate: {{common-name: dev-admin}}, roles: [operator]}}\n{}",
        names.iter().map(client).collect::<String>()
    )
}

/// Applies a document through a door for operators; what it answered.
///
/// Repeated while no leader confirms: elections take their time, and applying the same document twice is one change.
pub async fn apply(world: &World, door: SocketAddr, policy: &str) -> Value {
    let call = Call::post(APPLY, json!({"policy": policy, "dry_run": false}).to_string());
    let begun = Instant::now();
    loop {
        let came = world.admin().call(door, &call).await;
        match came.status() {
            Some(200) => return serde_json::from_str(&came.text()).unwrap(),
            Some(503) if begun.elapsed() < DEADLINE => tokio::time::sleep(POLL).await,
            _ => panic!("apply through {door}: {came}\n{policy}"),
        }
    }
}
