//! One row of the table: who asks for what, through which door, and what comes of it.

use std::net::Ipv4Addr;

/// No answer: the connection ends before one.
pub const CUT: u16 = 0;

/// A door of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// `api.listen`.
    Api,
    /// `keymanager.listen`.
    KeyManager,
    /// `admin.listen`.
    Admin,
    /// `token-door.listen`.
    Token,
    /// `metrics.listen`.
    Metrics,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// A vote with the key of this number.
    Vote(u64),
    /// A block.
    Block(u64),
    /// A sync committee message of today.
    Sync(u64),
    /// One of many years ahead.
    Ahead(u64),
    /// A voluntary exit.
    Exit(u64),
    /// A deposit.
    Deposit(u64),
    /// A registration that names the fee recipient of the policy.
    Registration(u64),
    /// A registration that names another one.
    ForeignRegistration(u64),
    /// `GET`.
    Get(&'static str),
    /// `POST` of an empty object.
    Post(&'static str),
    /// `DELETE` of no keystores.
    DeleteNothing,
}

/// `Authorization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// None.
    Nothing,
    /// A token of the cluster; before there is a policy there is none, and one of the right shape stands for it.
    Token(&'static str),
    /// The same as a password.
    Password(&'static str),
    /// A text of the test's.
    Text(&'static str),
}

/// The line of the audit that a call leaves on the node that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// `operation`.
    pub operation: &'static str,
    /// `outcome`.
    pub outcome: &'static str,
    /// Stands in `identity` or in `reason`.
    pub names: &'static str,
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// For people.
    pub name: &'static str,
    /// Through which door.
    pub door: Door,
    /// With whose certificate; empty: with none.
    pub who: &'static str,
    /// With what on top.
    pub shows: Shows,
    /// `Host`, if not the address.
    pub host: Option<&'static str>,
    /// From where, if not from the first address of loopback.
    pub from: Option<Ipv4Addr>,
    /// Through a balancer that names this client.
    pub on_behalf_of: Option<Ipv4Addr>,
    /// What for.
    pub ask: Ask,
    /// Status before there is a policy, and after; [`CUT`]: none.
    pub status: (u16, u16),
    /// Before and after.
    pub line: (Option<Line>, Option<Line>),
}

/// A row in which nothing is special yet.
pub const fn row(name: &'static str, door: Door, who: &'static str, ask: Ask) -> Row {
    let (shows, host, from, on_behalf_of) = (Shows::Nothing, None, None, None);
    Row { name, door, who, shows, host, from, on_behalf_of, ask, status: (200, 200), line: (None, None) }
}

/// The last octet chooses the address.
const fn loopback(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

impl Row {
    pub const fn shows(self, shows: Shows) -> Self {
        Self { shows, ..self }
    }

    pub const fn host(self, host: &'static str) -> Self {
        Self { host: Some(host), ..self }
    }

    pub const fn from(self, last: u8) -> Self {
        Self { from: Some(loopback(last)), ..self }
    }

    pub const fn on_behalf_of(self, last: u8) -> Self {
        Self { on_behalf_of: Some(loopback(last)), ..self }
    }

    /// Statuses before and after.
    pub const fn brings(self, before: u16, after: u16) -> Self {
        Self { status: (before, after), ..self }
    }

    /// What is recorded in both cases.
    pub const fn line(self, operation: &'static str, outcome: &'static str, names: &'static str) -> Self {
        let line = Some(Line { operation, outcome, names });
        Self { line: (line, line), ..self }
    }

    /// What is recorded before.
    pub const fn line_before(self, operation: &'static str, outcome: &'static str, names: &'static str) -> Self {
        Self { line: (Some(Line { operation, outcome, names }), self.line.1), ..self }
    }

    /// What is recorded after.
    pub const fn line_after(self, operation: &'static str, outcome: &'static str, names: &'static str) -> Self {
        Self { line: (self.line.0, Some(Line { operation, outcome, names })), ..self }
    }
}
