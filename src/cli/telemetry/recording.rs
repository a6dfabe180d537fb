//! What the sink `file` wrote of frames, as the bytes that were in them.

use crate::sources::receive::next_frame;
use std::io::{self, BufRead, Cursor, Read};

/// The bytes of all frames, one behind the other.
pub(super) struct Frames<R> {
    lines: R,
    frame: Cursor<Vec<u8>>,
}

impl<R: BufRead> Frames<R> {
    pub(super) fn of(lines: R) -> Frames<R> {
        Frames {
            lines,
            frame: Cursor::default(),
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let bytes = self.frame.read(out)?;
            if bytes > 0 || out.is_empty() {
                return Ok(bytes);
            }
            match next_frame(&mut self.lines)? {
                Some(next) => self.frame = Cursor::new(next.bytes),
                None => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_frames_come_whole_and_other_lines_are_passed_over() {
        let lines = "{\"monotonic_ns\":5,\"channel\":\"a\",\"frame\":\"AAEC\"}\nno line\n\
            {\"monotonic_ns\":6,\"channel\":\"t\",\"value\":1}\n{\"monotonic_ns\":7,\"channel\":\"a\",\"frame\":\"\"}\n\
            {\"monotonic_ns\":8,\"channel\":\"a\",\"frame\":\"A/8=\"}";
        let mut frames = Frames::of(lines.as_bytes());
        let (mut two, mut all) = ([9; 2], Vec::new());
        frames.read_exact(&mut two).unwrap();
        frames.read_to_end(&mut all).unwrap();
        assert_eq!((&two[..], &all[..]), (&[0, 1][..], &[2, 3, 255][..]));
    }
}
