//! A layer-4 balancer on loopback: carries connections to a node from an address of choice, with or without a header.
//!
//! In: connections. Out: the same bytes, from another address; and whether the node keeps its end open. Linux answers
//! on all of `127.0.0.0/8`, so that one machine has many addresses. Deliberately absent: TLS; it carries what it is
//! given.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What a version 2 header begins with (PROXY protocol, 2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2, command PROXY.
const PROXY: u8 = 0x21;

/// TCP over IPv4.
const TCP4: u8 = 0x11;

/// Two addresses, two ports.
const TCP4_BYTES: u16 = 12;

/// How connections are carried.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// Where to.
    pub to: SocketAddr,
    /// From where the node sees them.
    pub from: Ipv4Addr,
    /// The client that a PROXY header names, if one is sent.
    pub on_behalf_of: Option<Ipv4Addr>,
}

/// A running balancer; it ends with this value.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    open: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Begins to carry.
    ///
    /// # Errors
    /// No port.
    pub async fn start(route: Route) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, open) = (listener.local_addr()?, Arc::new(AtomicUsize::new(0)));
        let task = tokio::spawn(accept(listener, route, open.clone()));
        Ok(Self { address, open, task })
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that both ends keep open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, route: Route, open: Arc<AtomicUsize>) {
    let mut carried = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let open = open.clone();
        carried.spawn(async move {
            open.fetch_add(1, Ordering::AcqRel);
            // However it ends, both sides see the end of it.
            let _ended = carry(client, route).await;
            open.fetch_sub(1, Ordering::AcqRel);
        });
        while carried.try_join_next().is_some() {}
    }
}

async fn carry(mut client: TcpStream, route: Route) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(route.from), 0))?;
    let mut node = socket.connect(route.to).await?;
    if let Some(named) = route.on_behalf_of {
        node.write_all(&header(SocketAddrV4::new(named, 40_000), route.to)).await?;
    }
    copy_bidirectional(&mut client, &mut node).await.map(|_| ())
}

fn header(from: SocketAddrV4, to: SocketAddr) -> Vec<u8> {
    let to_address = if let IpAddr::V4(address) = to.ip() { address } else { Ipv4Addr::LOCALHOST };
    let mut header = SIGNATURE.to_vec();
    header.extend([PROXY, TCP4]);
    header.extend(TCP4_BYTES.to_be_bytes());
    header.extend(from.ip().octets());
    header.extend(to_address.octets());
    header.extend(from.port().to_be_bytes());
    header.extend(to.port().to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use tokio::io::AsyncReadExt as _;

    #[tokio::test]
    async fn the_far_end_sees_the_chosen_address_and_the_header() {
        let far = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let from = Ipv4Addr::new(127, 0, 0, 7);
        let named = Ipv4Addr::new(192, 0, 2, 9);
        let route = Route { to: far.local_addr().unwrap(), from, on_behalf_of: Some(named) };
        let relay = Relay::start(route).await.unwrap();
        let mut near = TcpStream::connect(relay.address()).await.unwrap();
        near.write_all(b"x").await.unwrap();
        let (mut seen, address) = far.accept().await.unwrap();
        assert_eq!(address.ip(), IpAddr::V4(from));
        let mut bytes = [0; 29];
        seen.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes[..12], SIGNATURE);
        assert_eq!(bytes[16..20], named.octets());
        assert_eq!(bytes[28], b'x');
        assert_eq!(relay.open(), 1);
        drop(seen);
        let mut end = Vec::new();
        near.read_to_end(&mut end).await.unwrap();
        drop(near);
        while relay.open() > 0 {
            tokio::task::yield_now().await;
        }
    }
}
