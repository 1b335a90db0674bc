#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::oracle::{Message, Phase, Reply};
use bytes::Bytes;
use consigner_keys::development::Yardstick;
use std::sync::Arc;

fn exchange(status: u16, body: String) -> Exchange {
    let validator = Yardstick::new().public_key();
    let message = Message { validator, content: Content::Block { slot: 5 }, root: Root([7; 32]), body: Bytes::new() };
    let reply = Reply::Answer { status, location: None, body: body.into() };
    Exchange {
        node: 2,
        phase: Phase::Storm,
        message: Arc::new(message),
        is_redirected: false,
        sent_at: Duration::ZERO,
        reply: Some((Duration::from_secs(1), reply)),
    }
}

#[test]
fn signatures_are_found_in_any_answer_and_verified() {
    let signature = Yardstick::new().sign_plain(&Root([7; 32]));
    let other = Yardstick::new().sign_plain(&Root([8; 32]));
    let answers = [
        exchange(200, format!("{{\"signature\":\"{signature}\"}}")),
        exchange(200, signature.to_string()),
        exchange(412, format!("{{\"error\":\"refused, unlike {signature}\"}}")),
        exchange(200, format!("{{\"signature\":\"{other}\"}}")),
        exchange(200, format!("{{\"signature\":\"{}\"}}", Signature([0x11; 96]))),
        exchange(412, "{\"error\":\"no\"}".to_owned()),
    ];
    let found = releases(&answers);
    let seen: Vec<(usize, bool, bool)> =
        found.iter().map(|release| (release.exchange, release.is_genuine, release.is_acknowledged)).collect();
    assert_eq!(seen, [(0, true, true), (1, true, true), (2, true, false), (3, false, true), (4, false, true)]);
    assert_eq!(found[0].signature, signature);
}
