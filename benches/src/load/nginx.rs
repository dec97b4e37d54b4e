//! nginx: bare, with keys in a static map, with keys and counters in Lua, and asking Portcullis by sub-request.
//!
//! Decides its configurations; measures nothing. It runs as a single process of one worker, in the foreground.

use super::peers::{self, BEARER};
use super::server::{Server, Setup, free_address};
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian puts the modules that nginx loads at its start.
const MODULES: &str = "/usr/lib/nginx/modules";

/// Keys and sliding counters in shared memory, as the gateways that are written in Lua for nginx hold them.
const LUA: &str = include_str!("keys.lua");

/// What all configurations have in common is not in here.
struct Parts {
    name: &'static str,
    does: &'static str,
    /// Before everything else.
    main: String,
    /// In the `http` block.
    http: String,
    /// In the `server` block.
    server: String,
    /// In the `location` block, before the request is passed on.
    location: String,
}

/// A reverse proxy that keeps its connections, and nothing else.
pub(crate) async fn bare(setup: &Setup) -> Result<Server> {
    let parts = Parts {
        name: peers::NGINX_BARE,
        does: "proxy_pass, kept connections",
        main: String::new(),
        http: String::new(),
        server: String::new(),
        location: String::new(),
    };
    parts.start(setup).await
}

/// The same over TLS.
pub(crate) async fn tls(setup: &Setup) -> Result<Server> {
    let parts = Parts {
        name: peers::NGINX_TLS,
        does: "proxy_pass, kept connections, TLS to the caller",
        main: String::new(),
        http: format!(
            "ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.3;",
            peers::certificate("server.pem").display(),
            peers::certificate("server.key").display()
        ),
        server: String::new(),
        location: String::new(),
    };
    parts.start(setup).await?.over_tls()
}

/// Keys in a `map` that is read at the start, and `limit_req` per key, address and app.
pub(crate) async fn map(setup: &Setup) -> Result<Server> {
    let file = setup.folder.join("nginx-keys.map");
    let mut map = String::new();
    for (number, key) in setup.keys.texts().enumerate() {
        writeln!(map, "\"{BEARER}{key}\" {};", number + 1)?;
    }
    std::fs::write(&file, map)?;
    let mut http = format!(
        "map_hash_max_size 524288; map_hash_bucket_size 256;
         map $http_authorization $key_id {{ default \"\"; include {}; }}
         map $key_id $app {{ default benchmark; \"\" \"\"; }}\n",
        file.display()
    );
    for (zone, of) in [("key", "$key_id"), ("address", "$binary_remote_addr"), ("app", "$app")] {
        writeln!(http, "limit_req_zone {of} zone={zone}:64m rate=1000000r/s;")?;
    }
    let mut location = "if ($key_id = \"\") { return 403; }\n".to_owned();
    for zone in ["key", "address", "app"] {
        writeln!(location, "limit_req zone={zone} burst=1000000 nodelay;")?;
    }
    let parts = Parts {
        name: peers::NGINX_MAP,
        does: "static file of plain keys, limit_req per key, address and app, identity headers, key stripped",
        main: String::new(),
        http,
        server: String::new(),
        location: location + IDENTITY,
    };
    parts.start(setup).await
}

/// Hashes of keys in one shared dictionary, two-counter windows in another.
pub(crate) async fn lua(setup: &Setup) -> Result<Server> {
    let keys = setup.folder.join("nginx-lua-keys.txt");
    std::fs::write(&keys, setup.keys.texts().collect::<Vec<_>>().join("\n"))?;
    let folder = setup.folder.join("lua");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("keys.lua"), LUA)?;
    let parts = Parts {
        name: peers::NGINX_LUA,
        does: "SHA-256 of the key in a shared dictionary, sliding counters per key, address and app in another, identity headers, key stripped",
        main: format!("load_module {MODULES}/ndk_http_module.so; load_module {MODULES}/ngx_http_lua_module.so;"),
        http: format!(
            "lua_package_path \"{}/?.lua;;\"; lua_shared_dict keys 64m; lua_shared_dict counters 64m;
             init_by_lua_block {{ require(\"keys\").read(\"{}\") }}",
            folder.display(),
            keys.display()
        ),
        server: "set $key_id \"\"; set $app benchmark;".to_owned(),
        location: format!("access_by_lua_block {{ require(\"keys\").check() }}\n{IDENTITY}"),
    };
    parts.start(setup).await
}

/// Asks Portcullis' decision API by sub-request for each request.
pub(crate) async fn auth_request(setup: &Setup, decisions: Server) -> Result<Server> {
    let parts = Parts {
        name: peers::NGINX_AUTH_REQUEST,
        does: "nginx asks Portcullis' /v1/forward-auth by sub-request; both share the core, and both count",
        main: String::new(),
        http: format!(
            "upstream decisions {{ server {}; keepalive 1100; keepalive_requests 1000000000; }}",
            decisions.endpoint.address
        ),
        server: "location = /decide {
            internal;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Content-Length \"\";
            proxy_pass_request_body off;
            proxy_set_header X-Original-Method $request_method;
            proxy_set_header X-Original-URL $scheme://$http_host$request_uri;
            proxy_pass http://decisions/v1/forward-auth;
        }"
        .to_owned(),
        location: "auth_request /decide;
            auth_request_set $key_id $upstream_http_x_wacht_key_id;
            auth_request_set $app $upstream_http_x_wacht_app_slug;\n"
            .to_owned()
            + IDENTITY,
    };
    let mut server = parts.start(setup).await?;
    server.processes.extend(&decisions.processes);
    Ok(server.beside(decisions))
}

/// What the upstream is told instead of the key.
const IDENTITY: &str = "proxy_set_header Authorization \"\";
            proxy_set_header Host $http_host;
            proxy_set_header X-Wacht-Key-ID $key_id;
            proxy_set_header X-Wacht-Deployment-ID 1;
            proxy_set_header X-Wacht-App-Slug $app;
            proxy_set_header X-Wacht-Key-Name bench;
            proxy_set_header X-Wacht-Permissions things:read;
            proxy_set_header X-Request-ID $request_id;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
";

impl Parts {
    async fn start(&self, setup: &Setup) -> Result<Server> {
        let address = free_address()?;
        let folder = peers::folder(setup, self.name)?;
        let file = folder.join("nginx.conf");
        std::fs::write(&file, self.configuration(&folder, address, setup.upstream)?)?;
        let mut command = Command::new("nginx");
        command
            .arg("-p")
            .arg(&folder)
            .arg("-c")
            .arg(&file)
            .args(["-e", "error.log"]);
        Server::foreign(setup, self.name, self.does, address, &mut command).await
    }

    fn configuration(&self, folder: &Path, address: SocketAddr, upstream: SocketAddr) -> Result<String> {
        let folder = folder.to_str().context("the temporary folder has no plain name")?;
        let mut temporary = String::new();
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            write!(temporary, "{kind}_temp_path {folder}/{kind}; ")?;
        }
        let Parts {
            main,
            http,
            server,
            location,
            ..
        } = self;
        let ssl = if self.name == peers::NGINX_TLS { " ssl" } else { "" };
        Ok(format!(
            "{main}
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; worker_rlimit_nofile 20000;
events {{ worker_connections 8192; }}
http {{
    access_log off; {temporary}
    keepalive_requests 1000000000; keepalive_timeout 3600s;
    upstream api {{
        server {upstream};
        keepalive 1100; keepalive_requests 1000000000; keepalive_timeout 3600s;
    }}
    {http}
    server {{
        listen {address}{ssl} backlog=4096;
        {server}
        location / {{
            {location}
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_max_temp_file_size 0;
            proxy_set_header Connection \"\";
            proxy_pass http://api;
        }}
    }}
}}
"
        ))
    }
}

/// Its version, as it tells it.
pub(crate) fn version() -> String {
    peers::version(Command::new("nginx").arg("-v"))
}

/// Whether the Lua module is installed.
pub(crate) fn has_lua() -> bool {
    PathBuf::from(MODULES).join("ngx_http_lua_module.so").exists()
}
