//! Payloads that are stored compressed.

use super::super::fs::faulty::SimDisk;
use super::super::{Batch, Class, Policy, format, verify};
use super::model::{DIR, open, read_all};
use std::path::Path;

fn text(number: u64) -> String {
    format!("{number} {}", "sensor temperature 21.5 ".repeat(40))
}

#[test]
fn what_is_packed_comes_back_as_it_was() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    engine.pack(true);
    let mut noise = vec![0; 500];
    let mut random = super::super::fs::faulty::Random::new(3);
    noise.fill_with(|| u8::try_from(random.below(256)).expect("a byte"));
    let payloads = [
        text(0).into_bytes(),
        noise,
        b"short short short".to_vec(),
        Vec::new(),
    ];
    let batch: Batch = payloads.iter().collect();
    engine.append(Class::Normal, &[batch]).expect("room");
    let stats = engine.shared().stats();
    assert_eq!(stats.frames_packed, 1, "the others are not worth it");
    let bytes = engine.shared().log(Class::Normal).view().segments[0].bytes;
    assert!(bytes < 900, "{bytes} bytes");
    drop(engine);
    let (engine, _) = open(&disk.after_crash(1), Policy::DropOldest).expect("a start");
    let chunk = read_all(&engine.shared(), Class::Normal);
    let found: Vec<&[u8]> = chunk.frames.iter().map(|f| &f.payload[..]).collect();
    assert_eq!(found, payloads.each_ref().map(Vec::as_slice));
    assert_eq!(chunk.lost, vec![]);
}

/// Packed frames are damaged, dropped, cut and found as any.
#[test]
fn every_flipped_bit_of_packed_frames_is_found() {
    let disk = SimDisk::new();
    let (mut engine, _) = open(&disk, Policy::DropOldest).expect("a new store");
    engine.pack(true);
    for number in 0..3 {
        let batch: Batch = [text(number)].into_iter().collect();
        engine.append(Class::Normal, &[batch]).expect("room");
    }
    engine.seal();
    drop(engine);
    let path = disk.files(&Path::new(DIR).join("normal")).remove(0);
    for bit in 64 * 8..disk.bytes(&path).len() * 8 {
        let disk = disk.after_crash(0);
        disk.damage(&path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let report = verify(&disk, Path::new(DIR)).expect("a directory");
        let torn = report.logs[1].segments[0].torn_bytes;
        assert!(!report.is_sound() || torn > 0, "bit {bit} is not found");
        let (engine, _) = open(&disk, Policy::DropOldest).expect("a start");
        for frame in read_all(&engine.shared(), Class::Normal).frames {
            assert_eq!(frame.payload, text(frame.position).as_bytes(), "bit {bit}");
        }
    }
}

/// What an LZ4 block says of itself is not believed.
#[test]
fn a_packed_payload_that_lies_is_none() {
    let packed = format::pack(text(0).as_bytes()).expect("it is worth it");
    assert_eq!(format::unpack(&packed), Some(text(0).into_bytes()));
    for cut in 0..packed.len() {
        assert_eq!(format::unpack(&packed[..cut]), None, "cut at {cut}");
    }
    for bytes in [u32::MAX, 1 << 24, 0, 10] {
        let mut lies = packed.clone();
        lies[..4].copy_from_slice(&bytes.to_le_bytes());
        assert_eq!(format::unpack(&lies), None, "{bytes} bytes");
    }
}
