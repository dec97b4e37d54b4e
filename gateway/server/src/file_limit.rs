//! How many files the process may open, and how many connections that leaves room for.
//!
//! A client's connection takes one, and the connection to its upstream another. Called by `wiring`, once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Of so many files that may be open, this share may be connections of clients.
const CLIENT_SHARE: (u64, u64) = (3, 4);

/// Raises the soft limit to the hard one, and gives the connections that may be open at once: `wished`, or fewer.
pub(crate) fn connections_max(wished: usize) -> usize {
    let limit = raised();
    let room = limit.map_or(usize::MAX, room_of);
    if room < wished {
        tracing::warn!(
            file_limit = limit,
            connections_max = room,
            "gateway.connections_max is more than this process may open files for, and is lowered"
        );
    }
    wished.min(room)
}

/// The limit after it was raised; `None` is no limit.
fn raised() -> Option<u64> {
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => now.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised");
            now.current
        }
    }
}

fn room_of(limit: u64) -> usize {
    let (part, of) = CLIENT_SHARE;
    usize::try_from(limit.saturating_mul(part) / of)
        .unwrap_or(usize::MAX)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(limit: u64, room: usize) {
        assert_eq!(room_of(limit), room, "of {limit} files");
    }

    #[test]
    fn a_quarter_of_the_files_is_left_for_upstreams() {
        check(1_024, 768);
        check(20_000, 15_000);
        check(1, 1);
        check(u64::MAX, usize::try_from(u64::MAX / 4).unwrap());
    }

    #[test]
    fn the_limit_is_raised_as_far_as_it_goes() {
        assert_eq!(raised(), getrlimit(Resource::Nofile).maximum);
        assert_eq!(getrlimit(Resource::Nofile).current, raised());
        assert_eq!(connections_max(1), 1);
    }
}
