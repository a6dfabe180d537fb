//! Header and mirror agree on every size and offset, on the target that the test runs on.
//! `scripts/test.sh` runs it natively and, under qemu-user, for aarch64.

use dunlin_driver_sys::{
    Actuate1, Channel, Driver, DriverOption, Frame, Frames1, Number, OptionSpec, Sample, Text,
    Value,
};
use std::mem::offset_of;

unsafe extern "C" {
    static dunlin_layout: [usize; LAYOUT.len()];
    static dunlin_layout_len: usize;
}

macro_rules! layout {
    ($($type:ty { $($field:ident),* })*) => {
        &[$((concat!("sizeof ", stringify!($type)), size_of::<$type>()),
            $((concat!(stringify!($type), ".", stringify!($field)), offset_of!($type, $field)),)*)*]
    };
}

const LAYOUT: &[(&str, usize)] = layout! {
    DriverOption { key, value }
    OptionSpec { key, summary, fallback, kind, flags, min, max }
    Channel { name, unit, kind, flags, min, max, reserved }
    Number {}
    Sample { monotonic_ns, value, channel, quality, lost, reserved }
    Text {}
    Driver { struct_size, abi_major, abi_minor, flags, option_count, id, version, summary, options,
             open, channels, read, close, explain, get_extension }
    Frame { monotonic_ns, offset, length, channel, lost }
    Frames1 { struct_size, frame_max, read_frames }
    Value { value, kind, reserved }
    Actuate1 { struct_size, reserved, write }
};

#[test]
fn c_and_rust_agree() {
    // SAFETY: a constant of that type, defined in layout.c, which build.rs links into this test.
    let len = unsafe { dunlin_layout_len };
    assert_eq!(
        len,
        LAYOUT.len(),
        "layout.c and LAYOUT list the same figures"
    );
    // SAFETY: as above; the length was compared first, so that the array is as long as declared.
    let c = unsafe { dunlin_layout };
    for ((name, rust), c) in LAYOUT.iter().zip(c) {
        assert_eq!(*rust, c, "{name}");
    }
}
