//! The plain side on a Unix socket, mode 0600: only the user of the sidecar reaches it.
//!
//! In: a path, a service. Out: answers. Deliberately absent: the defences of a door against strangers; whoever opens
//! this file may also read the sidecar's memory.

use super::service::Sidecar;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::fs::Mode;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

/// Connections at one time; more wait in the kernel.
const CONNECTIONS_MAX: usize = 256;

/// A request head, and the wait for the next one: clients keep idle connections for up to 90 s (Go, reqwest).
const HEAD_TIMEOUT: Duration = Duration::from_secs(100);

/// Bytes of a request head.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// After a failed accept (no descriptors left) trying again at once would burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound socket file, removed when dropped.
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Binds the file. One that a dead process left behind is replaced; one that is served is not.
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        remove_stale(path)?;
        // From its first moment nobody else may connect.
        let before = rustix::process::umask(Mode::from_raw_mode(0o177));
        let bound = UnixListener::bind(path);
        rustix::process::umask(before);
        let listener = bound?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves until `stop`, then lets requests under way finish within `drain`.
    pub(super) async fn serve(self, service: Sidecar, stop: CancellationToken, drain: Duration) -> usize {
        let (tasks, places) = (TaskTracker::new(), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
        loop {
            let next = async {
                // Never closed.
                let place = places.clone().acquire_owned().await.ok();
                self.listener.accept().await.map(|(stream, _)| (stream, place))
            };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = next => accepted,
            };
            match accepted {
                Ok((stream, place)) => {
                    let (service, stop) = (service.clone(), stop.clone());
                    tasks.spawn(async move {
                        connection(stream, service, stop).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections; trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        tasks.close();
        let drained = tokio::time::timeout(drain, tasks.wait()).await;
        if drained.is_ok() { 0 } else { tasks.len() }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.path);
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let kind = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !kind.is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process serves this socket")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
    }
}

async fn connection(stream: UnixStream, service: Sidecar, stop: CancellationToken) {
    let answer = service_fn(move |request| service.clone().call(request));
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    let mut connection = pin!(protocol.serve_connection(TokioIo::new(stream), answer));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
