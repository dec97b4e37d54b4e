//! Who a counter counts: a rule, and the key, app or address that the rule tells apart.
//!
//! Decides which addresses are one client, and how subjects hash. Holds no counter; tables are keyed by it.

use siphasher::sip::SipHasher13;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;

/// Stands for the identity of a rule across edits of its scheme and restarts: scheme, mode, endpoints and position, under a
/// hash of 128 bits.
///
/// The second half alone says where its counters lie, so that those of rules which share it are found from one another: rules
/// of several schemes that take a subject's counter over from each other, see [`Subject::is_kin_of`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct RuleDigest(pub(crate) [u64; 2]);

impl RuleDigest {
    /// The rule, whoever takes its counters over.
    pub(crate) fn name(self) -> u64 {
        self.0[0]
    }
}

/// Set in [`Subject::owner`] when the network is IPv6, so that the two kinds never meet.
const IS_V6: u64 = 1 << 63;

/// The owner that stands for all who share a counter.
const SHARED: u64 = u64::MAX >> 1;

/// What the requests that share a counter have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Subject {
    /// The rule.
    pub(crate) rule: RuleDigest,
    /// The lineage of the key, or the id of the app or of the tenant, as the rule's mode says. The highest bit belongs to the network.
    pub(crate) owner: u64,
    /// Where from: an IPv4 address, or the first 64 bits of an IPv6 address; 0 when the rule does not look at addresses.
    pub(crate) network: u64,
}

impl Subject {
    /// A subject whom addresses do not tell apart. Ids are positive.
    pub(crate) fn anywhere(rule: RuleDigest, owner: i64) -> Subject {
        Subject {
            rule,
            owner: owner.cast_unsigned() & !IS_V6,
            network: 0,
        }
    }

    /// A subject at an address.
    pub(crate) fn at(rule: RuleDigest, owner: i64, network: Network) -> Subject {
        let anywhere = Subject::anywhere(rule, owner);
        match network {
            Network::V4(bits) => Subject {
                network: u64::from(bits),
                ..anywhere
            },
            Network::V6(bits) => Subject {
                owner: anywhere.owner | IS_V6,
                network: bits,
                ..anywhere
            },
        }
    }

    /// Those who share a counter under this rule.
    pub(crate) fn shared(rule: RuleDigest) -> Subject {
        Subject {
            rule,
            owner: SHARED,
            network: 0,
        }
    }

    /// Whether both are the same client under rules of which one takes the other's counter over.
    #[inline]
    pub(crate) fn is_kin_of(&self, other: &Subject) -> bool {
        (self.rule.0[1] ^ other.rule.0[1]) | (self.owner ^ other.owner) | (self.network ^ other.network) == 0
    }

    /// The same for all that are kin.
    pub(crate) fn kin(&self) -> Subject {
        Subject {
            rule: RuleDigest([0, self.rule.0[1]]),
            ..*self
        }
    }

    /// Whether it stands for those who share a counter.
    pub(crate) fn is_shared(&self) -> bool {
        self.owner == SHARED
    }

    /// Whether it is this owner, wherever from.
    pub(crate) fn is_of(&self, owner: i64) -> bool {
        self.owner & !IS_V6 == owner.cast_unsigned()
    }

    /// The owner's id.
    pub(crate) fn id(&self) -> i64 {
        (self.owner & !IS_V6).cast_signed()
    }

    /// Where from, for a rule that looks at addresses.
    pub(crate) fn network(&self) -> Network {
        if self.owner & IS_V6 == 0 {
            Network::V4(u32::try_from(self.network).unwrap_or(u32::MAX))
        } else {
            Network::V6(self.network)
        }
    }
}

/// The part of a client's address that identifies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// An IPv4 address.
    V4(u32),
    /// The first 64 bits of an IPv6 address: what one subscriber is given, and may spread over at will.
    V6(u64),
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

/// The bits of a hash in which those of kin differ. The others say where a counter lies.
const NAME_BITS: u64 = !0 << 40;

/// Whether the hashes of two subjects may be those of kin.
#[inline]
pub(crate) fn are_kin(left: u64, right: u64) -> bool {
    (left ^ right) & !NAME_BITS == 0
}

/// Hashes subjects, differently in every process.
///
/// Owner and network go through a multilinear hash with secret factors of 128 bits, of whose sum the upper half is kept: it is
/// strongly universal (Dietzfelbinger 1996; Lemire and Kaser 2014), so that any two subjects, whoever chose them without knowing
/// the secret, have the same 64 bits with a chance of 2^-64, and any place is as likely as another for both. Rules are added as
/// they are, being hashes already, so that one subject's under different rules differ for certain. A hash thereby stands for a
/// subject.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SubjectHasher {
    /// The secret.
    keys: [u64; 2],
    /// What is made of it.
    factors: [u128; 3],
}

impl std::fmt::Debug for SubjectHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubjectHasher").finish_non_exhaustive()
    }
}

impl SubjectHasher {
    /// A hasher with a secret of its own.
    pub(crate) fn new() -> SubjectHasher {
        SubjectHasher::of_keys([0, 1].map(|nth: u8| RandomState::new().hash_one(nth)))
    }

    /// The hasher with this secret.
    pub(crate) fn of_keys(keys: [u64; 2]) -> SubjectHasher {
        let word = |nth: u8| {
            let mut hasher = SipHasher13::new_with_keys(keys[0], keys[1]);
            hasher.write_u8(nth);
            u128::from(hasher.finish())
        };
        SubjectHasher {
            keys,
            factors: [0, 2, 4].map(|nth| word(nth) << 64 | word(nth + 1)),
        }
    }

    /// The secret.
    pub(crate) fn keys(&self) -> [u64; 2] {
        self.keys
    }

    /// The hash of a subject.
    #[inline]
    pub(crate) fn hash(&self, subject: &Subject) -> u64 {
        let [owner, network, start] = self.factors;
        let sum = owner
            .wrapping_mul(u128::from(subject.owner))
            .wrapping_add(network.wrapping_mul(u128::from(subject.network)))
            .wrapping_add(start);
        let half = u64::try_from(sum >> 64).unwrap_or(0);
        let [name, place] = subject.rule.0;
        if subject.is_shared() {
            // Nobody takes over what others share.
            stirred(half.wrapping_add(name))
        } else {
            stirred(half.wrapping_add(place)) ^ name & NAME_BITS
        }
    }
}

/// One to one, so that what differs still does. Ids are numbered one after the other, whose sums would lie at equal distances.
#[inline]
fn stirred(sum: u64) -> u64 {
    let product = (sum ^ sum >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ product >> 32
}

/// A subject and its hash, computed once for the choice of the shard and the look-up in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hashed {
    /// The hash.
    pub(crate) hash: u64,
    /// The subject.
    pub(crate) subject: Subject,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_apart_by_what_one_client_cannot_choose() {
        let network = |text: &str| Subject::at(RuleDigest::default(), 1, Network::of(text.parse().unwrap()));
        let check = |left: &str, right: &str, is_same: bool| {
            assert_eq!(network(left) == network(right), is_same, "{left} {right}");
        };
        check("192.0.2.1", "192.0.2.1", true);
        check("192.0.2.1", "192.0.2.2", false);
        check("192.0.2.1", "::ffff:192.0.2.1", true);
        check("2001:db8::1", "2001:db8::ffff:1", true);
        check("2001:db8::1", "2001:db8:0:1::1", false);
        check("0.0.0.1", "::1", false);
        check("0.0.0.0", "::", false);
        check("192.0.2.1", "0:0:c000:201::", false);
    }

    #[test]
    fn numbers_in_a_row_spread_under_any_secret() {
        for secret in 0..500 {
            let hasher = SubjectHasher::of_keys([secret, 1]);
            let shard = |id| hasher.hash(&Subject::anywhere(RuleDigest([1, 2]), id)).to_be_bytes()[3];
            let shards: std::collections::BTreeSet<u8> = (0..256).map(shard).collect();
            // Drawn at random they would meet 162, give or take 6.
            assert!((125..200).contains(&shards.len()), "secret {secret}: {}", shards.len());
        }
    }

    #[test]
    fn hashes_spread_over_both_halves() {
        let hasher = SubjectHasher::new();
        let rule = RuleDigest([0x0123_4567_89ab_cdef, 0x0f1e_2d3c_4b5a_6978]);
        for shift in [0, 32] {
            let mut buckets = [0_u32; 256];
            for id in 0..65_536 {
                let hash = hasher.hash(&Subject::anywhere(rule, id)) >> shift;
                buckets[usize::try_from(hash & 0xff).unwrap()] += 1;
                let hash = hasher.hash(&Subject::at(rule, 7, Network::V4(u32::try_from(id).unwrap() << 8))) >> shift;
                buckets[usize::try_from(hash & 0xff).unwrap()] += 1;
            }
            assert!(
                buckets.iter().all(|&count| (256..1_024).contains(&count)),
                "{buckets:?}"
            );
        }
    }
}
