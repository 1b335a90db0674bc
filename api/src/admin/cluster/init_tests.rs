#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn member(id: u64) -> serde_json::Value {
    json!({
        "id": id, "name": format!("node{id}"), "peer_addr": format!("127.0.0.1:{}", 9001 + id),
        "api_url": format!("https://127.0.0.1:{}", 9100 + id),
    })
}

fn members(ids: &[u64]) -> serde_json::Value {
    json!({"members": ids.iter().map(|id| member(*id)).collect::<Vec<_>>()})
}

fn judged(body: &serde_json::Value) -> Result<BTreeMap<u64, Member>, String> {
    understand(body.to_string().as_bytes(), 1)
}

#[test]
fn a_member_list_is_understood() {
    let mut body = members(&[1, 2, 3]);
    body["members"][1]["api_url"] = json!("https://node2.example:9000/");
    body["members"][2].as_object_mut().unwrap().remove("api_url");
    let understood = judged(&body).unwrap();
    assert_eq!(understood.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(understood[&1].peer_addr, "127.0.0.1:9002");
    assert_eq!(understood[&2].api_url, "https://node2.example:9000");
    assert_eq!(understood[&3].api_url, "");
}

#[test]
fn what_is_wrong_is_named() {
    let with = |field: &str, value: serde_json::Value| {
        let mut body = members(&[1, 2, 3]);
        body["members"][1][field] = value;
        body
    };
    let cases = [
        (members(&[]), "not 0"),
        (members(&[1, 2]), "not 2"),
        (members(&[2, 3, 4]), "this node, 1,"),
        (with("id", json!(1)), "members[1].id"),
        (with("id", json!(0)), "members[1].id"),
        (with("name", json!("")), "members[1].name"),
        (with("name", json!("node1")), "members[1].name"),
        (with("peer_addr", json!("127.0.0.1")), "members[1].peer_addr"),
        (with("peer_addr", json!("127.0.0.1:0")), "members[1].peer_addr"),
        (with("peer_addr", json!(":9001")), "members[1].peer_addr"),
        (with("peer_addr", json!("127.0.0.1:9002")), "members[1].peer_addr"),
        (with("api_url", json!("http://127.0.0.1:9000")), "members[1].api_url"),
        (with("api_url", json!("https://127.0.0.1:9000/base")), "members[1].api_url"),
        (with("api_url", json!("https://user@127.0.0.1:9000")), "members[1].api_url"),
        (with("adress", json!("x")), "unknown field `adress`"),
        (json!({"nodes": []}), "unknown field `nodes`"),
        (json!([]), "invalid"),
    ];
    for (body, named) in cases {
        let error = judged(&body).unwrap_err();
        assert!(error.contains(named), "{body}: {error}");
    }
}
