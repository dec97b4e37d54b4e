//! Who a counter counts: a rule, and the key, app or address that the rule tells apart.
//!
//! Decides which addresses are one client. Holds no counter; tables are keyed by it.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

/// Stands for the identity of a rule across edits of its scheme: tenant, scheme, mode, endpoints and position, under a
/// keyed hash of 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RuleDigest(pub(crate) [u64; 2]);

/// What the requests that share a counter have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The rule.
    pub(crate) rule: RuleDigest,
    /// The lineage of the key or the id of the app, as the rule's mode says; 0 when it tells neither apart.
    pub(crate) owner: i64,
    /// Where from.
    pub(crate) network: Network,
}

/// The part of a client's address that identifies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// The rule does not look at addresses.
    Any,
    /// An IPv4 address.
    V4(u32),
    /// The first 64 bits of an IPv6 address: what one subscriber is given, and may spread over at will.
    V6(u64),
}

impl Hash for Subject {
    /// Folds what a stranger cannot choose (the digest is keyed, the owner is ours) so that only 16 bytes are hashed.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let bits = match self.network {
            Network::Any => 0,
            Network::V4(bits) => u64::from(bits),
            Network::V6(bits) => bits,
        };
        state.write_u64(self.rule.0[0] ^ self.owner.cast_unsigned());
        state.write_u64(bits);
    }
}

impl Network {
    /// The network of an address. IPv4-mapped addresses are IPv4.
    pub(crate) fn of(address: IpAddr) -> Network {
        match address.to_canonical() {
            IpAddr::V4(v4) => Network::V4(v4.to_bits()),
            IpAddr::V6(v6) => Network::V6(u64::try_from(v6.to_bits() >> 64).unwrap_or(u64::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_is_one_network() {
        let check = |left: &str, right: &str, same: bool| {
            let network = |text: &str| Network::of(text.parse().unwrap());
            assert_eq!(network(left) == network(right), same, "{left} and {right}");
        };
        check("192.0.2.1", "192.0.2.1", true);
        check("192.0.2.1", "192.0.2.2", false);
        check("192.0.2.1", "::ffff:192.0.2.1", true);
        check("::ffff:192.0.2.1", "::ffff:192.0.2.2", false);
        check("2001:db8::1", "2001:db8::ffff:1:2:3", true);
        check("2001:db8::1", "2001:db8:0:1::1", false);
        check("::", "0.0.0.0", false);
        check("::1", "::2", true);
    }
}
