//! One message into two, records as they were written: nothing is read into values and written again in JSON, and in CBOR
//! every value is of 64 bits.

use super::Encoding;
use cbor4ii::core::Value;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Deserialize, Serialize)]
struct Text<'a> {
    #[serde(borrow)]
    v: &'a RawValue,
    #[serde(borrow)]
    agent: &'a RawValue,
    #[serde(borrow)]
    boot: &'a RawValue,
    #[serde(borrow)]
    stream: &'a RawValue,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    class: Option<&'a RawValue>,
    seq: u64,
    #[serde(borrow)]
    records: Vec<&'a RawValue>,
}

pub(super) fn halves(encoding: Encoding, message: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    match encoding {
        Encoding::Json => text(message),
        Encoding::Cbor => binary(message),
    }
}

fn text(message: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut first: Text<'_> = serde_json::from_slice(message).ok()?;
    let rest = first.records.split_off(first.records.len() / 2);
    if first.records.is_empty() {
        return None;
    }
    let one = serde_json::to_vec(&first).ok()?;
    first.seq = first.seq.checked_add(first.records.len() as u64)?;
    first.records = rest;
    Some((one, serde_json::to_vec(&first).ok()?))
}

fn binary(message: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut value: Value = cbor4ii::serde::from_slice(message).ok()?;
    let records = field(&mut value, "records")?;
    let Value::Array(first) = records else {
        return None;
    };
    let rest = first.split_off(first.len() / 2);
    let count = first.len();
    if count == 0 {
        return None;
    }
    let one = cbor4ii::serde::to_vec(Vec::new(), &value).ok()?;
    *field(&mut value, "records")? = Value::Array(rest);
    let Value::Integer(seq) = field(&mut value, "seq")? else {
        return None;
    };
    *seq += i128::try_from(count).ok()?;
    Some((one, cbor4ii::serde::to_vec(Vec::new(), &value).ok()?))
}

fn field<'a>(value: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    let Value::Map(fields) = value else {
        return None;
    };
    let named = |(key, _): &&mut (Value, Value)| matches!(key, Value::Text(text) if text == name);
    fields.iter_mut().find(named).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{documented, encoded};
    use super::super::{decode, halves};
    use super::Encoding;
    use crate::record::Class;

    #[test]
    fn halves_have_every_record_as_it_was_and_its_number() {
        for encoding in [Encoding::Json, Encoding::Cbor] {
            let whole = encoded(encoding, Class::Critical, &documented());
            let (one, other) = halves(encoding, &whole).unwrap();
            let (whole, one, other) = (
                decode(&whole).unwrap(),
                decode(&one).unwrap(),
                decode(&other).unwrap(),
            );
            assert_eq!((one.seq, one.class), (whole.seq, whole.class));
            assert_eq!(one.boot, whole.boot);
            assert_eq!(other.seq, whole.seq_of(one.records.len()));
            let joined: Vec<_> = one.records.into_iter().chain(other.records).collect();
            // Not by ==: one of them is no number.
            assert_eq!(format!("{joined:?}"), format!("{:?}", whole.records));
            let single = encoded(encoding, Class::Normal, &documented()[..1]);
            assert_eq!(halves(encoding, &single), None);
            assert_eq!(halves(encoding, b"any bytes"), None);
        }
    }
}
