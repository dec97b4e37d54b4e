//! TLS handshakes: the most work that a stranger can order for the fewest bytes.
//!
//! Only the first message is sent, the same one each time: to answer it costs the gateway a key exchange and a signature, and to send
//! it costs nothing. Knows no certificate; [`super`] runs it.

use super::{Counts, Plan};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};

/// Begins handshakes for ever, at most one every `every`.
pub(super) async fn shake(plan: &Plan, place: usize, counts: &Counts, every: Duration) {
    let hello = hello();
    let mut once = false;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(mut stream) = plan.connect(place, counts).await else {
            continue;
        };
        counts.sent();
        if !is_answered(&mut stream, &hello).await {
            counts.shown_out();
        }
        counts.is_in_force(&mut once);
    }
}

/// What a client says first.
fn hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("a message");
    hello
}

/// Whether the gateway did its part.
async fn is_answered(stream: &mut TcpStream, hello: &[u8]) -> bool {
    let mut answer = [0; 4096];
    stream.write_all(hello).await.is_ok() && matches!(stream.read(&mut answer).await, Ok(1..))
}
