//! Where every process of the fleet is spoken to now, for whoever calls and asks while they come and go.
//!
//! Holds addresses only; the cluster writes them.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

/// Where a running gateway is spoken to.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Its reverse proxy.
    pub proxy: SocketAddr,
    /// Its metrics.
    pub admin: SocketAddr,
    /// How often it had been started before.
    pub life: u32,
}

/// Where everything is now. Shared with whoever calls and asks; `None` is down.
#[derive(Debug)]
pub struct Places {
    controls: Mutex<Vec<Option<SocketAddr>>>,
    gateways: Mutex<Vec<Option<Place>>>,
}

impl Places {
    /// Places for so many, all of them down.
    pub fn new(controls: usize, gateways: usize) -> Places {
        Places {
            controls: Mutex::new(vec![None; controls]),
            gateways: Mutex::new(vec![None; gateways]),
        }
    }

    /// The control APIs that are up.
    pub fn controls(&self) -> Vec<SocketAddr> {
        let controls = self.controls.lock().unwrap_or_else(PoisonError::into_inner);
        controls.iter().flatten().copied().collect()
    }

    /// A control API, when it is up.
    pub fn control(&self, number: usize) -> Option<SocketAddr> {
        self.controls.lock().unwrap_or_else(PoisonError::into_inner)[number]
    }

    /// A gateway, when it is up.
    pub fn gateway(&self, number: usize) -> Option<Place> {
        self.gateways.lock().unwrap_or_else(PoisonError::into_inner)[number]
    }

    /// Writes down where a control API is.
    pub fn set_control(&self, number: usize, address: Option<SocketAddr>) {
        self.controls.lock().unwrap_or_else(PoisonError::into_inner)[number] = address;
    }

    /// Writes down where a gateway is.
    pub fn set_gateway(&self, number: usize, place: Option<Place>) {
        self.gateways.lock().unwrap_or_else(PoisonError::into_inner)[number] = place;
    }
}
