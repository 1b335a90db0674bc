//! Texts of hosts and of networks, without asking any resolver. What is accepted here, the doors understand.

use std::net::{IpAddr, Ipv6Addr};

/// A host as it is compared: a name in lower case, or an address without brackets.
pub(super) fn host(text: &str) -> Result<String, &'static str> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(inner) = inner {
        return inner.parse::<Ipv6Addr>().map(|address| address.to_string()).map_err(|_| "is no IPv6 address");
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let lower = text.to_ascii_lowercase();
    if matches!(lower.as_str(), "*" | "all" | "none") {
        return Err("stands for no host here; leave the list out to narrow nothing");
    }
    let plausible = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if (1..=253).contains(&lower.len()) && lower.bytes().all(plausible) {
        Ok(lower)
    } else {
        Err("is no host name or address (no port, no scheme)")
    }
}

/// An address or a network, in its canonical form.
pub(super) fn network(text: &str) -> Result<String, String> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| no_network())?;
    if address.to_canonical() != address {
        return Err("is an IPv4 address written as IPv6; write it as IPv4".to_owned());
    }
    let Some(prefix) = prefix else { return Ok(address.to_string()) };
    let digits = !prefix.is_empty() && prefix.len() <= 3 && prefix.bytes().all(|byte| byte.is_ascii_digit());
    let bits = prefix.parse::<u32>().ok().filter(|_| digits).ok_or_else(no_network)?;
    let network = truncated(address, bits).ok_or_else(no_network)?;
    if network == address {
        Ok(format!("{network}/{bits}"))
    } else {
        Err(format!("is an address inside of a network; write {network}/{bits} or the address alone"))
    }
}

fn no_network() -> String {
    "is neither an IP address nor a network like 10.0.0.0/8".to_owned()
}

/// The first address of the network around `address`; `None` if it has no such prefix length.
fn truncated(address: IpAddr, bits: u32) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            let host = 32_u32.checked_sub(bits)?;
            let mask = u32::MAX.checked_shl(host).unwrap_or(0);
            Some(IpAddr::V4((u32::from(address) & mask).into()))
        }
        IpAddr::V6(address) => {
            let host = 128_u32.checked_sub(bits)?;
            let mask = u128::MAX.checked_shl(host).unwrap_or(0);
            Some(IpAddr::V6((u128::from(address) & mask).into()))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn networks_are_networks_and_nothing_else() {
        for (text, canonical) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.1", "10.0.0.1"),
            ("10.0.0.1/32", "10.0.0.1/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("FD00:0:0::/8", "fd00::/8"),
            ("::1", "::1"),
            ("2001:db8::1/128", "2001:db8::1/128"),
        ] {
            assert_eq!(network(text).as_deref(), Ok(canonical));
        }
        for text in [
            "",
            "/",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/+8",
            "10.0.0.0/ 8",
            "10.0.0/8",
            "localhost",
            "10.0.0.1/8",
            "::1/64",
            "::ffff:10.0.0.1",
            "::ffff:10.0.0.0/104",
            "[::1]",
            "010.0.0.1",
            "10.0.0.0/8/8",
            "*",
            "10.0.0.0/0008",
            "fe80::1%eth0",
        ] {
            assert!(network(text).is_err(), "{text}");
        }
        assert!(network("10.0.0.1/8").unwrap_err().contains("10.0.0.0/8"));
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        for (text, canonical) in [
            ("Signer.Example", "signer.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "::1"),
            ("0:0::1", "::1"),
            ("node_1", "node_1"),
        ] {
            assert_eq!(host(text), Ok(canonical.to_owned()));
        }
        for text in ["", "*", "all", "NONE", "host:9000", "https://host", "[127.0.0.1]", "[::1", "*.example", "hôst"] {
            assert!(host(text).is_err(), "{text}");
        }
        assert!(host(&"a".repeat(254)).is_err());
    }
}
