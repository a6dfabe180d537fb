//! Time codes (CCSDS 301.0-B): CUC, unsegmented, and CDS, segmented by days.

/// Days from 1958-01-01, the epoch of both codes, to 1970-01-01.
const EPOCH_DAYS: i128 = 4383;
const DAY_NS: i128 = 86_400_000_000_000;
const SECOND_NS: i128 = 1_000_000_000;

/// The UTC seconds since 1970 at which TAI-UTC became 11, 12, ... 37 s, from IERS Bulletin C; no leap second was
/// announced after the last. Before 1972, 10 s.
const LEAPS: [i64; 27] = [
    78_796_800,
    94_694_400,
    126_230_400,
    157_766_400,
    189_302_400,
    220_924_800,
    252_460_800,
    283_996_800,
    315_532_800,
    362_793_600,
    394_329_600,
    425_865_600,
    489_024_000,
    567_993_600,
    631_152_000,
    662_688_000,
    709_948_800,
    741_484_800,
    773_020_800,
    820_454_400,
    867_715_200,
    915_148_800,
    1_136_073_600,
    1_230_768_000,
    1_341_100_800,
    1_435_708_800,
    1_483_228_800,
];

/// The seconds that TAI is ahead of UTC, where TAI stands so many seconds after 1970.
fn leap_seconds(tai_s: i128) -> i128 {
    let ahead = LEAPS.iter().zip(11..);
    let passed = ahead.take_while(|(at, ahead)| i128::from(**at) + ahead <= tai_s);
    passed.last().map_or(10, |(_, ahead)| ahead)
}

/// Where a count of seconds or days begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epoch {
    /// 1958-01-01: TAI for CUC, UTC for CDS.
    Ccsds,
    /// The agency's own, in seconds since 1970; it counts without leap seconds.
    Agency(i64),
}

/// A time code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Seconds, and a binary fraction.
    Cuc {
        /// Bytes of seconds: 1 to 7.
        coarse_bytes: u8,
        /// Bytes of the fraction: 0 to 10.
        fine_bytes: u8,
        /// Epoch.
        epoch: Epoch,
    },
    /// Days, milliseconds of the day, and a part of a millisecond.
    Cds {
        /// Bytes of days: 2 or 3.
        day_bytes: u8,
        /// Bytes of the part: 0, 2 (microseconds) or 4 (picoseconds).
        part_bytes: u8,
        /// Epoch.
        epoch: Epoch,
    },
}

/// Why there is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not enough bytes.
    #[error("the time code is cut off")]
    Short,
    /// Another code.
    #[error("the time code is of a kind that is not read here")]
    Kind,
    /// Milliseconds beyond the day, or a time beyond 64 bits of nanoseconds.
    #[error("the time is out of range")]
    Range,
}

impl Code {
    /// Reads the preamble (P field) that says which code follows, and what is behind it. An agency's epoch is not in it.
    pub fn preamble(bytes: &[u8], agency_epoch_s: i64) -> Result<(Code, &[u8]), TimeError> {
        let (first, mut rest) = bytes.split_first().ok_or(TimeError::Short)?;
        let extended = first & 0x80 != 0;
        let epoch = |own: bool| {
            if own {
                Epoch::Agency(agency_epoch_s)
            } else {
                Epoch::Ccsds
            }
        };
        let code = match first >> 4 & 7 {
            kind @ (1 | 2) => {
                let (mut coarse, mut fine) = ((first >> 2 & 3) + 1, first & 3);
                if extended {
                    let (second, behind) = rest.split_first().ok_or(TimeError::Short)?;
                    if second & 0x80 != 0 {
                        return Err(TimeError::Kind);
                    }
                    coarse += second >> 5 & 3;
                    fine += second >> 2 & 7;
                    rest = behind;
                }
                Code::Cuc {
                    coarse_bytes: coarse,
                    fine_bytes: fine,
                    epoch: epoch(kind == 2),
                }
            }
            4 if !extended => Code::Cds {
                day_bytes: if first & 4 == 0 { 2 } else { 3 },
                part_bytes: match first & 3 {
                    0 => 0,
                    1 => 2,
                    2 => 4,
                    _ => return Err(TimeError::Kind),
                },
                epoch: epoch(first & 8 != 0),
            },
            _ => return Err(TimeError::Kind),
        };
        Ok((code, rest))
    }

    /// Length of the time without preamble, in bytes.
    pub fn length_bytes(&self) -> usize {
        match self {
            Code::Cuc {
                coarse_bytes,
                fine_bytes,
                ..
            } => usize::from(*coarse_bytes) + usize::from(*fine_bytes),
            Code::Cds {
                day_bytes,
                part_bytes,
                ..
            } => usize::from(*day_bytes) + 4 + usize::from(*part_bytes),
        }
    }

    /// Reads a time, as UTC in nanoseconds since 1970, rounded down.
    pub fn read(&self, bytes: &[u8]) -> Result<i64, TimeError> {
        let bytes = bytes.get(..self.length_bytes()).ok_or(TimeError::Short)?;
        let ns = match *self {
            Code::Cuc {
                coarse_bytes,
                epoch,
                ..
            } => cuc(bytes, usize::from(coarse_bytes), epoch),
            Code::Cds {
                day_bytes, epoch, ..
            } => cds(bytes, usize::from(day_bytes), epoch)?,
        };
        i64::try_from(ns).map_err(|_| TimeError::Range)
    }
}

fn number(bytes: &[u8]) -> i128 {
    bytes
        .iter()
        .fold(0, |sum, byte| sum << 8 | i128::from(*byte))
}

fn cuc(bytes: &[u8], coarse_bytes: usize, epoch: Epoch) -> i128 {
    let (coarse, fine) = bytes.split_at(coarse_bytes.min(bytes.len()));
    // Eight bytes of fraction are finer than a nanosecond by far.
    let fine = &fine[..fine.len().min(8)];
    let fraction = (number(fine) * SECOND_NS) >> (8 * fine.len());
    let seconds = match epoch {
        Epoch::Ccsds => {
            let tai_s = number(coarse) - EPOCH_DAYS * DAY_NS / SECOND_NS;
            tai_s - leap_seconds(tai_s)
        }
        Epoch::Agency(epoch_s) => number(coarse) + i128::from(epoch_s),
    };
    seconds * SECOND_NS + fraction
}

fn cds(bytes: &[u8], day_bytes: usize, epoch: Epoch) -> Result<i128, TimeError> {
    let (days, rest) = bytes.split_at(day_bytes);
    let (milliseconds, part) = rest.split_at(4);
    let milliseconds = number(milliseconds);
    // A day with a leap second has 86,401 of them.
    if milliseconds > 86_400_999 {
        return Err(TimeError::Range);
    }
    let (part, most) = match part.len() {
        2 => (number(part) * 1000, 999_999),
        4 => (number(part) / 1000, 999_999),
        _ => (0, 0),
    };
    if part > most {
        return Err(TimeError::Range);
    }
    let epoch_ns = match epoch {
        Epoch::Ccsds => -EPOCH_DAYS * DAY_NS,
        Epoch::Agency(epoch_s) => i128::from(epoch_s) * SECOND_NS,
    };
    Ok(epoch_ns + number(days) * DAY_NS + milliseconds * 1_000_000 + part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn cuc(coarse_bytes: u8, fine_bytes: u8) -> Code {
        Code::Cuc {
            coarse_bytes,
            fine_bytes,
            epoch: Epoch::Ccsds,
        }
    }

    #[test]
    fn preambles() {
        let read = |bytes: &[u8]| Code::preamble(bytes, 7).map(|(code, rest)| (code, rest.len()));
        assert_eq!(read(&[0x1e, 1]), Ok((cuc(4, 2), 1)));
        assert_eq!(read(&[0x9f, 0x6c]), Ok((cuc(7, 6), 0)));
        let agency = Code::Cuc {
            coarse_bytes: 4,
            fine_bytes: 3,
            epoch: Epoch::Agency(7),
        };
        assert_eq!(read(&[0x2f]), Ok((agency, 0)));
        let cds = |day_bytes, part_bytes, epoch| Code::Cds {
            day_bytes,
            part_bytes,
            epoch,
        };
        assert_eq!(read(&[0x40]), Ok((cds(2, 0, Epoch::Ccsds), 0)));
        assert_eq!(read(&[0x46]), Ok((cds(3, 4, Epoch::Ccsds), 0)));
        assert_eq!(read(&[0x49]), Ok((cds(2, 2, Epoch::Agency(7)), 0)));
        for (wrong, why) in [
            (&[][..], TimeError::Short),
            (&[0x9c], TimeError::Short),
            (&[0x9c, 0x80], TimeError::Kind),
            (&[0x43], TimeError::Kind),
            (&[0xc0], TimeError::Kind),
            (&[0x50], TimeError::Kind),
            (&[0x00], TimeError::Kind),
        ] {
            assert_eq!(read(wrong), Err(why), "{wrong:02x?}");
        }
    }

    #[test]
    fn times() {
        let cds = |day_bytes, part_bytes| Code::Cds {
            day_bytes,
            part_bytes,
            epoch: Epoch::Ccsds,
        };
        for (code, bytes, wanted) in [
            // 2000-01-01T12:00:00 UTC is day 15340.
            (
                cds(2, 0),
                &[0x3b, 0xec, 0x02, 0x93, 0x2e, 0x00][..],
                946_728_000_000_000_000,
            ),
            (cds(3, 2), &[0, 0x11, 0x1f, 0, 0, 0, 1, 0, 250], 1_250_000),
            (
                cds(2, 4),
                &[0x11, 0x1f, 0, 0, 0, 0, 0x3b, 0x9a, 0xc9, 0xff],
                999_999,
            ),
            // TAI was 32 s ahead then.
            (
                cuc(4, 0),
                &1_325_419_232_u32.to_be_bytes(),
                946_728_000_000_000_000,
            ),
            (
                cuc(4, 1),
                &[0x4f, 0x00, 0x4a, 0xe0, 0x80],
                946_728_000_500_000_000,
            ),
            (cuc(1, 2), &[0, 0xff, 0xff], -378_691_209_000_015_259),
        ] {
            assert_eq!(code.read(bytes), Ok(wanted), "{code:?} {bytes:02x?}");
        }
        let agency = Code::Cuc {
            coarse_bytes: 4,
            fine_bytes: 2,
            epoch: Epoch::Agency(315_964_800),
        };
        assert_eq!(
            agency.read(&[0, 0, 0, 1, 0x40, 0]),
            Ok(315_964_801_250_000_000)
        );
        for (code, bytes, why) in [
            (cds(2, 0), &[0; 5][..], TimeError::Short),
            (cds(2, 0), &[0, 0, 0x05, 0x26, 0x5f, 0xe8], TimeError::Range),
            (cds(2, 2), &[0, 0, 0, 0, 0, 0, 0x03, 0xe8], TimeError::Range),
            (cuc(7, 0), &[0xff; 7], TimeError::Range),
        ] {
            assert_eq!(code.read(bytes), Err(why), "{code:?} {bytes:02x?}");
        }
    }

    #[test]
    fn a_leap_second_is_seen_by_utc_alone() {
        // 2016-12-31T23:59:60: TAI goes on, UTC stands still.
        let at = |tai_s: i64| {
            let since_1958 = u32::try_from(tai_s + 378_691_200).unwrap();
            cuc(4, 0).read(&since_1958.to_be_bytes()).unwrap() / 1_000_000_000
        };
        let last = 1_483_228_800;
        assert_eq!(at(last + 35), last - 1);
        assert_eq!(at(last + 36), last);
        assert_eq!(at(last + 37), last);
        assert_eq!(at(last + 38), last + 1);
    }
}
