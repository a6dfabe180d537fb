//! Text out of a driver: bounded, copied, checked to be UTF-8.

use std::ffi::c_char;

/// Why a string of a driver is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TextError {
    /// NULL where a string must be.
    #[error("is NULL")]
    Null,
    /// No NUL within the bound.
    #[error("has no NUL within {0} bytes")]
    Unterminated(usize),
    /// Bytes that are not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
}

/// Copies the string at `pointer`, at most `bound` bytes long, its NUL not counted.
///
/// # Safety
/// `pointer` is NULL, or points to bytes that are readable up to and including the first NUL or `bound + 1` bytes,
/// whichever comes first, and that nobody writes during the call.
pub(crate) unsafe fn copy(pointer: *const c_char, bound: usize) -> Result<String, TextError> {
    if pointer.is_null() {
        return Err(TextError::Null);
    }
    let mut bytes = Vec::new();
    for offset in 0..=bound {
        // SAFETY: the caller promises readable bytes up to the first NUL, and the loop has seen none before `offset`.
        let at = unsafe { pointer.add(offset) };
        // SAFETY: as above; a byte has no alignment.
        let byte = unsafe { at.cast::<u8>().read() };
        if byte == 0 {
            return String::from_utf8(bytes).map_err(|_| TextError::NotUtf8);
        }
        bytes.push(byte);
    }
    Err(TextError::Unterminated(bound))
}

/// The text in a fixed array of a driver.
pub(crate) fn from_array(array: &[u8]) -> Result<&str, TextError> {
    let end = array
        .iter()
        .position(|byte| *byte == 0)
        .ok_or(TextError::Unterminated(array.len()))?;
    std::str::from_utf8(&array[..end]).map_err(|_| TextError::NotUtf8)
}

/// An explanation, for which anything readable is better than nothing: cut at the first NUL or the end, other bytes
/// replaced, control characters escaped.
pub(crate) fn explanation(array: &[u8]) -> String {
    let end = array
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(array.len());
    printable(&array[..end])
}

/// Bytes from outside made fit for a log line: invalid UTF-8 replaced, control characters escaped.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for c in String::from_utf8_lossy(bytes).chars() {
        if c.is_control() && c != '\t' {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_within_the_bound_only() {
        let at = |bytes: &'static [u8], bound| {
            // SAFETY: every slice below holds a NUL or at least `bound + 1` bytes.
            unsafe { copy(bytes.as_ptr().cast(), bound) }
        };
        assert_eq!(at(b"abc\0", 3), Ok("abc".to_owned()));
        assert_eq!(at(b"abcd", 3), Err(TextError::Unterminated(3)));
        assert_eq!(at(b"\xff\0", 3), Err(TextError::NotUtf8));
        // SAFETY: NULL is allowed.
        assert_eq!(unsafe { copy(std::ptr::null(), 3) }, Err(TextError::Null));
    }

    #[test]
    fn control_characters_cannot_reach_a_log() {
        assert_eq!(
            printable(b"a\x1b[2Jb\n\xff%n%s"),
            "a\\u{1b}[2Jb\\n\u{fffd}%n%s"
        );
    }
}
