//! A TCP proxy that can stop passing anything on without closing anything, as a network does that loses every packet.

use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes on until it is told to stall. Connections that were made before a stall stay dead after it.
pub(crate) struct StallingProxy {
    port: u16,
    /// How many stalls have begun; odd while one lasts.
    stalls: watch::Sender<u32>,
}

impl StallingProxy {
    pub(crate) async fn start(server_port: u16) -> StallingProxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stalls = watch::Sender::new(0);
        let told = stalls.subscribe();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(pass_on(
                    client,
                    SocketAddr::from((Ipv4Addr::LOCALHOST, server_port)),
                    told.clone(),
                ));
            }
        });
        StallingProxy { port, stalls }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// From now on nothing comes through, in either direction.
    pub(crate) fn stall(&self) {
        self.stalls.send_modify(|stalls| *stalls += 1);
    }

    /// New connections come through again.
    pub(crate) fn go_on(&self) {
        self.stall();
    }
}

async fn pass_on(client: TcpStream, server: SocketAddr, mut told: watch::Receiver<u32>) {
    let at_start = *told.borrow_and_update();
    if at_start % 2 == 1 {
        // Held open, and never answered.
        let (_client, _) = (client, told.changed().await);
        return std::future::pending().await;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = TcpStream::connect(server).await.unwrap().into_split();
    tokio::join!(
        copy(from_client, to_server, told.clone()),
        copy(from_server, to_client, told)
    );
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut told: watch::Receiver<u32>) {
    let mut buffer = [0; 4096];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = told.changed() => std::future::pending().await,
        };
        match read {
            Ok(read @ 1..) if to.write_all(&buffer[..read]).await.is_ok() => {}
            _ => return drop(to.shutdown().await),
        }
    }
}
