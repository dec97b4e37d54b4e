//! The gateway under attack: its listeners, what it weighs, and what it counts.

use crate::customer::Customer;
use crate::support::control::Issued;
use crate::support::{self, Server};
use std::net::SocketAddr;

const GATEWAY_TOKEN: &str = "test-gateway-token-0123456789";

/// A gateway with a good customer and an upstream.
pub(crate) struct Gateway {
    pub(crate) server: Server,
    /// A good key, and one of an app that went bad.
    pub(crate) good: Issued,
    pub(crate) bad: Issued,
    pub(crate) plain: SocketAddr,
    pub(crate) h2c: SocketAddr,
    pub(crate) tls: SocketAddr,
}

/// Three listeners, and limits so high that nobody meets them.
fn config(upstream: SocketAddr, gateway: &str) -> String {
    let certificates = support::root().join("gateway/proxy/tests/certificates");
    let file = |name: &str| certificates.join(name).display().to_string();
    format!(
        "[gateway]\n\
         listen = [\"127.0.0.1:0\", {{ address = \"127.0.0.1:0\", h2c = true }}, \
         {{ address = \"127.0.0.1:0\", tls = {{ cert = \"{}\", key = \"{}\" }} }}]\n\
         {gateway}\n\
         [[limits.default_rules]]\nunit = \"second\"\nduration = 1\nmax_requests = 1000000\nmode = \"per_key\"\n\
         {}",
        file("server.pem"),
        file("server.key"),
        support::route(upstream, &["good", "bad"]),
    )
}

impl Gateway {
    /// Starts one with these lines in `[gateway]`.
    pub(crate) async fn start(upstream: SocketAddr, gateway: &str) -> Gateway {
        let server = Server::start(&config(upstream, gateway)).await;
        let keys = keys(&server).await;
        Gateway::found(server, keys)
    }

    /// Starts one apart from its control API, and that.
    pub(crate) async fn elsewhere(upstream: SocketAddr) -> (Server, Gateway) {
        let token = [("PORTCULLIS_BOOTSTRAP_GATEWAY_TOKEN", GATEWAY_TOKEN)];
        let control = Server::start_with("", &token).await;
        let keys = keys(&control).await;
        let server = Server::gateway(control.control, GATEWAY_TOKEN, &config(upstream, "")).await;
        (control, Gateway::found(server, keys))
    }

    fn found(server: Server, [good, bad]: [Issued; 2]) -> Gateway {
        let listeners = server.listening()["proxy"].clone();
        let [plain, h2c, tls] = listeners[..] else {
            panic!("three listeners: {listeners:?}")
        };
        Gateway {
            server,
            good,
            bad,
            plain,
            h2c,
            tls,
        }
    }

    /// The good customer.
    pub(crate) fn customer(&self) -> Customer {
        Customer::new(self.plain, &self.good.secret)
    }

    /// What the process holds in memory, in KiB.
    pub(crate) fn rss_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.server.pid());
        let status = std::fs::read_to_string(path).expect("the process runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// A metric's value; all its series whose labels contain `label` together.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> f64 {
        let url = format!("http://{}/metrics", self.server.admin);
        let answer = support::client().get(url).send().await.expect("metrics");
        let text = answer.text().await.expect("text");
        text.lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .filter(|line| line.contains(label))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Connections turned away for this reason.
    pub(crate) async fn turned_away(&self, reason: &str) -> f64 {
        self.metric("portcullis_connections_turned_away_total", reason).await
    }

    /// Waits until a gauge stands at so much.
    pub(crate) async fn stands_at(&self, gauge: &str, label: &str, enough: f64) {
        support::eventually(gauge, async || {
            (self.metric(gauge, label).await >= enough).then_some(())
        })
        .await;
    }
}

/// A key of the good app and one of the bad.
async fn keys(control: &Server) -> [Issued; 2] {
    let api = control.api();
    for app in ["good", "bad"] {
        api.app(app).await;
    }
    [api.key("good").await, api.key("bad").await]
}
