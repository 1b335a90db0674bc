//! Captures log lines of all tests in a binary; a test finds its own by the name of its door.

use std::io;
use std::sync::{Mutex, Once};

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static INSTALLED: Once = Once::new();

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn capture() {
    INSTALLED.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
            .with_ansi(false)
            .with_writer(|| Writer)
            .init();
    });
}

/// WARN lines of the named door so far.
pub fn warnings(door: &str) -> Vec<String> {
    of_level("WARN", door)
}

/// ERROR lines of the named door so far.
pub fn errors(door: &str) -> Vec<String> {
    of_level("ERROR", door)
}

fn of_level(level: &str, door: &str) -> Vec<String> {
    let text = LINES.lock().unwrap().clone();
    let mark = format!("door={door} ");
    let text = String::from_utf8(text).unwrap();
    text.lines().filter(|line| line.contains(level) && line.contains(&mark)).map(str::to_owned).collect()
}
