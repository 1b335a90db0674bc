//! An HTTP server that says what a test tells it to say, also what no real server says on demand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A request as far as tests look.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Header lines in lower case.
    pub headers: Vec<String>,
    pub body: String,
}

/// What the server answers.
pub enum Reply {
    /// Status and JSON.
    Json(u16, String),
    /// Status and text of no format.
    Text(u16, String),
    /// Nothing; the connection stays open.
    Silence,
}

pub struct Fake {
    pub port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    /// Answers the n-th request (from 0) with `answer(n, request)`.
    pub fn start(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (seen, stopped, count) = (Arc::clone(&requests), Arc::clone(&stop), Arc::new(AtomicUsize::new(0)));
        let answer = Arc::new(answer);
        let thread = std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let Some(request) = read(&stream) else { continue };
                seen.lock().unwrap().push(request.clone());
                if !write(&stream, &answer(count.fetch_add(1, Ordering::SeqCst), &request)) {
                    silent.push(stream);
                }
            }
        });
        Self { port, requests, stop, thread: Some(thread) }
    }

    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut words = first.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        headers.push(line.trim().to_lowercase());
    }
    let length = headers.iter().find_map(|header| header.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

/// False if nothing was to be said.
fn write(mut stream: &TcpStream, reply: &Reply) -> bool {
    let (status, kind, body) = match reply {
        Reply::Json(status, body) => (status, "application/json", body),
        Reply::Text(status, body) => (status, "text/plain", body),
        Reply::Silence => return false,
    };
    // The metadata service of an EC2 instance says how long its token lives; nobody else minds.
    let lifetime = "x-aws-ec2-metadata-token-ttl-seconds: 600";
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{lifetime}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
    true
}
