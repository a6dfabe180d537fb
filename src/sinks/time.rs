//! Wall time for humans: RFC 3339 in UTC, to the nanosecond.

/// `2026-11-24T03:17:36.000000000Z` for nanoseconds since 1970; years before 0 or after 9999 cannot occur in 64 bits.
///
/// The date is computed as Howard Hinnant describes in "chrono-Compatible Low-Level Date Algorithms", function
/// `civil_from_days` (<https://howardhinnant.github.io/date_algorithms.html>): the calendar repeats every 400 years of
/// 146097 days, counted here from 0000-03-01 so that the leap day ends a year.
pub(crate) fn rfc3339(wall_ns: i64) -> String {
    let second = wall_ns.div_euclid(1_000_000_000);
    let nanos = wall_ns.rem_euclid(1_000_000_000);
    let (days, in_day) = (second.div_euclid(86_400), second.rem_euclid(86_400));
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (in_day / 3600, in_day / 60 % 60, in_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    // Seconds by `date -u -d ... +%s`.
    #[test]
    fn dates() {
        for (seconds, wanted) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (951_868_800, "2000-03-01T00:00:00"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (1_795_490_256, "2026-11-24T03:17:36"),
            (-1, "1969-12-31T23:59:59"),
        ] {
            let wanted = format!("{wanted}.000000000Z");
            assert_eq!(rfc3339(seconds * 1_000_000_000), wanted);
        }
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(rfc3339(i64::MAX), "2262-04-11T23:47:16.854775807Z");
        assert_eq!(rfc3339(i64::MIN), "1677-09-21T00:12:43.145224192Z");
    }
}
