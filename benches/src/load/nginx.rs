//! nginx, as a bare reverse proxy.
//!
//! Decides its configuration; measures nothing. It runs as a single process of one worker, in the foreground.

use super::server::{Server, Setup, free_address};
use anyhow::Result;
use std::net::SocketAddr;
use std::process::Command;

/// A reverse proxy that keeps its connections, and nothing else.
pub(crate) async fn bare(setup: &Setup) -> Result<Server> {
    start(setup, "nginx, bare", "proxy_pass, kept connections", "", "").await
}

async fn start(setup: &Setup, name: &str, does: &'static str, http: &str, location: &str) -> Result<Server> {
    let address = free_address()?;
    let folder = setup.folder.join(name.replace(['/', ' ', ','], "-"));
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("nginx.conf");
    std::fs::write(
        &file,
        configuration(&folder.display().to_string(), address, setup.upstream, http, location),
    )?;
    let mut command = Command::new("nginx");
    command
        .arg("-p")
        .arg(&folder)
        .arg("-c")
        .arg(&file)
        .args(["-e", "error.log"]);
    Server::foreign(setup, name, does, address, &mut command).await
}

fn configuration(folder: &str, address: SocketAddr, upstream: SocketAddr, http: &str, location: &str) -> String {
    format!(
        "daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; worker_rlimit_nofile 20000;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream api {{
        server {upstream};
        keepalive 1100;
        keepalive_requests 1000000000;
        keepalive_timeout 3600s;
    }}
    {http}
    server {{
        listen {address} backlog=4096;
        location / {{
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            {location}
            proxy_pass http://api;
        }}
    }}
}}
"
    )
}
