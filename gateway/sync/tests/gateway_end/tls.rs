//! `https` is spoken to whoever proves to be the control API and agrees on HTTP/2, and to nobody else.

use crate::control_end::{ControlEnd, TOKEN, at, soon};
use portcullis_sync::message::{HashText, LookUp, LookedUp};
use portcullis_sync::{Link, LinkError};
use portcullis_verify::KeyHash;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

fn certificate_file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../proxy/tests/certificates")).join(name)
}

fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(certificate_file("authority.pem")).unwrap();
    roots.add(authority).unwrap();
    roots
}

fn acceptor(protocols: &[&[u8]]) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(certificate_file("server.pem")).unwrap();
    let chain: Vec<_> = chain.map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(certificate_file("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// Asks over TLS, as `host`, whoever trusts `roots` of a control API that speaks these protocols.
async fn ask(host: &str, roots: RootCertStore, protocols: &[&[u8]]) -> Result<LookedUp, LinkError> {
    let mut control = ControlEnd::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let link = Link::with_roots(&format!("https://{host}:{port}"), TOKEN, Some(roots)).unwrap();
    let acceptor = acceptor(protocols);
    let question = LookUp {
        hashes: vec![HashText(KeyHash([1; 32]))],
    };
    let asking = link.look_up(&question, Duration::from_secs(10));
    let answering = async {
        let (stream, _) = listener.accept().await.unwrap();
        if let Ok(stream) = acceptor.accept(stream).await {
            control.adopt(stream);
        }
        let answer = LookedUp {
            as_of: at(3),
            records: vec![None],
        };
        control.call().await.answer_json(&answer);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = soon(asking) => answer,
        () = answering => unreachable!(),
    }
}

#[tokio::test]
async fn a_control_api_behind_tls_is_asked_when_it_is_trusted_and_speaks_http2() {
    const HTTP2: &[u8] = b"h2";
    let answer = ask("localhost", roots(), &[HTTP2, b"http/1.1"]).await;
    assert_eq!(answer.unwrap().as_of, at(3));
    let answer = ask("localhost", roots(), &[b"http/1.1"]).await;
    assert_eq!(answer, Err(LinkError::NotHttp2));
    let answer = ask("localhost", roots(), &[]).await;
    assert_eq!(answer, Err(LinkError::NotHttp2));
    let answer = ask("localhost", RootCertStore::empty(), &[HTTP2]).await;
    assert!(
        matches!(&answer, Err(LinkError::Connect(cause)) if cause.contains("TLS")),
        "{answer:?}"
    );
    let answer = ask("ip6-localhost", roots(), &[HTTP2]).await;
    assert!(matches!(answer, Err(LinkError::Connect(_))), "another name: {answer:?}");
}

#[test]
fn the_system_says_whom_to_trust_unless_somebody_else_does() {
    // Whether the machine trusts anybody is its own business; nobody at all is an error, not silence.
    match Link::new("https://control", TOKEN) {
        Ok(link) => assert!(format!("{link:?}").contains("control")),
        Err(error) => assert!(error.to_string().contains("certificates of the system"), "{error}"),
    }
}
