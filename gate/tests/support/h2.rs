//! HTTP/2 frame by frame, as no honest library sends them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Open;
use super::pki::Pki;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// `GET https://localhost/`, in HPACK.
pub const GET: &[u8] = b"\x82\x87\x84\x01\x09localhost";
/// The same with POST.
pub const POST: &[u8] = b"\x83\x87\x84\x01\x09localhost";

/// A write that is held up for this long has met back pressure.
const BLOCKED: Duration = Duration::from_secs(2);

/// How an attack ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The door closed the connection.
    Closed,
    /// The door stopped reading.
    Blocked,
    /// Everything was taken.
    Taken,
}

pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// One hostile connection. Nothing is read from it but by [`Self::frames`].
pub struct Hostile {
    pub reader: ReadHalf<TlsStream<TcpStream>>,
    pub writer: WriteHalf<TlsStream<TcpStream>>,
}

impl Hostile {
    /// With a valid certificate: who has none does not come this far.
    pub async fn connect(pki: &Pki, door: &Open) -> Self {
        let mut config = (*pki.client_tls("hostile")).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tcp = TcpStream::connect(door.addr).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
        let (reader, writer) = tokio::io::split(stream);
        Self { reader, writer }
    }

    /// And has said hello, with these settings: (identifier, value).
    pub async fn greeted(pki: &Pki, door: &Open, settings: &[(u16, u32)]) -> Self {
        let mut hostile = Self::connect(pki, door).await;
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let payload = settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
        hello.extend(frame(SETTINGS, 0, 0, &payload.collect::<Vec<_>>()));
        hostile.writer.write_all(&hello).await.unwrap();
        hostile
    }

    /// Sends this so many times, each made for its number.
    pub async fn flood(&mut self, times: u32, mut make: impl FnMut(u32) -> Vec<u8>) -> End {
        for number in 0..times {
            match timeout(BLOCKED, self.writer.write_all(&make(number))).await {
                Err(_blocked) => return End::Blocked,
                Ok(Err(_closed)) => return End::Closed,
                Ok(Ok(())) => {}
            }
        }
        match timeout(BLOCKED, self.writer.flush()).await {
            Err(_blocked) => End::Blocked,
            Ok(Err(_closed)) => End::Closed,
            Ok(Ok(())) => End::Taken,
        }
    }

    /// Every frame until the connection ends.
    pub async fn frames(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        let reading = async {
            while let Ok(frame) = self.frame().await {
                frames.push(frame);
            }
        };
        timeout(super::PATIENCE, reading).await.expect("the door should have closed the connection");
        frames
    }

    pub async fn frame(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.reader.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.reader.read_exact(&mut payload).await?;
        Ok(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }
}

/// A frame, of whatever sense.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header that is not remembered, in HPACK.
pub fn header(name: &str, value: &str) -> Vec<u8> {
    [&[0], &text(name)[..], &text(value)].concat()
}

/// A header that goes into the dynamic table, in HPACK.
pub fn remembered(name: &str, value: &str) -> Vec<u8> {
    [&[0x40], &text(name)[..], &text(value)].concat()
}

fn text(text: &str) -> Vec<u8> {
    let mut coded = Vec::new();
    let mut length = text.len();
    if length < 127 {
        coded.push(u8::try_from(length).unwrap());
    } else {
        coded.push(127);
        length -= 127;
        while length >= 128 {
            coded.push(u8::try_from(length % 128).unwrap() | 128);
            length /= 128;
        }
        coded.push(u8::try_from(length).unwrap());
    }
    [&coded[..], text.as_bytes()].concat()
}

/// The error code of the last GOAWAY among frames.
pub fn goaway(frames: &[Frame]) -> Option<u32> {
    let last = frames.iter().rev().find(|frame| frame.kind == GOAWAY)?;
    Some(u32::from_be_bytes(last.payload[4..8].try_into().unwrap()))
}
