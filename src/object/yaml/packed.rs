//! Documents as bytes, to be kept in little room and read back quicker than the text that they come from.
//!
//! The bytes are for this process only: they are not checked beyond what keeps a reader from going wrong.

use serde_json::{Map, Number, Value};

use super::{Document, DuplicateKey};

/// Writes documents as bytes.
pub fn pack(documents: &[Document]) -> Vec<u8> {
    let mut bytes = Vec::new();
    number(&mut bytes, documents.len());
    for Document { value: content, line, duplicate_keys, blank_fields } in documents {
        value(&mut bytes, content);
        number(&mut bytes, *line);
        number(&mut bytes, duplicate_keys.len());
        for DuplicateKey { key, line, first_line } in duplicate_keys {
            text(&mut bytes, key);
            number(&mut bytes, *line);
            number(&mut bytes, *first_line);
        }
        number(&mut bytes, blank_fields.len());
        for path in blank_fields {
            number(&mut bytes, path.len());
            path.iter().for_each(|step| text(&mut bytes, step));
        }
    }
    bytes.shrink_to_fit();
    bytes
}

/// Reads documents back; `None` for bytes that [`pack`] has not written.
pub fn unpack(bytes: &[u8]) -> Option<Vec<Document>> {
    let mut from = Reader { rest: bytes };
    let documents = from.list(|from| {
        Some(Document {
            value: from.value()?,
            line: from.number()?,
            duplicate_keys: from.list(|from| {
                Some(DuplicateKey { key: from.text()?, line: from.number()?, first_line: from.number()? })
            })?,
            blank_fields: from.list(|from| from.list(Reader::text))?,
        })
    })?;
    from.rest.is_empty().then_some(documents)
}

fn value(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => bytes.push(b'n'),
        Value::Bool(false) => bytes.push(b'f'),
        Value::Bool(true) => bytes.push(b't'),
        Value::Number(number) => {
            let (kind, eight) = match (number.as_i64(), number.as_u64()) {
                (Some(signed), _) => (b'i', signed.to_le_bytes()),
                (None, Some(unsigned)) => (b'u', unsigned.to_le_bytes()),
                (None, None) => (b'd', number.as_f64().unwrap_or_default().to_le_bytes()),
            };
            bytes.push(kind);
            bytes.extend_from_slice(&eight);
        }
        Value::String(content) => {
            bytes.push(b's');
            text(bytes, content);
        }
        Value::Array(items) => {
            bytes.push(b'[');
            number(bytes, items.len());
            items.iter().for_each(|item| self::value(bytes, item));
        }
        Value::Object(fields) => {
            bytes.push(b'{');
            number(bytes, fields.len());
            for (key, field) in fields {
                text(bytes, key);
                self::value(bytes, field);
            }
        }
    }
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    number(bytes, text.len());
    bytes.extend_from_slice(text.as_bytes());
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn number(bytes: &mut Vec<u8>, number: usize) {
    let mut left = number;
    loop {
        let low = u8::try_from(left & 0x7f).unwrap_or_default();
        left >>= 7;
        if left == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn eight(&mut self) -> Option<[u8; 8]> {
        let (first, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<usize> {
        let mut number = 0usize;
        for shift in (0..usize::BITS).step_by(7) {
            let byte = self.byte()?;
            number |= usize::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn text(&mut self) -> Option<String> {
        let length = self.number()?;
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        std::str::from_utf8(text).ok().map(str::to_owned)
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.number()?;
        // No item takes less than a byte.
        let mut items = Vec::with_capacity(length.min(self.rest.len()));
        for _ in 0..length {
            items.push(item(self)?);
        }
        Some(items)
    }

    fn value(&mut self) -> Option<Value> {
        Some(match self.byte()? {
            b'n' => Value::Null,
            b'f' => Value::Bool(false),
            b't' => Value::Bool(true),
            b'i' => Value::from(i64::from_le_bytes(self.eight()?)),
            b'u' => Value::from(u64::from_le_bytes(self.eight()?)),
            b'd' => Value::Number(Number::from_f64(f64::from_le_bytes(self.eight()?))?),
            b's' => Value::String(self.text()?),
            b'[' => Value::Array(self.list(Self::value)?),
            b'{' => {
                let length = self.number()?;
                let mut fields = Map::with_capacity(length.min(self.rest.len()));
                for _ in 0..length {
                    let key = self.text()?;
                    fields.insert(key, self.value()?);
                }
                Value::Object(fields)
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::object::yaml::{DuplicateKeys, Options, Schema, parse};

    fn documents(text: &str) -> Vec<Document> {
        parse(text.as_bytes(), &Options::new(Schema::Yaml12ish, DuplicateKeys::LastWins)).unwrap()
    }

    #[test]
    fn documents_are_read_back_as_they_were() {
        let text = "a: [1, -1, 18446744073709551615, 0.1, 1e300, true, false, null, '', \"\\U0001F600\"]\nb:\nc: {}\nc: []\n\
                    ---\n- x: {y: {z: }}\n- long: ";
        let documents = documents(&format!("{text}{}\n", "text ".repeat(100)));
        assert_eq!(documents.len(), 2);
        assert_eq!((documents[0].duplicate_keys.len(), documents[1].blank_fields.len()), (1, 1));
        assert_eq!(unpack(&pack(&documents)), Some(documents));
    }

    #[test]
    fn bytes_that_are_cut_short_are_no_documents() {
        let bytes = pack(&documents("a: {b: [c, 1, {d: true}]}\n"));
        for length in 0..bytes.len() {
            assert_eq!(unpack(&bytes[..length]), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack(&bytes);
        }
    }
}
