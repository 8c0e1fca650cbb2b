//! Where the monitor tells of findings.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) struct Alert {
    at: Instant,
    document: Value,
}

impl Alert {
    pub(crate) fn after(&self, began: Instant) -> Duration {
        self.at.duration_since(began)
    }

    pub(crate) fn text(&self) -> &str {
        self.document["text"].as_str().unwrap_or_default()
    }
}

/// Address, and what arrives there.
pub(crate) fn listen() -> (String, Receiver<Alert>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let (send, alerts) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (mut request, mut chunk) = (Vec::new(), [0; 4096]);
            while let Ok(n @ 1..) = stream.read(&mut chunk) {
                request.extend_from_slice(&chunk[..n]);
                let text = String::from_utf8_lossy(&request);
                let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
                if let Ok(document) = serde_json::from_str(body) {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                    let at = Instant::now();
                    let _ = send.send(Alert { at, document });
                    break;
                }
            }
        }
    });
    (url, alerts)
}
