//! A node in its own process: runs until a signal, the end of standard input, or a fatal error. SIGHUP reads its TLS
//! files and tokens again.

use super::{Node, OnFatal, ServeError};
use crate::config::Config;
use std::io::Read as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// A stop takes at most this long (DESIGN 10: "exit 0 within 10 s"); what hangs longer is cut.
const STOP_DEADLINE: Duration = Duration::from_millis(9_500);

/// Runs a node until it is asked to stop, then stops it in order.
///
/// # Errors
/// See [`ServeError`]. A fatal error later (disk, divergence) ends the process at once with exit code 1: nothing may be
/// acknowledged after it, and a tidy shutdown would write to the same disk.
pub async fn until_stopped(config: Config, stop_with_stdin: bool) -> Result<(), ServeError> {
    let hardening = consigner_keys::harden_process();
    if hardening.complete() {
        tracing::info!("{hardening}");
    } else {
        tracing::warn!("{hardening}");
    }
    // Caught before anything else starts: a signal during the start stops it in order as well.
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(ServeError::Signals)?;
    super::telemetry::recorder();
    let node = Node::start(config, exit_on_fatal()).await?;
    let mut parent_gone = pin!(stdin_end(stop_with_stdin));
    let why = loop {
        tokio::select! {
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            () = &mut parent_gone => break "the supervisor is gone",
            _ = hangup.recv() => node.reload_files().await,
        }
    };
    tracing::info!(why, "stopping");
    if tokio::time::timeout(STOP_DEADLINE, node.stop()).await.is_err() {
        tracing::warn!("the stop took too long and is cut; the log on disk is complete");
    }
    Ok(())
}

fn exit_on_fatal() -> OnFatal {
    Arc::new(|reason: &str| {
        // Whatever happens to the line, the process ends: dropped even if logging panics.
        let _exit = Exit;
        tracing::error!(reason, "the node must not go on");
    })
}

/// Ends the process with exit code 1 when it is dropped.
struct Exit;

impl Drop for Exit {
    fn drop(&mut self) {
        std::process::exit(1);
    }
}

/// Ends when standard input does; never, if it is not to be watched.
async fn stdin_end(watch: bool) {
    if !watch {
        return std::future::pending().await;
    }
    let (ended, end) = oneshot::channel();
    // A thread of its own: tokio's stdin would hold up the end of the runtime.
    let spawned = std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut buffer = [0; 64];
        while std::io::stdin().read(&mut buffer).is_ok_and(|read| read > 0) {}
        let _nobody_waits = ended.send(());
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "standard input cannot be watched");
        return std::future::pending().await;
    }
    let _ended = end.await;
}
