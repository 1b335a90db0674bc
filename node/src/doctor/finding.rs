//! What a check says, and what becomes of all of them together.
//!
//! In: verdicts of checks. Out: a [`Report`] with a stable JSON form and an exit code. Deliberately absent: colours and
//! columns ([`super::render`]).

use super::points::{Group, Point};
use serde::Serialize;

/// How a point stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// As the guidelines ask.
    Pass,
    /// It could not be looked at; the reason says why. Never a silent pass.
    Skip,
    /// Allowed, but weaker than it could be, or not to be seen from here.
    Warn,
    /// Against the guidelines.
    Fail,
}

impl Status {
    /// Every status, the worst last.
    pub const ALL: [Self; 4] = [Self::Pass, Self::Skip, Self::Warn, Self::Fail];

    /// As it is printed.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Skip => "SKIP",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

/// What one check says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How it stands.
    pub status: Status,
    /// What was seen.
    pub reason: String,
    /// What to do about it; there for WARN and FAIL.
    pub fix: Option<String>,
}

impl Verdict {
    /// As the guidelines ask.
    pub fn pass(reason: impl Into<String>) -> Self {
        Self { status: Status::Pass, reason: reason.into(), fix: None }
    }

    /// Not looked at, and why.
    pub fn skip(reason: impl Into<String>) -> Self {
        Self { status: Status::Skip, reason: reason.into(), fix: None }
    }

    /// Weaker than it could be, and the cure.
    pub fn warn(reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { status: Status::Warn, reason: reason.into(), fix: Some(fix.into()) }
    }

    /// Against the guidelines, and the cure.
    pub fn fail(reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { status: Status::Fail, reason: reason.into(), fix: Some(fix.into()) }
    }

    /// Several looks at one point: the worst ones with all that they say, or `good` when there is nothing to say.
    pub fn worst(verdicts: impl IntoIterator<Item = Self>, good: impl Into<String>) -> Self {
        let verdicts: Vec<Self> = verdicts.into_iter().collect();
        let status = verdicts.iter().map(|verdict| verdict.status).max().unwrap_or(Status::Pass);
        if status == Status::Pass {
            return Self::pass(good);
        }
        let (mut reasons, mut fixes): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        for verdict in verdicts.into_iter().filter(|verdict| verdict.status == status) {
            if !reasons.contains(&verdict.reason) {
                reasons.push(verdict.reason);
            }
            fixes.extend(verdict.fix.filter(|fix| !fixes.contains(fix)));
        }
        let fix = (!fixes.is_empty()).then(|| fixes.join("; "));
        Self { status, reason: reasons.join("; "), fix }
    }

    /// The verdict as a finding about a point.
    #[must_use]
    pub fn on(self, point: &Point, scope: impl Into<String>) -> Finding {
        let Self { status, reason, fix } = self;
        let Point { id, group, title } = *point;
        Finding { id, group, title, scope: scope.into(), status, reason, fix }
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable name of the point.
    pub id: &'static str,
    /// Which part of the guidelines.
    pub group: Group,
    /// The point, for people.
    pub title: &'static str,
    /// What it is about: a node's name, `cluster`, `machine`.
    pub scope: String,
    /// How it stands.
    pub status: Status,
    /// What was seen.
    pub reason: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// All findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was examined: a file, a directory, endpoints.
    pub subject: String,
    /// Version of the program that looked.
    pub version: &'static str,
    /// How many there are of each status.
    pub summary: Summary,
    /// In the order of the points.
    pub findings: Vec<Finding>,
}

/// Findings by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// As the guidelines ask.
    pub pass: usize,
    /// Weaker than it could be.
    pub warn: usize,
    /// Against the guidelines.
    pub fail: usize,
    /// Not looked at.
    pub skip: usize,
}

impl Report {
    /// Sorts the findings by their point; those of one point keep their order.
    #[must_use]
    pub fn new(subject: String, mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| super::points::position(finding.id));
        let count = |status| findings.iter().filter(|finding| finding.status == status).count();
        let summary = Summary {
            pass: count(Status::Pass),
            warn: count(Status::Warn),
            fail: count(Status::Fail),
            skip: count(Status::Skip),
        };
        Self { subject, version: env!("CARGO_PKG_VERSION"), summary, findings }
    }

    /// Whether the command may end well: no FAIL, and with `strict` no WARN either.
    #[must_use]
    pub const fn is_good(&self, strict: bool) -> bool {
        self.summary.fail == 0 && !(strict && self.summary.warn > 0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::points;
    use super::*;

    #[test]
    fn the_worst_of_several_looks_counts_with_all_that_it_says() {
        let looks = [
            Verdict::pass("fine"),
            Verdict::fail("a is open", "close it"),
            Verdict::warn("meh", "better"),
            Verdict::fail("b is open", "close it"),
        ];
        assert_eq!(Verdict::worst(looks, "good"), Verdict::fail("a is open; b is open", "close it"));
        assert_eq!(Verdict::worst([Verdict::pass("fine")], "good"), Verdict::pass("good"));
        assert_eq!(Verdict::worst([], "good"), Verdict::pass("good"));
    }

    #[test]
    fn only_fail_makes_it_bad_and_strict_takes_warn_for_it() {
        let report = |verdict: Verdict| Report::new("x".into(), vec![verdict.on(&points::SWAP, "machine")]);
        for (verdict, plain, strict) in [
            (Verdict::pass(""), true, true),
            (Verdict::skip(""), true, true),
            (Verdict::warn("", ""), true, false),
            (Verdict::fail("", ""), false, false),
        ] {
            let report = report(verdict);
            assert_eq!((report.is_good(false), report.is_good(true)), (plain, strict), "{report:?}");
        }
    }

    #[test]
    fn the_json_form_is_stable() {
        let findings = vec![
            Verdict::fail("r", "f").on(&points::SWAP, "machine"),
            Verdict::pass("fine").on(&points::SEALER, "node1"),
        ];
        let json = serde_json::to_value(Report::new("consigner.yaml".into(), findings)).unwrap();
        let expected = serde_json::json!({
            "subject": "consigner.yaml",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": {"pass": 1, "warn": 0, "fail": 1, "skip": 0},
            "findings": [
                {"id": "keys.sealer", "group": "keys", "title": points::SEALER.title, "scope": "node1",
                 "status": "PASS", "reason": "fine"},
                {"id": "host.swap", "group": "host", "title": points::SWAP.title, "scope": "machine",
                 "status": "FAIL", "reason": "r", "fix": "f"},
            ],
        });
        assert_eq!(json, expected);
    }
}
