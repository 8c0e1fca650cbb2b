//! Tells a webhook: one JSON document in a POST, over HTTP/1.1 with or without TLS.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, Uri, header};
use hyper_util::rt::TokioIo;
use keeper::FindingSeverity;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::tls;

/// Where findings are sent.
#[derive(Clone)]
pub struct Webhook {
    uri: Uri,
    host: String,
    port: u16,
    /// `None`: `http`.
    tls: Option<Arc<ClientConfig>>,
    /// The value of the header `Authorization`.
    authorization: Option<header::HeaderValue>,
    /// For one attempt.
    patience: Duration,
    /// Findings below it are not sent.
    pub severity: FindingSeverity,
}

/// As written in the configuration.
pub struct WebhookAddress<'a> {
    pub url: &'a str,
    pub authorization: &'a str,
    pub root_cert_file: Option<PathBuf>,
    pub patience: Duration,
    pub severity: FindingSeverity,
}

impl std::fmt::Debug for Webhook {
    /// Without what may be secret: chat services have the key in the path.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Webhook({}:{})", self.host, self.port)
    }
}

impl Webhook {
    /// # Errors
    /// What is wrong with the address, in one line and without the address.
    pub fn new(address: &WebhookAddress<'_>) -> Result<Self, String> {
        const EXPECTED: &str = "expected http://host[:port]/path or https://...";
        let uri = address
            .url
            .parse::<Uri>()
            .map_err(|error| format!("{error}: {EXPECTED}"))?;
        let host = uri.host().ok_or(EXPECTED)?;
        let host = host.trim_matches(|c| matches!(c, '[' | ']')).to_owned();
        if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
            return Err("credentials belong in webhook.authorization".to_owned());
        }
        let (tls, port) = match uri.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => {
                let config = tls::to_webhook(address.root_cert_file.as_ref());
                (Some(config.map_err(|error| error.to_string())?), 443)
            }
            _ => return Err(EXPECTED.to_owned()),
        };
        let authorization = Some(address.authorization)
            .filter(|value| !value.is_empty())
            .map(|value| {
                let mut value = header::HeaderValue::from_str(value)
                    .map_err(|_| "webhook.authorization is no header value".to_owned())?;
                value.set_sensitive(true);
                Ok::<_, String>(value)
            })
            .transpose()?;
        Ok(Self {
            port: uri.port_u16().unwrap_or(port),
            host,
            tls,
            authorization,
            patience: address.patience,
            severity: address.severity,
            uri,
        })
    }

    /// One attempt.
    ///
    /// # Errors
    /// Why nobody was told, in one line.
    pub async fn post(&self, body: Vec<u8>) -> Result<(), String> {
        match timeout(self.patience, self.attempt(body)).await {
            Ok(done) => done,
            Err(_) => Err(format!("no answer within {:?}", self.patience)),
        }
    }

    async fn attempt(&self, body: Vec<u8>) -> Result<(), String> {
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await;
        let socket = socket.map_err(|error| format!("cannot connect: {error}"))?;
        let Some(config) = &self.tls else {
            return self.exchange(socket, body).await;
        };
        let name = ServerName::try_from(self.host.clone())
            .map_err(|_| "the host's name is no name for TLS".to_owned())?;
        let connector = TlsConnector::from(Arc::clone(config));
        let socket = connector.connect(name, socket).await;
        self.exchange(socket.map_err(|error| format!("TLS: {error}"))?, body)
            .await
    }

    async fn exchange<S>(&self, socket: S, body: Vec<u8>) -> Result<(), String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let failed = |error: hyper::Error| error.to_string();
        let (mut sender, connection) = http1::handshake(TokioIo::new(socket))
            .await
            .map_err(failed)?;
        let target = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let host = self.uri.authority().map_or("", |it| it.as_str());
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(target)
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .header(header::USER_AGENT, "reprieve");
        if let Some(value) = &self.authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        let answered = async {
            let response = sender.send_request(request).await.map_err(failed)?;
            let status = response.status();
            if status.is_success() {
                Ok(())
            } else {
                Err(format!("it answered {status}"))
            }
        };
        tokio::pin!(answered, connection);
        tokio::select! {
            answer = &mut answered => answer,
            ended = &mut connection => {
                // What was read before the end may be the answer.
                match timeout(Duration::from_millis(100), answered).await {
                    Ok(answer) => answer,
                    Err(_) => Err(ended.err().map_or_else(|| "closed without an answer".to_owned(), |error| error.to_string())),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn webhook(url: &str) -> Result<Webhook, String> {
        Webhook::new(&WebhookAddress {
            url,
            authorization: "Bearer hunter2",
            root_cert_file: None,
            patience: Duration::from_millis(500),
            severity: FindingSeverity::Warning,
        })
    }

    /// Answers one request, and returns it.
    async fn answer(reply: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?a=1", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            let mut chunk = [0; 1024];
            while !request.ends_with(b"{\"a\":1}") {
                let n = socket.read(&mut chunk).await.unwrap();
                request.extend_from_slice(&chunk[..n]);
            }
            socket.write_all(reply.as_bytes()).await.unwrap();
            String::from_utf8(request).unwrap()
        });
        (url, served)
    }

    #[tokio::test]
    async fn a_document_arrives_with_its_headers() {
        let (url, served) = answer("HTTP/1.1 204 No Content\r\n\r\n").await;
        let hook = webhook(&url).unwrap();
        hook.post(b"{\"a\":1}".to_vec()).await.unwrap();
        let request = served.await.unwrap();
        assert!(
            request.starts_with("POST /hook?a=1 HTTP/1.1\r\n"),
            "{request}"
        );
        let lower = request.to_lowercase();
        for line in [
            "authorization: bearer hunter2",
            "content-type: application/json",
            "content-length: 7",
            "host: 127.0.0.1:",
        ] {
            assert!(lower.contains(line), "{line} is not in {request}");
        }
        assert!(!format!("{hook:?}").contains("hook?"), "{hook:?}");
    }

    #[tokio::test]
    async fn what_is_no_success_is_told() {
        let (url, served) = answer("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n").await;
        let error = webhook(&url).unwrap().post(b"{\"a\":1}".to_vec()).await;
        assert!(error.unwrap_err().contains("500"));
        served.await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = format!("http://{}", listener.local_addr().unwrap());
        let error = webhook(&silent).unwrap().post(Vec::new()).await;
        assert!(error.unwrap_err().contains("no answer within"));
        drop(listener);
        let error = webhook(&silent).unwrap().post(Vec::new()).await;
        assert!(error.unwrap_err().contains("cannot connect"));
    }

    #[test]
    fn wrong_addresses_are_named() {
        for url in ["ftp://h/x", "nowhere", "http://u:p@h/", "http://"] {
            let error = webhook(url).unwrap_err();
            assert!(!error.contains("u:p"), "{error}");
        }
        assert!(webhook("http://[::1]:8443/x").is_ok());
    }
}
