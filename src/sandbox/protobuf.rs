//! Objects of built-in kinds in Kubernetes' protobuf form, as some clients send them (`kubectl create`).
//!
//! ```text
//! "k8s\0" ─ Unknown { typeMeta { apiVersion, kind }, raw } ─ raw: the object's own message, by the numbers of its type's fields
//! ```
//!
//! Only bodies are read; answers are JSON, which every client takes.

use base64::Engine as _;
use serde_json::{Map, Value, json};

use crate::object::Gvk;
use crate::object::schema::{Scalar, TypeRef, built_in};

/// The content type of such bodies.
pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

const MAGIC: &[u8] = b"k8s\0";

/// How deep messages may be nested.
const MAX_DEPTH: usize = 128;

/// Why bytes are no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// They do not begin as protobuf of Kubernetes does.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NoMagic,
    /// A number, a length or a text ends in the middle, or is none.
    #[error("unexpected EOF")]
    Broken,
    /// The kind is none that the API server knows.
    #[error("the kind in the protobuf message is not known")]
    UnknownKind,
}

impl crate::error::Classified for ProtobufError {
    fn kind(&self) -> crate::error::ErrorKind {
        crate::error::ErrorKind::User
    }
}

type Result<T> = std::result::Result<T, ProtobufError>;

/// Reads an object.
///
/// # Errors
/// When the bytes are no object of a built-in kind.
pub fn decode(bytes: &[u8]) -> Result<Value> {
    let unknown = bytes.strip_prefix(MAGIC).ok_or(ProtobufError::NoMagic)?;
    let (mut api_version, mut kind) = (String::new(), String::new());
    let mut raw: &[u8] = &[];
    for field in fields(unknown) {
        match field? {
            (1, Wire::Bytes(type_meta)) => {
                for field in fields(type_meta) {
                    match field? {
                        (1, Wire::Bytes(text)) => api_version = utf8(text)?,
                        (2, Wire::Bytes(text)) => kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let schema = match kind.as_str() {
        "DeleteOptions" => {
            built_in(&Gvk::new("policy", "v1", "Eviction")).map(|it| it.field("deleteOptions"))
        }
        _ => built_in(&Gvk::from_api_version(&api_version, &kind)),
    };
    let mut object = message(raw, &schema.ok_or(ProtobufError::UnknownKind)?, 0)?;
    object.insert("apiVersion".to_owned(), Value::from(api_version));
    object.insert("kind".to_owned(), Value::from(kind));
    Ok(Value::Object(object))
}

/// A field as it is on the wire.
#[derive(Clone, Copy)]
enum Wire<'a> {
    Number(u64),
    Double(f64),
    Bytes(&'a [u8]),
}

/// The numbers and values of a message's fields, up to the first that is broken.
fn fields(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u64, Wire<'_>)>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let field = field(&mut bytes);
        if field.is_err() {
            bytes = &[];
        }
        Some(field)
    })
}

fn field<'a>(bytes: &mut &'a [u8]) -> Result<(u64, Wire<'a>)> {
    let tag = varint(bytes)?;
    let value = match tag & 7 {
        0 => Wire::Number(varint(bytes)?),
        1 => {
            let eight: [u8; 8] = take(bytes, 8)?.try_into().map_err(|_| ProtobufError::Broken)?;
            Wire::Double(f64::from_le_bytes(eight))
        }
        2 => {
            let length = usize::try_from(varint(bytes)?).map_err(|_| ProtobufError::Broken)?;
            Wire::Bytes(take(bytes, length)?)
        }
        _ => return Err(ProtobufError::Broken),
    };
    Ok((tag >> 3, value))
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(ProtobufError::Broken)?;
    *bytes = rest;
    Ok(taken)
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(ProtobufError::Broken)?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(ProtobufError::Broken)
}

fn utf8(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| ProtobufError::Broken)
}

fn message(bytes: &[u8], schema: &TypeRef, depth: usize) -> Result<Map<String, Value>> {
    if depth > MAX_DEPTH {
        return Err(ProtobufError::Broken);
    }
    let mut object = Map::new();
    for found in fields(bytes) {
        let (number, wire) = found?;
        // `kind` and `apiVersion` have numbers too, which other fields of an object have again.
        let field = schema.fields().iter().rev().find(|field| u64::from(field.number) == number);
        let Some((field, of)) = field.and_then(|field| Some((field, schema.declared_field(&field.name)?)))
        else {
            continue;
        };
        if of.is_list() && !of.is_deduced() {
            let list = object.entry(field.name.as_str()).or_insert_with(|| json!([]));
            let item = value(wire, &of.items(), depth + 1)?;
            if let Some(list) = list.as_array_mut() {
                list.push(item);
            }
        } else if of.is_map() && of.name().is_empty() && !of.is_deduced() {
            let Wire::Bytes(entry) = wire else { return Err(ProtobufError::Broken) };
            let map = object.entry(field.name.as_str()).or_insert_with(|| json!({}));
            let (key, item) = map_entry(entry, &of.field(""), depth + 1)?;
            if let Some(map) = map.as_object_mut() {
                map.insert(key, item);
            }
        } else {
            object.insert(field.name.clone(), value(wire, &of, depth + 1)?);
        }
    }
    Ok(object)
}

fn map_entry(bytes: &[u8], of: &TypeRef, depth: usize) -> Result<(String, Value)> {
    let (mut key, mut item) = (String::new(), Value::Null);
    for field in fields(bytes) {
        match field? {
            (1, Wire::Bytes(text)) => key = utf8(text)?,
            (2, wire) => item = value(wire, of, depth)?,
            _ => {}
        }
    }
    Ok((key, item))
}

fn value(wire: Wire<'_>, of: &TypeRef, depth: usize) -> Result<Value> {
    let bytes = match wire {
        Wire::Number(number) if of.scalar() == Some(Scalar::Boolean) => return Ok(Value::from(number != 0)),
        Wire::Number(number) => return Ok(Value::from(number.cast_signed())),
        Wire::Double(number) => return Ok(Value::from(number)),
        Wire::Bytes(bytes) => bytes,
    };
    if of.is_deduced() {
        // Free content is JSON in a message of one field.
        let inner = only(bytes, 1)?;
        return Ok(inner.and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default());
    }
    match of.scalar() {
        None => Ok(Value::Object(message(bytes, of, depth)?)),
        Some(Scalar::Bytes) => Ok(Value::from(base64::engine::general_purpose::STANDARD.encode(bytes))),
        Some(Scalar::Quantity) => Ok(Value::from(utf8(only(bytes, 1)?.unwrap_or_default())?)),
        Some(Scalar::Time) => time(bytes),
        Some(Scalar::IntOrString) => int_or_string(bytes),
        Some(_) => Ok(Value::from(utf8(bytes)?)),
    }
}

fn only(bytes: &[u8], wanted: u64) -> Result<Option<&[u8]>> {
    let mut found = None;
    for field in fields(bytes) {
        if let (number, Wire::Bytes(inner)) = field?
            && number == wanted
        {
            found = Some(inner);
        }
    }
    Ok(found)
}

fn time(bytes: &[u8]) -> Result<Value> {
    let (mut seconds, mut nanoseconds) = (None, 0);
    for field in fields(bytes) {
        match field? {
            (1, Wire::Number(number)) => seconds = Some(number.cast_signed()),
            (2, Wire::Number(number)) => nanoseconds = i32::try_from(number).unwrap_or(0),
            _ => {}
        }
    }
    let Some(seconds) = seconds else { return Ok(Value::Null) };
    let time = jiff::Timestamp::new(seconds, nanoseconds).map_err(|_| ProtobufError::Broken)?;
    Ok(Value::from(time.to_string()))
}

fn int_or_string(bytes: &[u8]) -> Result<Value> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for field in fields(bytes) {
        match field? {
            (1, Wire::Number(kind)) => is_text = kind == 1,
            (2, Wire::Number(found)) => number = found.cast_signed(),
            (3, Wire::Bytes(found)) => text = utf8(found)?,
            _ => {}
        }
    }
    Ok(if is_text { Value::from(text) } else { Value::from(number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
    }

    fn object(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let type_meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), bytes(1, &type_meta), bytes(2, raw)].concat()
    }

    #[test]
    fn an_object_is_read_by_the_numbers_of_its_fields() {
        let metadata =
            [bytes(1, b"shop"), bytes(8, b""), bytes(11, &[bytes(1, b"a"), bytes(2, b"b")].concat())]
                .concat();
        let port =
            [bytes(1, b"http"), vec![3 << 3, 80], bytes(4, &[1 << 3, 1, 3 << 3 | 2, 1, b'x'])].concat();
        let spec = bytes(1, &port);
        let read =
            decode(&object("v1", "Service", &[bytes(1, &metadata), bytes(2, &spec)].concat())).unwrap();
        assert_eq!(
            read,
            json!({
                "metadata": {"name": "shop", "creationTimestamp": null, "labels": {"a": "b"}},
                "spec": {"ports": [{"name": "http", "port": 80, "targetPort": "x"}]},
                "apiVersion": "v1",
                "kind": "Service",
            })
        );
    }

    #[test]
    fn broken_bytes_are_refused() {
        assert_eq!(decode(b"{}"), Err(ProtobufError::NoMagic));
        assert_eq!(decode(&object("v1", "Nonsense", b"")), Err(ProtobufError::UnknownKind));
        assert_eq!(decode(&object("v1", "Service", &[10, 200])), Err(ProtobufError::Broken));
    }
}
