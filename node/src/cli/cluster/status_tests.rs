#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use consigner_raft::{CertificateEnd, DiskUse, Member, Role, SealerHealth};

fn status(id: u64, applied: u64, description: Description) -> MemberStatus {
    let status = NodeStatus {
        id,
        member: Member { name: format!("node{id}"), ..Member::default() },
        role: if id == 1 { Role::Leader } else { Role::Learner },
        term: 7,
        leader: Some(1),
        last_log_index: Some(applied),
        commit_index: Some(applied),
        applied_index: Some(applied),
        snapshot_index: None,
        digest: "0xabcdef0123456789".to_owned(),
        keys: 4,
        ready: true,
        not_ready: None,
        version: "0.1.0".to_owned(),
        voters: vec![1],
        rules: 2,
        rules_max: 3,
        boot_counter: 5,
        learners: vec![2],
        outbox_rows: 12,
        agrees_to_nothing: None,
        description,
    };
    MemberStatus { id, status: Some(status), error: None }
}

#[test]
fn every_member_has_a_line_in_both_tables() {
    let well = Description {
        sealers: vec![SealerHealth { kind: "local".to_owned(), error: None }],
        certificate: Some(CertificateEnd { what: "api".to_owned(), not_after: 10 * 86_400 }),
        disk: Some(DiskUse { free_bytes: 30, total_bytes: 100 }),
        ..Description::default()
    };
    let ill = Description {
        not_ready: Some("2 keys wait".to_owned()),
        sealers: vec![SealerHealth { kind: "aws-kms".to_owned(), error: Some("denied".to_owned()) }],
        ..Description::default()
    };
    let silent = MemberStatus { id: 3, status: None, error: Some("refused".to_owned()) };
    let all = ClusterStatus { node: 1, nodes: vec![status(1, 100, well), status(2, 90, ill), silent] };
    let text = rendered(&all, 0);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4 + 1 + 4 + 1, "{text}");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(lines[1])[..8], ["1", "node1", "leader", "7", "100", "100", "100", "0"]);
    assert_eq!(words(lines[2])[2..8], ["learner", "7", "90", "90", "90", "10"]);
    assert!(lines[1].ends_with("yes") && lines[2].ends_with("2 keys wait"), "{text}");
    assert_eq!(words(lines[6]), ["1", "0.1.0", "2", "of", "3", "5", "ok", "12", "10", "d", "(api)", "70", "%"]);
    assert!(lines[7].contains("aws-kms: denied"), "{text}");
    assert_eq!(lines[9], "node 3: refused");
}

#[test]
fn a_frame_clears_the_screen_of_a_terminal_only() {
    let status = Ok(ClusterStatus { node: 1, nodes: vec![status(1, 1, Description::default())] });
    assert!(frame(&status, false, true).starts_with(CLEAR));
    assert!(!frame(&status, false, false).contains('\u{1b}'));
    let json = frame(&status, true, true);
    assert!(!json.contains('\n') && !json.contains('\u{1b}'));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["nodes"][0]["status"]["boot_counter"], 5);
}
