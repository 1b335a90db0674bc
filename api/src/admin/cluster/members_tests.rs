#![allow(clippy::unwrap_used, reason = "tests")]

use super::members::{Wanted, read_add, read_promote, read_remove, read_replace, read_transfer};
use crate::error::ApiError;
use consigner_raft::Change;
use serde_json::{Value, json};
use std::time::Duration;

type Read = fn(&[u8]) -> Result<Wanted, ApiError>;

fn read(read: Read, body: &Value) -> Result<Wanted, String> {
    read(body.to_string().as_bytes()).map_err(|error| error.sentence())
}

#[test]
fn what_is_absent_has_its_default() {
    let wanted = read(read_add, &json!({"id": 4, "peer_addr": "node4:9001"})).unwrap();
    let Change::Add(new) = wanted.change else { unreachable!() };
    assert_eq!((new.node, new.peer_addr.as_str(), new.api_url.as_str()), (4, "node4:9001", ""));
    assert_eq!((new.promote, new.catch_up), (true, Duration::from_secs(120)));
    assert_eq!(wanted.sentence, "node 4 at node4:9001");
    let wanted = read(read_replace, &json!({"id": 2, "with": {"id": 4, "peer_addr": "node4:9001", "promote": false}}));
    let Change::Replace { old: 2, new } = wanted.unwrap().change else { unreachable!() };
    assert!(!new.promote);
    assert_eq!(read(read_transfer, &json!({})).unwrap().change, Change::Transfer { to: None });
    assert_eq!(read(read_transfer, &json!({"to": 3})).unwrap().change, Change::Transfer { to: Some(3) });
}

#[test]
fn what_is_wrong_is_named() {
    let cases: [(Read, Value, &str); 11] = [
        (read_add, json!({"id": 0, "peer_addr": "a:1"}), "id: must be greater than 0"),
        (read_add, json!({"id": 4, "peer_addr": "a"}), "peer_addr: must be host:port"),
        (read_add, json!({"id": 4}), "missing field `peer_addr`"),
        (read_add, json!({"id": 4, "peer_addr": "a:1", "api_url": "http://a:1"}), "api_url: must be https"),
        (read_add, json!({"id": 4, "peer_addr": "a:1", "catch_up_s": 0}), "catch_up_s: must be from 1 to 200"),
        (read_add, json!({"id": 4, "peer_addr": "a:1", "name": "x"}), "unknown field `name`"),
        (read_promote, json!({"id": 4, "catch_up_s": 201}), "catch_up_s: must be from 1 to 200"),
        (read_remove, json!({}), "missing field `id`"),
        (read_replace, json!({"id": 2, "with": {"id": 4, "peer_addr": "a:0"}}), "with.peer_addr"),
        (read_replace, json!({"id": 2}), "missing field `with`"),
        (read_transfer, json!({"to": "3"}), "invalid type"),
    ];
    for (reader, body, named) in cases {
        let error = read(reader, &body).map(|wanted| wanted.change).unwrap_err();
        assert!(error.contains(named), "{body}: {error}");
    }
}
