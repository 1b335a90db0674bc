//! Opens outgoing connections: TCP with no delay, then TLS; and closes those to servers that are trusted no longer.

use std::fmt::Display;
use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::newest::{ServerProof, noting_the_server};

/// Tries every address that `host_port` resolves to, in turn.
pub(crate) async fn tcp(host_port: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(host_port).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Shakes hands as a client; the server must prove that it is `server_name`, and go on proving it: see
/// [`while_trusted`].
pub(crate) async fn tls(
    stream: TcpStream,
    server_name: ServerName<'static>,
    config: Arc<ClientConfig>,
) -> io::Result<(TlsStream<TcpStream>, Option<ServerProof>)> {
    let (connected, proof) = noting_the_server(TlsConnector::from(config).connect(server_name, stream)).await;
    Ok((connected?, proof))
}

/// Drives a connection to its end, or drops it once its server would not be accepted any more. What is in flight on it
/// then gets no answer.
pub(crate) async fn while_trusted<E: Display>(
    to: &str,
    proof: Option<ServerProof>,
    connection: impl Future<Output = Result<(), E>>,
) {
    let lost = async {
        match proof {
            Some(proof) => proof.lost().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = connection => {
            if let Err(error) = ended {
                tracing::debug!(to, %error, "connection ended");
            }
        }
        why = lost => {
            metrics::counter!("consigner_outgoing_cut_total").increment(1);
            tracing::warn!(to, %why, "connection cut: the server's certificate is no longer accepted");
        }
    }
}

/// The configuration with another protocol offered, so that no caller can pair a client with the wrong one.
pub(crate) fn speaking(config: &ClientConfig, protocol: &[u8]) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

/// The rustls error inside an I/O error, however deep hyper wrapped it.
pub(crate) fn tls_error_in<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // `io::Error::source` skips its own payload and gives the payload's source instead.
        let payload = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match payload {
            Some(payload) => Some(payload as &(dyn std::error::Error + 'static)),
            None => error.source(),
        };
    }
    None
}
