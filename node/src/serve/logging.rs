//! Where log lines go: stderr, as text or JSON.

use crate::config::{LogConfig, LogFormat};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// openraft and sled tell their inner life at INFO; at WARN they tell what an operator needs.
const QUIET: [&str; 3] = ["openraft=warn", "sled=warn", "hyper_util=warn"];

/// Starts logging for the whole process; a second call changes nothing.
pub fn start(config: &LogConfig) {
    let filter = QUIET
        .iter()
        .filter(|_| matches!(config.level.as_str(), "info" | "debug"))
        .filter_map(|directive| directive.parse().ok())
        .fold(EnvFilter::new(&config.level), EnvFilter::add_directive);
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
