//! New ids: positive 63-bit numbers, 41 bits of milliseconds since 2025 above 22 random bits, ever rising.
//!
//! Counted ids would tell strangers how many keys there are, and a restored backup would hand the lost ones out a
//! second time; these do neither. Order by id is order of creation. Callers are the `create_*` calls.

use crate::StoreError;
use crate::database::Connection;
use crate::sql::sql;
use jiff::Timestamp;

const RANDOM_BITS: u32 = 22;
const MILLISECONDS_MAX: i64 = (1 << (63 - RANDOM_BITS)) - 1;
/// 2025-01-01T00:00:00Z.
const START_MS: i64 = 1_735_689_600_000;

/// An id that was never given out, by this process or another. While the clock stands or is set back, ids are counted
/// on.
pub(crate) async fn take(connection: &mut Connection, now: Timestamp) -> Result<i64, StoreError> {
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(StoreError::unavailable)?;
    let row = sql("UPDATE id_head SET last_id = CASE WHEN last_id < $1 THEN $1 ELSE last_id + 1 END RETURNING last_id")
        .bind(timed(now, u32::from_le_bytes(random)))
        .fetch_one(connection)
        .await?;
    Ok(row.try_get("last_id")?)
}

fn timed(now: Timestamp, random: u32) -> i64 {
    let milliseconds = (now.as_millisecond() - START_MS).clamp(0, MILLISECONDS_MAX);
    (milliseconds << RANDOM_BITS) | i64::from(random >> (u32::BITS - RANDOM_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_carries_its_time_and_stays_positive() {
        fn check(now: &str, random: u32, id: i64) {
            assert_eq!(timed(now.parse().unwrap(), random), id, "{now} {random:#x}");
        }
        check("2025-01-01T00:00:00Z", 0, 0);
        check("2025-01-01T00:00:00.0019Z", u32::MAX, (2 << RANDOM_BITS) - 1);
        check("1970-01-01T00:00:00Z", u32::MAX, (1 << RANDOM_BITS) - 1);
        check("9999-12-30T00:00:00Z", u32::MAX, i64::MAX);
    }
}
