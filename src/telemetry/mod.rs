//! Telemetry as bytes: checksums of frames. Knows no record and no pipeline, does no I/O and asks no clock; the input is
//! hostile.

pub mod crc;
