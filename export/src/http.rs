//! HTTP as every request of the probe has it: credentials, proxy, TLS roots, time limits
//! (wire contract, section 2).
//!
//! Bodies are never logged, URLs without query and user, and the token never.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::flow::Timing;
use crate::proxy_answer;

/// Longest server text that is shown, in characters.
const MAX_TEXT_CHARS: usize = 200;
/// What is read of an error answer.
const MAX_ERROR_BYTES: usize = 4 << 10;
const MAX_REDIRECTS: usize = 10;
/// Between two probes of a connection that is silent, and how long HTTP/2 waits for the answer.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);

/// An API token. Its `Debug` form is `***`, so that no log or error shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Wraps the secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Who asks: sent with every request (HTTP-1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// User's e-mail address.
    pub email: String,
    /// The API token.
    pub token: Token,
}

/// A forward proxy for every request. Its `Debug` form has no user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy(Url);

impl Proxy {
    /// Reads `http://[user:password@]host[:port]`, `https://…`, or `host:port`.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse(text: &str) -> Result<Self, crate::urls::UrlError> {
        let with_scheme =
            if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        crate::urls::parse_url("proxy", &with_scheme).map(Self)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&public_url(&self.0))
    }
}

/// What all requests share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// Who asks.
    pub credentials: Credentials,
    /// Proxy for every request; those of the environment are not used.
    pub proxy: Option<Proxy>,
    /// Program version, for `User-Agent: kprobe/<version>`.
    pub version: String,
    /// PEM file with root certificates that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// Why no HTTP client could be made.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// E-mail or token cannot be a header value.
    #[error("the {what} holds characters that HTTP does not allow")]
    Header {
        /// `e-mail` or `token`.
        what: &'static str,
    },
    /// HTTPS is needed, and the system has no root certificates.
    #[error("no root certificates found on this system ({detail}); install ca-certificates")]
    NoRoots {
        /// What the search found wrong, or "none installed".
        detail: String,
    },
    /// The file with more root certificates.
    #[error("cannot read root certificates from {}: {why}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// TLS or the proxy cannot be configured.
    #[error("cannot set up HTTP: {0}")]
    Client(String),
}

/// The two clients: reading follows redirects within one origin, sending follows none (HTTP-6).
#[derive(Clone, Debug)]
pub(crate) struct Http {
    pub(crate) read: Client,
    pub(crate) send: Client,
    secret: Token,
    proxy: Option<Proxy>,
}

impl Http {
    /// `needs_tls`: whether an `https` URL will be used.
    pub(crate) fn new(
        config: &HttpConfig,
        timing: &Timing,
        needs_tls: bool,
    ) -> Result<Self, HttpError> {
        let tls = tls_config(needs_tls, config.ca_file.as_deref())?;
        let headers = auth_headers(&config.credentials)?;
        let client = |redirects| {
            let mut builder = Client::builder()
                .default_headers(headers.clone())
                .user_agent(format!("kprobe/{}", config.version))
                .connect_timeout(timing.connect_timeout)
                .timeout(timing.request_timeout)
                .tcp_keepalive(KEEPALIVE)
                .pool_idle_timeout(timing.idle_timeout)
                .http2_keep_alive_interval(KEEPALIVE)
                .http2_keep_alive_timeout(KEEPALIVE_ANSWER)
                .redirect(redirects)
                .tls_backend_preconfigured(tls.clone())
                .no_proxy();
            if let Some(proxy) = &config.proxy {
                let proxy = reqwest::Proxy::all(proxy.0.clone());
                builder = builder.proxy(proxy.map_err(|e| HttpError::Client(chain(&e)))?);
            }
            builder.build().map_err(|e| HttpError::Client(chain(&e)))
        };
        Ok(Self {
            read: client(Policy::custom(same_origin))?,
            send: client(Policy::none())?,
            secret: config.credentials.token.clone(),
            proxy: config.proxy.clone(),
        })
    }

    /// What went wrong on the way to `url`, with the proxy's reason where it refused a tunnel.
    pub(crate) async fn explained_failure(&self, error: reqwest::Error, url: &Url) -> Failure {
        let failure = self.transport_failure(error);
        let Some(text) = &failure.text else { return failure };
        let Some(Proxy(proxy)) = &self.proxy else { return failure };
        if !text.contains("tunnel error") {
            return failure;
        }
        match proxy_answer::why_refused(proxy, url).await {
            Some(why) => Failure { status: None, text: Some(clean(&why, &self.secret)) },
            None => failure,
        }
    }

    /// What went wrong before an answer came.
    pub(crate) fn transport_failure(&self, error: reqwest::Error) -> Failure {
        Failure { status: None, text: Some(clean(&chain(&error.without_url()), &self.secret)) }
    }

    /// What a refusing answer says: the error of the API, or a short plain text.
    pub(crate) async fn refusal(&self, answer: Response) -> Failure {
        let status = answer.status();
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_plain = kind.is_some_and(|kind| kind.starts_with("text/plain"));
        let body = read_bounded(answer, MAX_ERROR_BYTES).await.unwrap_or_default();
        let text = match serde_json::from_slice::<kflow::api::ErrorBody>(&body) {
            Ok(body) => body.error,
            Err(_) if is_plain => String::from_utf8_lossy(&body).trim().to_owned(),
            Err(_) => String::new(),
        };
        let text = Some(clean(&text, &self.secret)).filter(|text| !text.is_empty());
        let text = match text {
            None if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Some("the proxy asks for another user and password".to_owned())
            }
            text => text,
        };
        Failure { status: Some(status.as_u16()), text }
    }
}

/// Why a request failed: the server's status and text, or what happened to the transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: Option<u16>,
    pub(crate) text: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status, &self.text) {
            (Some(status), Some(text)) => write!(f, "HTTP status {status}: {text}"),
            (Some(status), None) => write!(f, "HTTP status {status}"),
            (None, text) => f.write_str(text.as_deref().unwrap_or("no answer")),
        }
    }
}

/// The body of an answer, or `None` when it is longer than `max_bytes` or breaks off.
pub(crate) async fn read_bounded(mut answer: Response, max_bytes: usize) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        if body.len() + chunk.len() > max_bytes {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}

/// The URL without user, password, query and fragment.
pub fn public_url(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// One line without control characters, of bounded length, without the token.
fn clean(text: &str, secret: &Token) -> String {
    let text = match secret.0.as_str() {
        "" => text.to_owned(),
        secret => text.replace(secret, "***"),
    };
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    printable.take(MAX_TEXT_CHARS).collect()
}

fn auth_headers(credentials: &Credentials) -> Result<HeaderMap, HttpError> {
    let value =
        |text: &str, what| HeaderValue::from_str(text).map_err(|_| HttpError::Header { what });
    let mut token = value(&credentials.token.0, "token")?;
    token.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert("x-ch-auth-email", value(&credentials.email, "e-mail")?);
    headers.insert("x-ch-auth-api-token", token);
    Ok(headers)
}

/// Rustls with ring, system roots and those of `ca_file`, HTTP/2 offered.
fn tls_config(needed: bool, ca_file: Option<&Path>) -> Result<rustls::ClientConfig, HttpError> {
    let mut roots = rustls::RootCertStore::empty();
    // A file that cannot be used is a mistake, whether it is needed or not.
    if let Some(path) = ca_file {
        add_file(&mut roots, path)?;
    }
    if needed {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let detail = found.errors.first().map(ToString::to_string);
            let detail = detail.unwrap_or_else(|| "none installed".into());
            return Err(HttpError::NoRoots { detail });
        }
    }
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .map_err(|e| HttpError::Client(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn add_file(roots: &mut rustls::RootCertStore, path: &Path) -> Result<(), HttpError> {
    let failed = |why: String| HttpError::CaFile { path: path.to_owned(), why };
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() { Err(failed("no certificate in it".to_owned())) } else { Ok(()) }
}

/// Another origin would receive the credentials, so redirects stay within one.
fn same_origin(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let stays = attempt.previous().first().is_some_and(|first| {
        first.origin() == attempt.url().origin() && attempt.previous().len() <= MAX_REDIRECTS
    });
    if stays { attempt.follow() } else { attempt.stop() }
}

/// An error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(email: &str, token: &str) -> HttpConfig {
        let credentials = Credentials { email: email.into(), token: Token::new(token) };
        HttpConfig { credentials, proxy: None, version: "0.1.0".into(), ca_file: None }
    }

    #[test]
    fn the_debug_form_of_a_configuration_has_no_secret() {
        let proxy = Proxy::parse("http://user:pass@192.0.2.1:2020").unwrap();
        let config = HttpConfig { proxy: Some(proxy), ..config("a@example.com", "s3cret") };
        let text = format!("{config:?}");
        assert!(text.contains("***") && text.contains("http://192.0.2.1:2020"), "{text}");
        assert!(!text.contains("s3cret") && !text.contains("pass"), "{text}");
    }

    #[test]
    fn a_proxy_may_be_given_without_scheme() {
        assert_eq!(Proxy::parse("192.0.2.1:2020"), Proxy::parse("http://192.0.2.1:2020"));
        for text in ["", "http://", "socks5://a:1", "a b"] {
            assert!(Proxy::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_token_that_is_no_header_value_is_refused_without_being_shown() {
        let error =
            Http::new(&config("a", "s3cret\n"), &Timing::default(), false).unwrap_err().to_string();
        assert_eq!(error, "the token holds characters that HTTP does not allow");
    }

    #[test]
    fn server_texts_are_shown_on_one_line_without_the_token() {
        let secret = Token::new("s3cret");
        assert_eq!(clean("bad token s3cret\n\x1b[31m!", &secret), "bad token ***  [31m!");
        assert_eq!(clean(&"é".repeat(500), &secret).chars().count(), 200);
    }

    #[test]
    fn urls_are_shown_without_query_and_user() {
        let url = Url::parse("https://u:p@flow.example.com:8443/chf?key=secret#x").unwrap();
        assert_eq!(public_url(&url), "https://flow.example.com:8443/chf");
    }

    #[test]
    fn a_file_without_certificates_is_a_clear_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("roots.pem");
        let error = |text: Option<&str>| {
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            let config = HttpConfig { ca_file: Some(path.clone()), ..config("a", "b") };
            Http::new(&config, &Timing::default(), false).unwrap_err().to_string()
        };
        let begin = format!("cannot read root certificates from {}: ", path.display());
        assert!(error(None).starts_with(&begin));
        assert_eq!(error(Some("")), format!("{begin}no certificate in it"));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(error(Some(broken)).starts_with(&begin));
    }

    proptest::proptest! {
        #[test]
        fn any_server_text_becomes_one_short_line(text: String) {
            let line = clean(&text, &Token::new("s3cret"));
            proptest::prop_assert!(line.chars().count() <= MAX_TEXT_CHARS);
            proptest::prop_assert!(!line.chars().any(char::is_control));
            proptest::prop_assert!(!line.contains("s3cret"));
        }
    }
}
