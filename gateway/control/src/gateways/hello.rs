//! What a gateway says of itself, held to what can be shown, stored and waited for.

use crate::gateways::watcher::End;
use portcullis_sync::message::Hello;
use portcullis_verify::Version;

/// The longest `stale_max` of a gateway, as configuration has it.
const STALE_MAX_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1_000;
/// Longest name and longest version of a gateway.
const NAME_BYTES_MAX: usize = 255;
/// The largest number that can be stored.
const NUMBER_MAX: u64 = i64::MAX.cast_unsigned();

/// Whether a hello can be taken.
pub(super) fn check(hello: &Hello) -> Result<(), End> {
    if hello.gateway_id.len() != 32 || !hello.gateway_id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(End::Absurd("its id is not 32 hexadecimal digits"));
    }
    for text in [&hello.name, &hello.version] {
        if text.is_empty() || text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(End::Absurd(
                "its name or its version is empty, too long or not one line",
            ));
        }
    }
    if hello.stale_max_ms > STALE_MAX_MS_MAX {
        return Err(End::Absurd("it would trust what it holds for more than seven days"));
    }
    hello.applied.map_or(Ok(()), check_version)
}

/// Whether a version can be one of a log.
pub(super) fn check_version(version: Version) -> Result<(), End> {
    if version.epoch > NUMBER_MAX || version.revision > NUMBER_MAX {
        return Err(End::Absurd("it has applied what no log can hold"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_shown_stored_and_waited_for_is_taken() {
        fn check_hello(change: impl FnOnce(&mut Hello), is_taken: bool) {
            let mut hello = Hello {
                gateway_id: "0123456789abcdef0123456789ABCDEF".to_owned(),
                name: "edge-1".to_owned(),
                version: "1.0.0".to_owned(),
                stale_max_ms: 30_000,
                serves_stale: false,
                applied: None,
            };
            change(&mut hello);
            assert_eq!(check(&hello).is_ok(), is_taken, "{hello:?}");
        }
        check_hello(|_| {}, true);
        check_hello(|hello| hello.gateway_id.push('0'), false);
        check_hello(|hello| hello.gateway_id = "g".repeat(32), false);
        check_hello(|hello| hello.name.clear(), false);
        check_hello(|hello| hello.name = "n".repeat(255), true);
        check_hello(|hello| hello.name = "n".repeat(256), false);
        check_hello(|hello| hello.name.push('\n'), false);
        check_hello(|hello| hello.version = "v".repeat(256), false);
        check_hello(|hello| hello.stale_max_ms = STALE_MAX_MS_MAX, true);
        check_hello(|hello| hello.stale_max_ms = STALE_MAX_MS_MAX + 1, false);
        let at = |epoch, revision| Some(Version { epoch, revision });
        check_hello(|hello| hello.applied = at(NUMBER_MAX, NUMBER_MAX), true);
        check_hello(|hello| hello.applied = at(NUMBER_MAX + 1, 1), false);
        check_hello(|hello| hello.applied = at(1, NUMBER_MAX + 1), false);
    }
}
