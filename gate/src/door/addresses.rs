//! Which addresses may knock at all: networks in CIDR form, asked before the first byte is read.
//!
//! In: entries of a configuration and of the cluster's policy. Out: yes or no for one address. Both must allow it, so
//! that a node's own configuration can only narrow the policy. Deliberately absent: names, which somebody else resolves.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tokio::sync::watch;

/// Networks from which connections are accepted. `Default` is any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IpAllowlist(Option<Vec<IpNet>>);

/// The layer-4 balancers that stand before a door and tell in a PROXY header (version 2) for whom they connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balancers(Vec<IpNet>);

/// Why a list of addresses makes no sense.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum IpAllowlistError {
    /// `*` and `any` stand alone.
    #[error("\"{0}\" in an address list must be its only entry")]
    NotAlone(String),
    /// Neither an address nor a network.
    #[error("\"{0}\" is neither an IP address nor a network like 10.0.0.0/8")]
    NotANetwork(String),
    /// An address with a prefix length: one machine or its whole network?
    #[error("\"{entry}\" is an address inside of a network: write {network} or the address alone")]
    HostBits {
        /// As given.
        entry: String,
        /// The network around it.
        network: String,
    },
    /// An IPv4 address in IPv6 clothes would never match.
    #[error("\"{0}\" is an IPv4 address written as IPv6: write it as IPv4")]
    Mapped(String),
    /// Whoever may speak for others must be named.
    #[error("balancers must be listed one by one: any address could else claim to be any other")]
    AnyBalancer,
    /// A PROXY header would then be required of nobody.
    #[error("the list of balancers is empty")]
    NoBalancer,
}

impl IpAllowlist {
    /// Reads the entries of a configuration: addresses, networks, or `*` (`any`) alone. An empty list allows nothing.
    ///
    /// # Errors
    /// See [`IpAllowlistError`].
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Self, IpAllowlistError> {
        let mut networks = Vec::with_capacity(entries.len());
        for entry in entries.iter().map(|entry| entry.as_ref().trim()) {
            match entry {
                "*" | "any" if entries.len() > 1 => return Err(IpAllowlistError::NotAlone(entry.to_owned())),
                "*" | "any" => return Ok(Self::default()),
                _ => networks.push(network(entry)?),
            }
        }
        Ok(Self(Some(networks)))
    }

    /// Whether a connection from there is accepted. An IPv4 client of an IPv6 socket counts as IPv4.
    pub fn allows(&self, addr: IpAddr) -> bool {
        self.0.as_ref().is_none_or(|networks| contains(networks, addr))
    }
}

impl Balancers {
    /// Reads the entries of a configuration: addresses and networks.
    ///
    /// # Errors
    /// See [`IpAllowlistError`].
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Self, IpAllowlistError> {
        let networks = IpAllowlist::parse(entries)?.0.ok_or(IpAllowlistError::AnyBalancer)?;
        if networks.is_empty() {
            return Err(IpAllowlistError::NoBalancer);
        }
        if networks.iter().any(|network| network.prefix_len() == 0) {
            return Err(IpAllowlistError::AnyBalancer);
        }
        Ok(Self(networks))
    }

    /// Whether a balancer has this address.
    pub fn contains(&self, addr: IpAddr) -> bool {
        contains(&self.0, addr)
    }
}

/// The addresses that a door accepts: the node's own list and the cluster's policy, both of which must agree.
#[derive(Debug)]
pub struct AddressRules {
    own: IpAllowlist,
    policy: watch::Sender<IpAllowlist>,
}

impl AddressRules {
    /// The node's own list; the policy allows any until it is set.
    pub fn new(own: IpAllowlist) -> Arc<Self> {
        Arc::new(Self { own, policy: watch::Sender::new(IpAllowlist::default()) })
    }

    /// Replaces the policy's list. Open connections from addresses that are no longer allowed are cut.
    pub fn set_policy(&self, policy: IpAllowlist) {
        self.policy.send_replace(policy);
    }

    /// Whether both lists allow it.
    pub fn allows(&self, addr: IpAddr) -> bool {
        self.own.allows(addr) && self.policy.borrow().allows(addr)
    }

    /// Tells of every change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<IpAllowlist> {
        self.policy.subscribe()
    }
}

fn contains(networks: &[IpNet], addr: IpAddr) -> bool {
    let addr = addr.to_canonical();
    networks.iter().any(|network| network.contains(&addr))
}

fn network(entry: &str) -> Result<IpNet, IpAllowlistError> {
    let bad = || IpAllowlistError::NotANetwork(entry.to_owned());
    let network = if entry.contains('/') {
        entry.parse::<IpNet>().map_err(|_| bad())?
    } else {
        IpNet::from(entry.parse::<IpAddr>().map_err(|_| bad())?)
    };
    if network.trunc() != network {
        return Err(IpAllowlistError::HostBits { entry: entry.to_owned(), network: network.trunc().to_string() });
    }
    if network.addr().to_canonical() != network.addr() {
        return Err(IpAllowlistError::Mapped(entry.to_owned()));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn allows(entries: &[&str], addr: &str) -> bool {
        IpAllowlist::parse(entries).unwrap().allows(addr.parse().unwrap())
    }

    #[test]
    fn networks_and_addresses_of_both_families() {
        let list = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1"];
        for inside in ["10.255.0.1", "192.0.2.7", "2001:db8:1::2", "::1", "::ffff:10.1.2.3"] {
            assert!(allows(&list, inside), "{inside}");
        }
        for outside in ["11.0.0.1", "192.0.2.8", "2001:db9::1", "::2", "::ffff:11.0.0.1", "127.0.0.1"] {
            assert!(!allows(&list, outside), "{outside}");
        }
        assert!(!allows(&[], "127.0.0.1"), "an empty list allows nothing");
        assert!(allows(&["*"], "127.0.0.1") && allows(&["any"], "::1") && allows(&["0.0.0.0/0"], "8.8.8.8"));
        assert!(!allows(&["0.0.0.0/0"], "::1"), "all of IPv4 is not all");
    }

    #[test]
    fn entries_that_mean_something_else_than_they_say_are_refused() {
        let error = |entry: &str| IpAllowlist::parse(&["127.0.0.1", entry]).unwrap_err();
        assert_eq!(error("*"), IpAllowlistError::NotAlone("*".to_owned()));
        for entry in ["", "localhost", "10.0.0.0/33", "10.0.0", "10.0.0.1:80", "[::1]", "/8", "010.0.0.1"] {
            assert_eq!(error(entry), IpAllowlistError::NotANetwork(entry.to_owned()));
        }
        let (entry, network) = ("10.0.0.1/8".to_owned(), "10.0.0.0/8".to_owned());
        assert_eq!(error("10.0.0.1/8"), IpAllowlistError::HostBits { entry, network });
        assert_eq!(error("::ffff:10.0.0.1"), IpAllowlistError::Mapped("::ffff:10.0.0.1".to_owned()));
    }

    #[test]
    fn balancers_are_named() {
        assert!(Balancers::parse(&["10.0.0.5"]).unwrap().contains("10.0.0.5".parse().unwrap()));
        for entries in [&["*"], &["0.0.0.0/0"], &["::/0"]] {
            assert_eq!(Balancers::parse(entries), Err(IpAllowlistError::AnyBalancer));
        }
        assert_eq!(Balancers::parse::<&str>(&[]), Err(IpAllowlistError::NoBalancer));
    }

    #[test]
    fn own_list_and_policy_must_agree() {
        let rules = AddressRules::new(IpAllowlist::parse(&["10.0.0.0/8"]).unwrap());
        let (inside, outside) = ("10.1.0.1".parse().unwrap(), "127.0.0.1".parse().unwrap());
        assert_eq!((rules.allows(inside), rules.allows(outside)), (true, false));
        rules.set_policy(IpAllowlist::parse(&["127.0.0.1", "10.2.0.0/16"]).unwrap());
        assert_eq!((rules.allows(inside), rules.allows(outside)), (false, false));
    }
}
