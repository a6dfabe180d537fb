//! Secondary headers of telemetry packets of the packet utilisation standard (ECSS-E-ST-70-41).

/// Which issue of the standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issue {
    /// ECSS-E-70-41A: version 1.
    A,
    /// ECSS-E-ST-70-41C: version 2.
    C,
}

/// A secondary header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secondary<'a> {
    /// Service type.
    pub service: u8,
    /// Message subtype.
    pub subtype: u8,
    /// Message type counter; issue C has one in every packet.
    pub counter: Option<u16>,
    /// Destination; issue C has one in every packet.
    pub destination: Option<u16>,
    /// What follows: the time, and then the source data.
    pub rest: &'a [u8],
}

impl Issue {
    /// Reads the data field of a packet that has a secondary header; `None` where there is none of this issue.
    pub fn read(self, data: &[u8]) -> Option<Secondary<'_>> {
        match (self, data) {
            (Issue::A, [version, service, subtype, rest @ ..]) if version >> 4 & 7 == 1 => {
                Some(Secondary {
                    service: *service,
                    subtype: *subtype,
                    counter: None,
                    destination: None,
                    rest,
                })
            }
            (Issue::C, [version, service, subtype, a, b, c, d, rest @ ..]) if version >> 4 == 2 => {
                Some(Secondary {
                    service: *service,
                    subtype: *subtype,
                    counter: Some(u16::from_be_bytes([*a, *b])),
                    destination: Some(u16::from_be_bytes([*c, *d])),
                    rest,
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_issue() {
        let housekeeping = [0x10, 3, 25, 9, 8];
        let read = Issue::A.read(&housekeeping).unwrap();
        assert_eq!(
            (read.service, read.subtype, read.rest),
            (3, 25, &[9, 8][..])
        );
        let event = [0x20, 5, 1, 0, 7, 1, 0, 9];
        let read = Issue::C.read(&event).unwrap();
        assert_eq!((read.service, read.subtype, read.rest), (5, 1, &[9][..]));
        assert_eq!((read.counter, read.destination), (Some(7), Some(256)));
        assert!(Issue::C.read(&housekeeping).is_none());
        assert!(Issue::A.read(&event).is_none());
        assert!(Issue::C.read(&event[..6]).is_none());
        assert!(Issue::A.read(&[]).is_none());
    }
}
