//! A control API and gateways as processes of the release binary, in a temporary folder.
//!
//! Decides how they are set up; measures nothing.

use crate::caller::Caller;
use crate::process::{GATEWAY_TOKEN, Launch, Process, TOKEN};
use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// The one app.
pub(crate) const APP: &str = "bench";

/// A running fleet.
pub(crate) struct Fleet {
    folder: TempDir,
    control: Option<Process>,
    /// The control API.
    pub(crate) address: SocketAddr,
    upstream: SocketAddr,
    gateways: Vec<Process>,
    last_proxy: Option<SocketAddr>,
}

impl Fleet {
    /// Starts a control API with one app and no gateway.
    pub(crate) async fn start() -> Result<Fleet> {
        let folder = TempDir::new().context("cannot make a temporary folder")?;
        let mut fleet = Fleet {
            folder,
            control: None,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            upstream: start_upstream().await?,
            gateways: Vec::new(),
            last_proxy: None,
        };
        fleet.start_control().await?;
        let app = json!({"app_slug": APP, "name": APP, "key_prefix": "sk"});
        fleet.api().must("/api-auth/apps", &app).await?;
        Ok(fleet)
    }

    /// Starts the control API, on the store that is there.
    pub(crate) async fn start_control(&mut self) -> Result<()> {
        let config = format!(
            "[control]\nstore = \"sqlite://{}\"\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n",
            self.store().display()
        );
        let process = start("control", &self.folder.path().join("control"), config)?;
        self.address = process.listening("control").await?;
        self.control = Some(process);
        Ok(())
    }

    /// Ends the control API.
    pub(crate) fn stop_control(&mut self) {
        self.control = None;
    }

    /// The control API's process id.
    pub(crate) fn control_pid(&self) -> Result<u32> {
        Ok(self.control.as_ref().context("the control API does not run")?.id())
    }

    /// The SQLite file.
    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("portcullis.db")
    }

    /// A connection to the control API.
    pub(crate) fn api(&self) -> Caller {
        Caller::new(self.address, TOKEN)
    }

    /// Starts a gateway; gives its proxy and its metrics. It need not be ready.
    pub(crate) async fn start_gateway(&mut self, preload: bool) -> Result<(SocketAddr, SocketAddr)> {
        let config = format!(
            "[gateway]\nlisten = [\"127.0.0.1:0\"]\nauthz_listen = \"127.0.0.1:0\"\ncontrol_url = \"http://{}\"\n\
             control_token = \"{GATEWAY_TOKEN}\"\npreload = {preload}\n[admin]\nlisten = \"127.0.0.1:0\"\n[cache]\n\
             keys_max = 2000000\n[limits]\ndefault_rules = []\n[[routes]]\nupstreams = [\"http://{}\"]\napps = [\"{APP}\"]\n",
            self.address, self.upstream
        );
        let folder = self.folder.path().join(format!("gateway-{}", self.gateways.len()));
        let process = start("gateway", &folder, config)?;
        let (proxy, admin) = (process.listening("proxy").await?, process.listening("admin").await?);
        self.gateways.push(process);
        self.last_proxy = Some(proxy);
        Ok((proxy, admin))
    }

    /// The process id of the gateway that was started last.
    pub(crate) fn last_gateway_pid(&self) -> Result<u32> {
        Ok(self.gateways.last().context("no gateway runs")?.id())
    }

    /// The proxy of the gateway that was started last.
    pub(crate) fn last_proxy(&self) -> Result<SocketAddr> {
        self.last_proxy.context("no gateway runs")
    }

    /// Ends the gateway that was started last.
    pub(crate) fn stop_last_gateway(&mut self) {
        self.gateways.pop();
    }
}

/// Starts the release binary that lies beside this program.
fn start(role: &str, folder: &Path, config: String) -> Result<Process> {
    let binary = std::env::current_exe()?.with_file_name("portcullis");
    Process::start(&Launch {
        binary: &binary,
        role,
        folder,
        config,
        variables: Vec::new(),
    })
}

async fn start_upstream() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let service = hyper::service::service_fn(|_| async {
                    Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from_static(b"ok"))))
                });
                // A gateway that ended broke it off.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Ok(address)
}
