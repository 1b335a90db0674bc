//! Where log lines go: stderr, as text or JSON.

use crate::config::{LogConfig, LogFormat};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// openraft and sled tell their inner life at INFO; at WARN they tell what an operator needs.
const QUIET: [&str; 3] = ["openraft=warn", "sled=warn", "hyper_util=warn"];

/// Libraries that log requests and answers at DEBUG and TRACE, tokens and secrets among them; each name stands for all
/// modules that begin so. Those at OFF log failed calls that this program reports itself, with less in them.
const CAPPED: [(&str, LevelFilter); 9] = [
    ("aws_", LevelFilter::INFO),
    ("rustify", LevelFilter::OFF),
    ("vaultrs", LevelFilter::OFF),
    ("reqwest", LevelFilter::INFO),
    ("h2", LevelFilter::INFO),
    ("hyper", LevelFilter::INFO),
    ("rustls", LevelFilter::INFO),
    ("tokio_rustls", LevelFilter::INFO),
    ("tower", LevelFilter::INFO),
];

/// Starts logging for the whole process; a second call changes nothing.
pub fn start(config: &LogConfig) {
    let filter = EnvFilter::new(directives(&config.level));
    // A line that cannot be written (full disk, closed stderr) is lost. Told to report that, the subscriber would print
    // to the same stderr, and a failing print panics whoever logs.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .log_internal_errors(false);
    let _another_was_first = match config.format {
        LogFormat::Text => lines.finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    };
}

/// The level, and what is below it: a cap lowers a level and never raises it.
fn directives(level: &str) -> String {
    let wanted: LevelFilter = level.parse().unwrap_or(LevelFilter::INFO);
    let capped = CAPPED.iter().map(|(target, cap)| format!("{target}={}", wanted.min(*cap)));
    let quiet = QUIET.iter().filter(|_| matches!(level, "info" | "debug")).map(|directive| (*directive).to_owned());
    std::iter::once(level.to_owned()).chain(capped).chain(quiet).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex, PoisonError};
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt as _};

    /// Remembers who logged at which level.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<String>>>);

    impl<S: tracing::Subscriber> Layer<S> for Seen {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            let line = format!("{} {}", event.metadata().target(), event.metadata().level());
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }

    fn seen(level: &str) -> Vec<String> {
        let seen = Seen::default();
        let subscriber = tracing_subscriber::registry().with(EnvFilter::new(directives(level))).with(seen.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::trace!(target: "consigner_node::serve", "own");
            tracing::trace!(target: "aws_smithy_runtime::client", "request with a token");
            tracing::debug!(target: "hyper_util::client", "request");
            tracing::debug!(target: "rustls::client", "handshake");
            tracing::error!(target: "rustify::client", "failed");
            tracing::error!(target: "vaultrs::api", "failed");
            tracing::info!(target: "aws_config", "profile");
            tracing::error!(target: "h2", "broken");
        });
        let lines = seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.clone()
    }

    #[test]
    fn libraries_that_see_tokens_are_capped_whatever_the_level() {
        assert_eq!(seen("trace"), ["consigner_node::serve TRACE", "aws_config INFO", "h2 ERROR"]);
        assert_eq!(seen("debug"), ["aws_config INFO", "h2 ERROR"]);
        assert_eq!(seen("error"), ["h2 ERROR"], "a cap raises nothing");
        assert_eq!(seen("off"), [""; 0]);
    }
}
