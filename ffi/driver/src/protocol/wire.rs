//! Little-endian fields in and out of a message, every length checked.

/// A message that does not say what a message may say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed message: {0}")]
pub struct Malformed(pub String);

pub(crate) fn malformed<T>(detail: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed(detail.into()))
}

/// Appends fields to a message.
pub(crate) struct Writer<'a>(pub(crate) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(crate) fn u8(&mut self, v: u8) -> &mut Self {
        self.0.push(v);
        self
    }

    pub(crate) fn u16(&mut self, v: u16) -> &mut Self {
        self.0.extend_from_slice(&v.to_le_bytes());
        self
    }

    pub(crate) fn u32(&mut self, v: u32) -> &mut Self {
        self.0.extend_from_slice(&v.to_le_bytes());
        self
    }

    pub(crate) fn u64(&mut self, v: u64) -> &mut Self {
        self.0.extend_from_slice(&v.to_le_bytes());
        self
    }

    /// A count or length, at most `u32::MAX`: every list here is bounded far below.
    pub(crate) fn count(&mut self, v: usize) -> &mut Self {
        self.u32(u32::try_from(v).unwrap_or(u32::MAX))
    }

    /// Text, cut at `max` bytes on a character's boundary.
    pub(crate) fn text(&mut self, text: &str, max: usize) -> &mut Self {
        let text = &text[..text.floor_char_boundary(max)];
        self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// Text that is there or not.
    pub(crate) fn maybe(&mut self, text: Option<&str>, max: usize) -> &mut Self {
        match text {
            None => self.u8(0),
            Some(text) => self.u8(1).text(text, max),
        }
    }
}

/// Takes fields off a message.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        match self.0.split_at_checked(count) {
            Some((head, rest)) => {
                self.0 = rest;
                Ok(head)
            }
            None => malformed(format!("{count} bytes expected, {} there", self.0.len())),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        match self.0.split_first_chunk::<N>() {
            Some((head, rest)) => {
                self.0 = rest;
                Ok(*head)
            }
            None => malformed(format!("{N} bytes expected, {} there", self.0.len())),
        }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => malformed(format!("flag {other}")),
        }
    }

    /// A count of things that take at least `each` bytes, at most `max`. Refused before anything is allocated for it
    /// where the message is too short to hold that many.
    pub(crate) fn count(&mut self, max: usize, each: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        if count > max || count.saturating_mul(each) > self.0.len() {
            return malformed(format!(
                "count {count}, at most {max}, {} bytes left",
                self.0.len()
            ));
        }
        Ok(count)
    }

    pub(crate) fn text(&mut self, max: usize) -> Result<String, Malformed> {
        let length = self.count(max, 1)?;
        match std::str::from_utf8(self.bytes(length)?) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => malformed("text is not UTF-8"),
        }
    }

    pub(crate) fn maybe(&mut self, max: usize) -> Result<Option<String>, Malformed> {
        if self.flag()? {
            self.text(max).map(Some)
        } else {
            Ok(None)
        }
    }

    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            malformed(format!("{} bytes too many", self.0.len()))
        }
    }
}
