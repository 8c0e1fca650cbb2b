//! TLS to clients and to the server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig,
    SignatureScheme,
};

use crate::upstream::SslMode;

/// Async libpq waits for the socket while OpenSSL still holds the rest of a large record.
const RECORD_BYTES_MAX: usize = 8192;

/// One line that names the file.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

/// Whether clients may, or must, use TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientTlsMode {
    #[default]
    Off,
    Allow,
    Require,
}

#[derive(Clone, Default)]
pub struct ClientTls {
    pub mode: ClientTlsMode,
    /// Present unless the mode is `Off`.
    pub config: Option<Arc<ServerConfig>>,
    /// Our certificate (DER), to compare with the server's.
    pub certificate: Option<Vec<u8>>,
}

impl ClientTls {
    /// Reads the certificate chain and the key (PEM).
    pub fn load(mode: ClientTlsMode, chain: &Path, key: &Path) -> Result<Self, TlsError> {
        let certificates = certificates(chain)?;
        let certificate = certificates.first().map(|certificate| certificate.to_vec());
        let private = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| TlsError(format!("{}: no private key: {error}", key.display())))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError(error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(certificates, private)
            .map_err(|error| {
                let (chain, key) = (chain.display(), key.display());
                TlsError(format!("{chain} and {key} do not make a pair: {error}"))
            })?;
        config.max_fragment_size = Some(RECORD_BYTES_MAX);
        // Clients that begin with TLS directly must offer it, others do not offer anything.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Self {
            mode,
            config: Some(Arc::new(config)),
            certificate,
        })
    }
}

/// The client side of TLS to PostgreSQL; `None` for `sslmode=disable`.
pub fn to_server(
    mode: SslMode,
    root_cert: Option<&PathBuf>,
) -> Result<Option<Arc<ClientConfig>>, TlsError> {
    let mode = match (mode, root_cert) {
        (SslMode::Disable, _) => return Ok(None),
        // As libpq does: who names a root certificate wants it checked.
        (SslMode::Require, Some(_)) => SslMode::VerifyCa,
        (mode, _) => mode,
    };
    let chain = match mode {
        SslMode::VerifyCa | SslMode::VerifyFull => Some(Chain::load(root_cert)?),
        SslMode::Disable | SslMode::Prefer | SslMode::Require => None,
    };
    let provider = provider();
    let verifier = Verifier {
        chain,
        names: mode == SslMode::VerifyFull,
        provider: Arc::clone(&provider),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(Some(Arc::new(config)))
}

/// The client side of TLS to a webhook: certificate and name are checked.
pub(crate) fn to_webhook(root_cert: Option<&PathBuf>) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = Verifier {
        chain: Some(Chain::load(root_cert)?),
        names: true,
        provider: provider(),
    };
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |error| TlsError(format!("{}: no certificate: {error}", path.display()));
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(failed)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    if certificates.is_empty() {
        return Err(TlsError(format!(
            "{}: no certificate in it",
            path.display()
        )));
    }
    Ok(certificates)
}

/// Roots, and the same certificates to compare a self-signed server with.
#[derive(Debug)]
struct Chain {
    roots: Vec<CertificateDer<'static>>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl Chain {
    fn load(root_cert: Option<&PathBuf>) -> Result<Self, TlsError> {
        let roots = match root_cert {
            Some(path) => certificates(path)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().cloned());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider())
            .build()
            .map_err(|error| TlsError(format!("root certificates: {error}")))?;
        Ok(Self { roots, verifier })
    }
}

/// libpq's meanings of sslmode.
#[derive(Debug)]
struct Verifier {
    /// `None`: encrypt only.
    chain: Option<Chain>,
    /// The certificate must bear the host's name.
    names: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        // A self-signed server.crt given as its own root: webpki takes no CA as an end entity.
        if chain
            .roots
            .iter()
            .any(|root| root.as_ref() == end_entity.as_ref())
        {
            if self.names {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                rustls::client::verify_server_name(&parsed, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        let verified = chain.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // The name is judged last: everything else was found right.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.names => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
