//! How far the clocks of other machines are from ours.

use chassis::Finding;

/// A clock that was asked.
pub(super) struct Seen {
    pub(super) who: String,
    /// Negative when it is behind.
    pub(super) ahead_ms: i64,
    pub(super) doubt_ms: i64,
}

/// Beyond the first, expiry and statistics are visibly wrong; beyond the second, changes may be lost behind older ones.
const WARN_MS: i64 = 500;
const FAIL_MS: i64 = 5_000;

/// Only what is certain counts.
pub(super) fn judge(name: &str, clocks: impl Iterator<Item = Seen>) -> Finding {
    let certain = |seen: &Seen| (seen.ahead_ms.abs() - seen.doubt_ms).max(0);
    let Some(worst) = clocks.max_by_key(certain) else { return Finding::ok(name, "none was asked") };
    let off_ms = certain(&worst);
    let side = if worst.ahead_ms < 0 { "behind" } else { "ahead of" };
    let detail = format!("{} is {} ms {side} this machine, ± {} ms", worst.who, worst.ahead_ms.abs(), worst.doubt_ms);
    let mend = format!("on both machines: timedatectl set-ntp true; chronyc tracking shows the offset ({})", worst.who);
    if off_ms > FAIL_MS {
        Finding::fail(name, detail, mend)
    } else if off_ms > WARN_MS {
        Finding::warn(name, detail, mend)
    } else {
        Finding::ok(name, format!("at most {} ms from this machine's", worst.ahead_ms.abs() + worst.doubt_ms))
    }
}

#[cfg(test)]
mod tests {
    use chassis::Status;

    use super::*;

    #[test]
    fn only_certain_offsets_count() {
        for (ahead_ms, doubt_ms, status) in [
            (0, 1, Status::Ok),
            (501, 1, Status::Ok),
            (-502, 1, Status::Warn),
            (900, 1_000, Status::Ok),
            (5_002, 1, Status::Fail),
            (-60_000, 500, Status::Fail),
        ] {
            let seen = [Seen { who: "a".into(), ahead_ms: 0, doubt_ms: 1 }, Seen { who: "b".into(), ahead_ms, doubt_ms }];
            assert_eq!(judge("clocks", seen.into_iter()).status, status, "{ahead_ms} ± {doubt_ms}");
        }
        assert_eq!(judge("clocks", std::iter::empty()).status, Status::Ok);
    }
}
