//! What every node of a test is told, so that the machine's state decides nothing.
//!
//! In: the sections that a test wants. Out: the same with what it leaves open. Deliberately absent: anything that a
//! judgement depends on; leases, elections and heartbeats are as by default.

/// How full a disk may be is the node's own affair elsewhere; here it would be the machine's: nodes warn from 80 % on
/// and take nothing from 95 % on. As high as a configuration may set them.
const DISK: &str = "disk: {warn-percent: 98, stop-percent: 99}\n";

/// A starved machine has elections that nobody caused. Requests wait them out instead of being answered 503 after 2 s;
/// less than the 10 s that the API gives a request.
const LEADER_WAIT: &str = "leader-wait: 8s";

/// Sections of a configuration, one per line, with those that a test leaves open.
#[must_use]
pub fn patient(sections: &str) -> String {
    let mut lines: Vec<String> = sections.lines().map(str::to_owned).collect();
    match lines.iter_mut().find(|line| line.starts_with("raft:")) {
        Some(line) if line.contains("leader-wait") => {}
        Some(line) => *line = line.replacen('{', &format!("{{{LEADER_WAIT}, "), 1),
        None => lines.push(format!("raft: {{{LEADER_WAIT}}}")),
    }
    let text = lines.join("\n") + "\n";
    if text.lines().any(|line| line.starts_with("disk:")) { text } else { text + DISK }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_test_leaves_open_is_filled_in_and_the_rest_stays() {
        assert_eq!(patient(""), format!("raft: {{{LEADER_WAIT}}}\n{DISK}"));
        let own = "keymanager: {enabled: true}\nraft: {snapshot-every: 40}\ndisk: {stop-percent: 90}\n";
        let expected = own.replace("raft: {", &format!("raft: {{{LEADER_WAIT}, "));
        assert_eq!(patient(own), expected);
        assert_eq!(patient(&expected), expected);
        assert_eq!(patient("a:\n  b: c"), format!("a:\n  b: c\nraft: {{{LEADER_WAIT}}}\n{DISK}"));
    }
}
