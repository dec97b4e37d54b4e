//! The parts of the comparison: which servers meet which load.
//!
//! Decides targets and loads; the rotation measures, the page shows.

use super::arguments::Arguments;
use super::portcullis::Mode;
use super::progress;
use super::requests::{Keys, Order, Requests, Template};
use super::rotation::{self, Measured, Target};
use super::server::{Server, Setup};
use super::servers::{Servers, Which};
use crate::limiters::draws::Spread;
use crate::limiters::figures::thousands;
use anyhow::Result;
use clap::ValueEnum;
use std::rc::Rc;
use std::sync::Arc;

/// Connections of the load generator, where nothing else is said.
const CONNECTIONS: usize = 64;
/// Connections for bodies that are large.
const CONNECTIONS_FOR_LARGE: usize = 8;
const PATH: &str = "/v1/things";

/// Gateways that ask for keys, and carry requests on.
const KEYED: [Which; 3] = [Which::NginxMap, Which::HaproxyMap, Which::Own(Mode::Proxy)];

/// A part of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Section {
    /// Keys drawn at random from 100 k; TLS and the decision API too.
    Mixed,
    /// One key again and again.
    OneKey,
    /// Keys that open nothing.
    Junk,
    /// Answers of 0 B, 64 KiB and 10 MiB, and uploads.
    Bodies,
    /// 1 and 1 024 connections.
    Connections,
    /// 1 k to 1 M keys.
    Keys,
    /// One worker and two.
    Workers,
    /// Memory, idle connections, start-up; a page of its own.
    Scale,
}

/// One table of a section.
pub(crate) struct Table {
    pub(crate) section: Section,
    pub(crate) caption: String,
    /// The base first.
    pub(crate) measured: Vec<Measured>,
}

/// A load, without the server that meets it.
struct Load {
    template: Template,
    keys: Arc<Keys>,
    order: Order,
    connections: usize,
    statuses: &'static [u16],
}

impl Load {
    fn usual(setup: &Setup) -> Load {
        Load {
            template: Template::get(PATH),
            keys: Arc::clone(&setup.keys),
            order: Order::drawn(setup.key_count(), Spread::Uniform),
            connections: CONNECTIONS,
            statuses: &[200],
        }
    }

    fn on(&self, server: &Rc<Server>) -> Target {
        Target {
            server: Rc::clone(server),
            name: server.name.clone(),
            requests: Requests::new(self.template.clone(), &self.keys, &self.order),
            connections: self.connections,
            statuses: self.statuses,
        }
    }
}

/// Measures sections and gathers their tables.
pub(crate) struct Course<'a> {
    pub(crate) servers: Servers<'a>,
    arguments: &'a Arguments,
    pub(crate) tables: Vec<Table>,
}

impl<'a> Course<'a> {
    /// Measures nothing yet.
    pub(crate) fn new(servers: Servers<'a>, arguments: &'a Arguments) -> Course<'a> {
        Course {
            servers,
            arguments,
            tables: Vec::new(),
        }
    }

    /// Measures a section; scale is another module's.
    pub(crate) async fn measure(&mut self, section: Section) -> Result<()> {
        match section {
            Section::Mixed => self.mixed().await,
            Section::OneKey => self.one_key().await,
            Section::Junk => self.junk().await,
            Section::Bodies => self.bodies().await,
            Section::Connections => self.connections().await,
            Section::Keys => self.keys().await,
            Section::Workers => self.workers().await,
            Section::Scale => Ok(()),
        }
    }

    async fn mixed(&mut self) -> Result<()> {
        let proxies = [
            Which::Relay,
            Which::HaproxyBare,
            Which::NginxMap,
            Which::Own(Mode::Proxy),
            Which::HaproxyMap,
            Which::NginxLua,
            Which::Own(Mode::Preloaded),
            Which::Own(Mode::WithoutLimits),
            Which::Own(Mode::Pingora),
            Which::HaproxyHashed,
            Which::NginxAuthRequest,
            Which::EnvoyBare,
            Which::EnvoyKeys,
        ];
        let load = Load::usual(&self.servers.setup);
        self.table(Section::Mixed, "1 KiB answers, 64 connections", &load, &proxies)
            .await?;
        let decision = Load {
            template: Template::decision(),
            ..Load::usual(&self.servers.setup)
        };
        let base = self.servers.base(Which::NginxBare).await?;
        let decisions = self.warm(&decision, &[Which::Own(Mode::Decisions)]).await?;
        self.rotate(
            Section::Mixed,
            "the decision API; nginx carries requests as above",
            &load.on(&base),
            &decisions,
        )?;
        let base = self.servers.base(Which::NginxTls).await?;
        let over_tls = self.warm(&load, &[Which::Own(Mode::Tls)]).await?;
        self.rotate(
            Section::Mixed,
            "over TLS 1.3; the base is nginx over TLS",
            &load.on(&base),
            &over_tls,
        )
    }

    async fn one_key(&mut self) -> Result<()> {
        let mut load = Load::usual(&self.servers.setup);
        load.order = Order::one();
        let keyed = [
            Which::NginxMap,
            Which::Own(Mode::Proxy),
            Which::HaproxyMap,
            Which::NginxLua,
            Which::Own(Mode::Pingora),
            Which::HaproxyHashed,
            Which::EnvoyKeys,
        ];
        self.table(Section::OneKey, "1 KiB answers, 64 connections", &load, &keyed)
            .await
    }

    /// Both kinds of junk meet every gateway; those that know no checksum see no difference.
    async fn junk(&mut self) -> Result<()> {
        let keyed = [
            Which::NginxMap,
            Which::Own(Mode::Proxy),
            Which::HaproxyMap,
            Which::EnvoyKeys,
        ];
        let count = self.servers.setup.keys.count();
        let base = self.servers.base(Which::NginxBare).await?;
        let base = Load::usual(&self.servers.setup).on(&base);
        for (caption, keys) in [
            ("wrong checksums", Keys::generate(count)?.with_wrong_checksums()),
            ("good checksums, and nobody's keys", Keys::generate(count)?),
        ] {
            let load = Load {
                keys: Arc::new(keys),
                // An address that guesses too often is told so.
                statuses: &[401, 403, 429],
                ..Load::usual(&self.servers.setup)
            };
            let servers = self.servers.wanted(&keyed).await?;
            let targets: Vec<Target> = servers.iter().map(|server| load.on(server)).collect();
            self.rotate(Section::Junk, caption, &base, &targets)?;
        }
        Ok(())
    }

    async fn bodies(&mut self) -> Result<()> {
        for (caption, bytes, connections) in [
            ("0 B, 64 connections", 0, CONNECTIONS),
            ("64 KiB, 64 connections", 65_536, CONNECTIONS),
            ("10 MiB, 8 connections", 10_485_760, CONNECTIONS_FOR_LARGE),
        ] {
            let load = Load {
                template: Template::get(&format!("/b/{bytes}")),
                connections,
                ..Load::usual(&self.servers.setup)
            };
            self.table(Section::Bodies, caption, &load, &KEYED).await?;
        }
        for (caption, bytes) in [
            ("uploads of 1 KiB, 64 connections", 1_024),
            ("uploads of 64 KiB, 64 connections", 65_536),
        ] {
            let load = Load {
                template: Template::post(PATH, bytes),
                ..Load::usual(&self.servers.setup)
            };
            self.table(Section::Bodies, caption, &load, &KEYED).await?;
        }
        Ok(())
    }

    async fn workers(&mut self) -> Result<()> {
        let load = Load::usual(&self.servers.setup);
        let both = [Which::Own(Mode::Proxy), Which::Own(Mode::TwoWorkers)];
        self.table(Section::Workers, "1 KiB answers, 64 connections", &load, &both)
            .await
    }

    async fn connections(&mut self) -> Result<()> {
        for (caption, connections) in [("1 connection", 1), ("1 024 connections", 1_024)] {
            let load = Load {
                connections,
                ..Load::usual(&self.servers.setup)
            };
            self.table(Section::Connections, caption, &load, &KEYED).await?;
        }
        Ok(())
    }

    /// One gateway that knows a million keys, of which more and more come.
    async fn keys(&mut self) -> Result<()> {
        let million = if self.arguments.is_quick { 10_000 } else { 1_000_000 };
        let keys = Arc::new(Keys::generate(usize::try_from(million)?)?);
        let setup = self.servers.setup.with_keys(&keys, "keys");
        let base = self.servers.base(Which::NginxBare).await?;
        let base = Load::usual(&self.servers.setup).on(&base);
        let mut targets = Vec::new();
        for build in &self.arguments.builds {
            if !self.arguments.wants(&build.label) {
                continue;
            }
            progress(&format!("{}: {million} keys", build.label));
            let server = Rc::new(build.start(&setup, Mode::Proxy).await?);
            let load = |order| Load {
                keys: Arc::clone(&keys),
                order,
                ..Load::usual(&setup)
            };
            rotation::warm(&load(Order::each(million)).on(&server))?;
            for spread in [Spread::Zipf, Spread::Uniform] {
                for count in [million / 1_000, million / 100, million / 10, million] {
                    let mut target = load(Order::drawn(count, spread)).on(&server);
                    let drawn = if count.is_multiple_of(1_000) {
                        thousands(count)
                    } else {
                        count.to_string()
                    };
                    target.name = format!("{}, {drawn} keys, {}", build.label, spread.name());
                    targets.push(target);
                }
            }
        }
        self.rotate(
            Section::Keys,
            "a store of a million keys, of which so many come",
            &base,
            &targets,
        )
    }

    async fn table(&mut self, section: Section, caption: &str, load: &Load, all: &[Which]) -> Result<()> {
        let base = self.servers.base(Which::NginxBare).await?;
        let targets = self.warm(load, all).await?;
        self.rotate(section, caption, &load.on(&base), &targets)
    }

    /// Targets that have each seen every key once.
    async fn warm(&mut self, load: &Load, all: &[Which]) -> Result<Vec<Target>> {
        let servers = self.servers.wanted(all).await?;
        for server in &servers {
            let each = Load {
                order: Order::each(self.servers.setup.key_count()),
                template: load.template.clone(),
                keys: Arc::clone(&load.keys),
                connections: CONNECTIONS,
                statuses: load.statuses,
            };
            if server.first_use() {
                progress(&format!("each key once: {}", server.name));
                rotation::warm(&each.on(server))?;
            }
        }
        Ok(servers.iter().map(|server| load.on(server)).collect())
    }

    fn rotate(&mut self, section: Section, caption: &str, base: &Target, targets: &[Target]) -> Result<()> {
        if targets.is_empty() {
            return Ok(());
        }
        progress(&format!("{section:?}: {caption}"));
        let measured = rotation::rotate(base, targets, self.arguments.effort, &self.servers.setup.cores)?;
        self.tables.push(Table {
            section,
            caption: caption.to_owned(),
            measured,
        });
        Ok(())
    }
}
