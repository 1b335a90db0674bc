//! The report for people: grouped, one line per finding, the cure below it.

use super::finding::{Finding, Report, Status};
use super::points::Group;

/// Columns of a line; longer texts are broken at spaces.
const WIDTH: usize = 116;

/// Where reasons begin.
const INDENT: usize = 6;

/// The whole report.
#[must_use]
pub fn text(report: &Report, colour: bool) -> String {
    let mut lines = Vec::new();
    let mut group: Option<Group> = None;
    for (finding, scopes) in merged(&report.findings) {
        if group != Some(finding.group) {
            lines.extend([String::new(), finding.group.title().to_owned()]);
            group = Some(finding.group);
        }
        lines.extend(lines_of(finding, &scopes, colour));
    }
    let summary = report.summary;
    lines.push(String::new());
    lines.push(format!(
        "{}: {} passed, {} warnings, {} failed, {} not looked at",
        report.subject, summary.pass, summary.warn, summary.fail, summary.skip
    ));
    lines.join("\n").trim_start().to_owned()
}

/// Findings that say the same of several nodes are one line.
fn merged(findings: &[Finding]) -> Vec<(&Finding, Vec<&str>)> {
    let mut merged: Vec<(&Finding, Vec<&str>)> = Vec::new();
    for finding in findings {
        let same = merged.iter_mut().find(|(other, _)| {
            (other.id, other.status, &other.reason, &other.fix)
                == (finding.id, finding.status, &finding.reason, &finding.fix)
        });
        match same {
            Some((_, scopes)) => scopes.push(&finding.scope),
            None => merged.push((finding, vec![&finding.scope])),
        }
    }
    merged
}

fn lines_of(finding: &Finding, scopes: &[&str], colour: bool) -> Vec<String> {
    let word = finding.status.word();
    let word = if colour { format!("{}{word}{RESET}", code(finding.status)) } else { word.to_owned() };
    let mut lines = vec![format!("{word}  {} ({}) [{}]", finding.title, finding.id, scopes.join(", "))];
    lines.extend(wrapped(&finding.reason));
    lines.extend(finding.fix.iter().flat_map(|fix| wrapped(&format!("fix: {fix}"))));
    lines
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(format!("{:INDENT$}{word}", "")),
        }
    }
    lines
}

const RESET: &str = "\u{1b}[0m";

const fn code(status: Status) -> &'static str {
    match status {
        Status::Pass => "\u{1b}[32m",
        Status::Warn => "\u{1b}[33m",
        Status::Fail => "\u{1b}[1;31m",
        Status::Skip => "\u{1b}[2m",
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::super::points;
    use super::*;

    fn report() -> Report {
        let findings = vec![
            Verdict::warn("swap on /dev/sda2", "swapoff").on(&points::SWAP, "machine"),
            Verdict::pass("off").on(&points::KEY_MANAGER, "node1"),
            Verdict::pass("off").on(&points::KEY_MANAGER, "node2"),
        ];
        Report::new("c.yaml".into(), findings)
    }

    #[test]
    fn what_is_the_same_on_all_nodes_is_said_once() {
        let expected = "Who may ask
PASS  Key manager off or protected (access.keymanager) [node1, node2]
      off

Machine and process
WARN  Swap off or encrypted (host.swap) [machine]
      swap on /dev/sda2
      fix: swapoff

c.yaml: 2 passed, 1 warnings, 0 failed, 0 not looked at";
        assert_eq!(text(&report(), false), expected);
    }

    #[test]
    fn colours_are_only_where_they_are_wanted() {
        assert!(!text(&report(), false).contains('\u{1b}'));
        assert!(text(&report(), true).contains("\u{1b}[33mWARN\u{1b}[0m"));
    }

    #[test]
    fn long_reasons_are_broken_at_spaces() {
        let long = "word ".repeat(60);
        let lines = wrapped(&long);
        assert!(lines.len() > 1 && lines.iter().all(|line| line.chars().count() <= WIDTH));
        assert_eq!(lines.iter().map(|line| line.split_whitespace().count()).sum::<usize>(), 60);
    }
}
