//! Telemetry as bytes: checksums of frames, and the layers of CCSDS from a stream of bits to space packets. Knows no record
//! and no pipeline, does no I/O and asks no clock; the input is hostile, and everything it may make grow has a bound.

pub mod assemble;
pub mod ccsds;
pub mod crc;
pub mod database;
pub mod frame;
pub mod inflate;
pub mod packet;
pub mod pus;
pub mod randomiser;
pub mod segments;
pub mod sequence;
pub mod sync;
pub mod time;

#[cfg(test)]
pub(crate) mod testing;

macro_rules! counts {
    ($($(#[$doc:meta])* $field:ident = $name:literal;)*) => {
        /// What was taken, and what was refused by which reason.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl Counts {
            /// All of them by name.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$(($name, self.$field)),*].into_iter()
            }
        }
    };
}

counts! {
    /// Frames that were taken.
    frames = "frames";
    /// Frames that only fill.
    idle_frames = "idle_frames";
    /// Frames whose data is no packets.
    other_frames = "other_frames";
    /// Frames that the counts of their channels say are missing.
    lost_frames = "lost_frames";
    /// Refused: the checksum is wrong.
    checksum = "bad_checksum";
    /// Refused: too short for what its header says, or longer than allowed.
    length = "bad_length";
    /// Refused: another version of frame.
    version = "bad_version";
    /// Refused: from another spacecraft.
    spacecraft = "other_spacecraft";
    /// Refused: the pointer leads out of the frame.
    pointer = "bad_pointer";
    /// Refused: more virtual channels than are kept.
    channels = "too_many_channels";
    /// Left out: the same frame or packet again.
    duplicates = "duplicates";
    /// Left out: a frame or packet after its successors.
    late = "late";
    /// Frames that were taken although their marker was not there.
    flywheel = "flywheel";
    /// Markers that were found elsewhere than expected.
    slips = "slips";
    /// Bits between frames that belong to none.
    skipped_bits = "skipped_bits";
    /// Packets that were given out, before segments are joined.
    packets = "packets";
    /// Packets that only fill.
    idle_packets = "idle_packets";
    /// Packets that the counts of their APIDs say are missing.
    lost_packets = "lost_packets";
    /// Packets that begin and do not end where they should.
    cut_packets = "cut_packets";
    /// Packets that are no space packets.
    other_packets = "other_packets";
    /// Packets longer than allowed.
    long_packets = "long_packets";
    /// Segments without the one before.
    lone_segments = "lone_segments";
}
