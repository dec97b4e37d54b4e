//! TLS towards a control API behind a terminator: whom to trust, and that HTTP/2 is what is spoken inside.
//!
//! Connects to nothing. The link makes one connector when it is made.

use super::{LinkError, LinkSetupError};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What TLS calls HTTP/2.
const HTTP2: &[u8] = b"h2";

/// Whom the system trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` may name others. Fails if that is nobody.
pub(super) fn system_roots() -> Result<RootCertStore, LinkSetupError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (used, _) = roots.add_parsable_certificates(found.certs);
    if used > 0 {
        return Ok(roots);
    }
    let cause = found.errors.first().map(ToString::to_string);
    Err(LinkSetupError::Roots(
        cause.unwrap_or_else(|| "there are none".to_owned()),
    ))
}

/// A connector that trusts `roots`.
pub(super) fn connector(roots: RootCertStore) -> Result<TlsConnector, LinkSetupError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| LinkSetupError::Roots(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Shakes hands. Fails unless the certificate is good for `host` and HTTP/2 was agreed on.
pub(super) async fn shake_hands(
    connector: &TlsConnector,
    host: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, LinkError> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| LinkError::Connect(error.to_string()))?;
    let stream = match connector.connect(name, stream).await {
        Ok(stream) => stream,
        Err(error) => {
            let is_other_protocol = error
                .get_ref()
                .and_then(|cause| cause.downcast_ref::<rustls::Error>())
                .is_some_and(|cause| {
                    *cause == rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol)
                });
            return Err(if is_other_protocol {
                LinkError::NotHttp2
            } else {
                LinkError::Connect(format!("TLS: {error}"))
            });
        }
    };
    match stream.get_ref().1.alpn_protocol() {
        Some(HTTP2) => Ok(stream),
        _ => Err(LinkError::NotHttp2),
    }
}
