//! Makes one HTTP/2 connection and proves that the other side accepted us.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::ChannelError;
use crate::dial;
use crate::peer::PeerCertificate;
use crate::tls::newest::ServerProof;

/// The kernel repeats a lost SYN after 1 s. A fresh attempt before that finds a healed network sooner, and 500 ms is
/// two round trips between continents.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// TLS and HTTP/2 greeting together: three round trips even between continents, on a busy machine.
const GREETING_TIMEOUT: Duration = Duration::from_secs(2);

/// A dead TCP connection is noticed within interval + timeout, in use or not.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// See [`PING_INTERVAL`]; long enough for a machine that is busy, not dead.
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// Answers of 1 MiB (log entries, parts of snapshots) must not wait for window updates.
const STREAM_WINDOW: u32 = 2 << 20;
/// Several of them at one time.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Bytes of one request body that may wait in the connection's buffer.
const SEND_BUFFER: usize = 2 << 20;
/// Fewer, larger frames for large bodies; small requests still pass between two of them.
const FRAME_SIZE: u32 = 64 << 10;
/// Calls dropped at one time whose late answers are still recognised and thrown away.
const RESET_STREAMS: usize = 1024;

pub(super) type Sender = http2::SendRequest<Full<Bytes>>;

/// A connection, and the verified certificate that the server showed on it.
pub(super) struct Connected {
    pub(super) sender: Sender,
    /// `None` if its names are malformed or ambiguous: then the server is nobody by name.
    pub(super) server: Option<Arc<PeerCertificate>>,
}

/// Where to connect to, and as whom.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) addr: Arc<str>,
    pub(super) server_name: ServerName<'static>,
    pub(super) tls: Arc<ClientConfig>,
}

/// Connects; returns only after the server's first HTTP/2 frame arrived. In TLS 1.3 a client's handshake is over
/// before the server has looked at the client's certificate: without waiting, a refusal would look like a connection
/// that broke under a request, and the caller could not know that the request was not processed.
pub(super) async fn connect(target: &Target) -> Result<Connected, ChannelError> {
    let Target { addr, server_name, tls } = target.clone();
    let stream = timeout(CONNECT_TIMEOUT, dial::tcp(&addr)).await.unwrap_or_else(|_| Err(timed_out("TCP connect")));
    let stream = stream.map_err(|error| connect_error(target, error))?;
    let greeting = async {
        let (stream, proof) = dial::tls(stream, server_name, tls).await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(io::Error::other("the server does not speak HTTP/2"));
        }
        let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let server = leaf.and_then(|leaf| PeerCertificate::parse(leaf).ok()).map(Arc::new);
        Ok(Connected { sender: greet(stream, &addr, proof).await?, server })
    };
    timeout(GREETING_TIMEOUT, greeting)
        .await
        .unwrap_or_else(|_| Err(timed_out("TLS and HTTP/2 greeting")))
        .map_err(|error| connect_error(target, error))
}

async fn greet<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    io: I,
    to: &Arc<str>,
    proof: Option<ServerProof>,
) -> io::Result<Sender> {
    let (first, greeted) = oneshot::channel();
    let io = TokioIo::new(FirstRead { io, first: Some(first) });
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_frame_size(FRAME_SIZE)
        .max_concurrent_reset_streams(RESET_STREAMS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .handshake(io)
        .await
        .map_err(io::Error::other)?;
    // Ends when the connection does, or when the last `Sender` is gone.
    let to = to.clone();
    tokio::spawn(async move { dial::while_trusted(&to, proof, connection).await });
    greeted.await.unwrap_or_else(|_| Err(io::ErrorKind::UnexpectedEof.into()))?;
    Ok(sender)
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} took too long"))
}

fn connect_error(target: &Target, error: io::Error) -> ChannelError {
    let addr = target.addr.clone();
    let is_tls = dial::tls_error_in(&error).is_some();
    let is_refused = error.kind() == io::ErrorKind::ConnectionRefused;
    let source = Arc::new(error);
    if is_tls {
        ChannelError::Tls { addr, source }
    } else if is_refused {
        ChannelError::ConnectRefused { addr, source }
    } else {
        ChannelError::Connect { addr, source }
    }
}

/// Tells how the first read went: bytes, or the error with all its detail (which hyper would flatten into text).
struct FirstRead<I> {
    io: I,
    first: Option<oneshot::Sender<io::Result<()>>>,
}

impl<I: AsyncRead + Unpin> AsyncRead for FirstRead<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = std::task::ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        let Some(first) = self.first.take() else { return Poll::Ready(result) };
        let (told, passed_on) = match result {
            Err(error) => {
                let kind = error.kind();
                (Err(error), Err(kind.into()))
            }
            Ok(()) if buf.filled().len() == before => (Err(io::ErrorKind::UnexpectedEof.into()), Ok(())),
            Ok(()) => (Ok(()), Ok(())),
        };
        // Nobody listens if the connect was given up.
        let _given_up = first.send(told);
        Poll::Ready(passed_on)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for FirstRead<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
