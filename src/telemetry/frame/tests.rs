use super::*;

fn settings(protocol: Protocol) -> Settings {
    Settings {
        protocol,
        checksum: None,
        ocf: false,
        insert_zone_bytes: 0,
        spacecraft: None,
        frame_bytes_max: 1024,
    }
}

fn with_crc(mut frame: Vec<u8>) -> Vec<u8> {
    let crc = Crc::named("crc16-ccitt").unwrap().of(&frame);
    frame.extend(u16::try_from(crc).unwrap().to_be_bytes());
    frame
}

#[test]
fn tm_fields_are_where_the_standard_has_them() {
    // Spacecraft 0x2a5, channel 5, OCF, master count 7, channel count 9, first packet at 2.
    let frame = [0x2a, 0x5b, 7, 9, 0x18, 2, 0xd0, 0xd1, 0xd2, 1, 2, 3, 4];
    let read = settings(Protocol::Tm).read(&frame).unwrap();
    let wanted = Frame {
        spacecraft: 0x2a5,
        channel: 5,
        count: 9,
        count_bits: 8,
        pointer: Pointer::First(2),
        data: &[0xd0, 0xd1, 0xd2],
        ocf: Some(&[1, 2, 3, 4]),
    };
    assert_eq!(read, wanted);
    // A secondary header of three bytes, without OCF.
    let frame = [0x2a, 0x5a, 7, 9, 0x98, 0, 0x02, 1, 2, 0xd0];
    let read = settings(Protocol::Tm).read(&frame).unwrap();
    assert_eq!((read.data, read.ocf), (&[0xd0][..], None));
}

#[test]
fn aos_fields_are_where_the_standard_has_them() {
    // Spacecraft 0xa7, channel 33, count 0x010203, no cycle; then the insert zone, the zone header, data and OCF.
    let frame = [
        0x69, 0xe1, 1, 2, 3, 0x05, 0xee, 0xee, 0x00, 0x01, 0xd0, 0xd1, 1, 2, 3, 4,
    ];
    let aos = Settings {
        ocf: true,
        insert_zone_bytes: 2,
        ..settings(Protocol::Aos)
    };
    let read = aos.read(&frame).unwrap();
    let wanted = Frame {
        spacecraft: 0xa7,
        channel: 33,
        count: 0x01_0203,
        count_bits: 24,
        pointer: Pointer::First(1),
        data: &[0xd0, 0xd1],
        ocf: Some(&[1, 2, 3, 4]),
    };
    assert_eq!(read, wanted);
    let mut cycle = frame;
    cycle[5] = 0x45;
    let read = aos.read(&cycle).unwrap();
    assert_eq!((read.count, read.count_bits), (0x0501_0203, 28));
    let mut idle = frame;
    idle[1] |= 0x3f;
    assert_eq!(aos.read(&idle).unwrap().pointer, Pointer::Idle);
}

#[test]
fn pointers() {
    for (status, wanted) in [
        ([0x18, 0x00], Pointer::First(0)),
        ([0x1f, 0xff], Pointer::Nowhere),
        ([0x1f, 0xfe], Pointer::Idle),
        ([0x5f, 0xff], Pointer::Other),
    ] {
        let frame = [0, 0, 0, 0, status[0], status[1], 1, 2];
        let read = settings(Protocol::Tm).read(&frame).unwrap();
        assert_eq!(read.pointer, wanted);
    }
}

#[test]
fn what_is_refused() {
    let tm = settings(Protocol::Tm);
    let good = [0x00, 0x10, 0, 0, 0x18, 0, 1, 2];
    assert!(tm.read(&good).is_ok());
    let with = |at: usize, byte: u8| {
        let mut frame = good.to_vec();
        frame[at] = byte;
        frame
    };
    for (frame, why) in [
        (vec![], Refused::Length),
        (good[..5].to_vec(), Refused::Length),
        // No data at all: a pointer to the first byte leads out of it.
        (good[..6].to_vec(), Refused::Pointer),
        (with(5, 2), Refused::Pointer),
        (with(4, 0x98)[..6].to_vec(), Refused::Length),
        (
            with(6, 0x3f)
                .into_iter()
                .enumerate()
                .map(|(at, b)| if at == 4 { 0x98 } else { b })
                .collect(),
            Refused::Length,
        ),
        (with(1, 0x11)[..8].to_vec(), Refused::Length),
        (with(0, 0x40), Refused::Version),
        (vec![0; 1025], Refused::Length),
    ] {
        assert_eq!(tm.read(&frame), Err(why), "{frame:02x?}");
    }
    let only = Settings {
        spacecraft: Some(2),
        ..settings(Protocol::Tm)
    };
    assert_eq!(only.read(&good), Err(Refused::Spacecraft));
    let aos = Settings {
        ocf: true,
        insert_zone_bytes: 3,
        ..settings(Protocol::Aos)
    };
    for length in 0..16 {
        let mut frame = vec![0; length];
        if let Some(first) = frame.first_mut() {
            *first = 0x40;
        }
        let why = if length < 15 {
            Refused::Length
        } else {
            Refused::Pointer
        };
        assert_eq!(aos.read(&frame).is_err(), length < 16, "{length}");
        if length < 16 {
            assert_eq!(aos.read(&frame), Err(why), "{length}");
        }
    }
    assert_eq!(aos.read(&[0; 20]), Err(Refused::Version));
}

#[test]
fn the_checksum_covers_every_bit() {
    let tm = Settings {
        checksum: Crc::named("crc16-ccitt"),
        ..settings(Protocol::Tm)
    };
    let good = with_crc(vec![0x00, 0x10, 0, 0, 0x18, 0, 1, 2]);
    assert_eq!(tm.read(&good).unwrap().data, [1, 2]);
    for bit in 0..good.len() * 8 {
        let mut frame = good.clone();
        frame[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(tm.read(&frame), Err(Refused::Checksum), "bit {bit}");
    }
    assert_eq!(tm.read(&[1]), Err(Refused::Length));
}
