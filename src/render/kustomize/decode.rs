//! From a YAML value to a typed configuration, as Go's JSON decoder does it for kustomize.
//!
//! Field names match without regard to case, a null field is as good as a missing one, and unknown fields are an error
//! or are passed over, as the caller says. Errors name the path of the field and never show the value: it may be the
//! literal of a Secret.

use std::fmt;

use serde::de::{
    self, DeserializeOwned, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    Visitor, value::StrDeserializer,
};
use serde_json::{Map, Value};

use crate::object::{
    type_name,
    yaml::{self, Located, LocatedContent},
};

/// What happens to fields that the type does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnknownFields {
    /// They are an error: the kustomization file.
    Reject,
    /// They are passed over: configurations of plugins.
    Ignore,
}

/// Why a value is not the configuration that it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// From the inside out.
    path: Vec<String>,
    /// The field that the type does not have.
    unknown: Option<String>,
    message: String,
    /// Where the field stands, from 1, once that has been looked up.
    line: Option<usize>,
}

impl DecodeError {
    fn new(message: String) -> Self {
        Self { path: Vec::new(), unknown: None, message, line: None }
    }

    fn unknown(field: &str) -> Self {
        Self { unknown: Some(field.to_owned()), ..Self::new(format!("unknown field '{field}'")) }
    }

    /// Looks up the line of the field in the text that the value was read from.
    pub(super) fn located_in(mut self, text: &[u8]) -> Self {
        self.line = yaml::locate(text).ok().flatten().and_then(|top| self.line_in(&top));
        self
    }

    fn line_in(&self, top: &Located) -> Option<usize> {
        let (mut at, mut line) = (top, top.line);
        for step in self.path.iter().rev().chain(&self.unknown) {
            match &at.content {
                LocatedContent::Mapping { entries, .. } => {
                    let is_step =
                        |key: &Located| key.scalar().is_some_and(|key| key.eq_ignore_ascii_case(step));
                    let (key, value) = entries.iter().find(|(key, _)| is_step(key))?;
                    (at, line) = (value, key.line);
                }
                LocatedContent::Sequence { items, .. } => {
                    let index: usize = step.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?;
                    at = items.get(index)?;
                    line = at.line;
                }
                LocatedContent::Scalar { .. } | LocatedContent::Alias => break,
            }
        }
        Some(line)
    }

    fn within(mut self, step: String) -> Self {
        self.path.push(step);
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.path.is_empty() {
            let mut path = String::new();
            for step in self.path.iter().rev() {
                if !path.is_empty() && !step.starts_with('[') {
                    path.push('.');
                }
                path.push_str(step);
            }
            write!(f, "field '{path}': ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match unexpected {
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
            Unexpected::Str(_) | Unexpected::Char(_) => "a string",
            Unexpected::Unit => "null",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a mapping",
            _ => "something else",
        };
        Self::new(format!("expected {expected}, found {found}"))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, found a value out of range"))
    }
}

/// Reads a typed configuration from a value.
///
/// # Errors
/// When a field has the wrong type, or is unknown and `unknown` says that this matters.
pub(super) fn decode<T: DeserializeOwned>(value: &Value, unknown: UnknownFields) -> Result<T, DecodeError> {
    T::deserialize(Node { value, unknown })
}

#[derive(Clone, Copy)]
struct Node<'a> {
    value: &'a Value,
    unknown: UnknownFields,
}

impl<'a> Node<'a> {
    /// The fields of a mapping; nothing for a null.
    fn fields(self) -> Result<Option<&'a Map<String, Value>>, DecodeError> {
        match self.value {
            Value::Null => Ok(None),
            Value::Object(fields) => Ok(Some(fields)),
            _ => Err(self.mismatch("a mapping")),
        }
    }

    fn mismatch(self, expected: &str) -> DecodeError {
        let hint = match (expected, self.value) {
            ("a string", Value::Bool(_) | Value::Number(_)) => " (put it in quotes)",
            _ => "",
        };
        DecodeError::new(format!("expected {expected}, found {}{hint}", type_name(self.value)))
    }
}

impl<'de, 'a> Deserializer<'de> for Node<'a>
where
    'a: 'de,
{
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Number(number) => number.clone().into_deserializer_any(visitor),
            Value::String(text) => visitor.visit_str(text),
            Value::Array(_) => self.deserialize_seq(visitor),
            Value::Object(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.value {
            Value::Null => visitor.visit_bool(false),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            _ => Err(self.mismatch("a boolean")),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.value {
            Value::Null => visitor.visit_i64(0),
            Value::Number(number) => match number.as_i64() {
                Some(number) => visitor.visit_i64(number),
                None => Err(DecodeError::new("expected a whole number".to_owned())),
            },
            _ => Err(self.mismatch("a whole number")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.value {
            Value::Null => visitor.visit_str(""),
            Value::String(text) => visitor.visit_str(text),
            _ => Err(self.mismatch("a string")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let items = match self.value {
            Value::Null => &[],
            Value::Array(items) => items.as_slice(),
            _ => return Err(self.mismatch("a list")),
        };
        visitor.visit_seq(Items { items: items.iter().enumerate(), unknown: self.unknown })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let fields: Vec<(&str, &Value)> =
            self.fields()?.into_iter().flatten().map(|(key, value)| (key.as_str(), value)).collect();
        visitor.visit_map(Fields { fields: fields.into_iter(), pending: None, unknown: self.unknown })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let mut fields: Vec<(&str, &Value)> = Vec::new();
        for (key, value) in self.fields()?.into_iter().flatten() {
            let name = known
                .iter()
                .find(|name| *name == key)
                .or_else(|| known.iter().find(|name| name.eq_ignore_ascii_case(key)));
            match name {
                Some(name) => {
                    fields.retain(|(present, _)| present != name);
                    if !value.is_null() {
                        fields.push((name, value));
                    }
                }
                None if self.unknown == UnknownFields::Ignore => {}
                None => return Err(DecodeError::unknown(key)),
            }
        }
        visitor.visit_map(Fields { fields: fields.into_iter(), pending: None, unknown: self.unknown })
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct enum
        identifier ignored_any
    }
}

trait IntoAny {
    fn into_deserializer_any<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError>;
}

impl IntoAny for serde_json::Number {
    fn into_deserializer_any<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match (self.as_i64(), self.as_u64(), self.as_f64()) {
            (Some(number), _, _) => visitor.visit_i64(number),
            (_, Some(number), _) => visitor.visit_u64(number),
            (_, _, Some(number)) => visitor.visit_f64(number),
            _ => Err(DecodeError::new("expected a number that fits 64 bits".to_owned())),
        }
    }
}

struct Items<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Value>>,
    unknown: UnknownFields,
}

impl<'de, 'a> SeqAccess<'de> for Items<'a>
where
    'a: 'de,
{
    type Error = DecodeError;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some((at, value)) = self.items.next() else {
            return Ok(None);
        };
        let node = Node { value, unknown: self.unknown };
        seed.deserialize(node).map(Some).map_err(|error| error.within(format!("[{at}]")))
    }
}

struct Fields<'a> {
    fields: std::vec::IntoIter<(&'a str, &'a Value)>,
    pending: Option<(&'a str, &'a Value)>,
    unknown: UnknownFields,
}

impl<'de, 'a> MapAccess<'de> for Fields<'a>
where
    'a: 'de,
{
    type Error = DecodeError;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        self.pending = self.fields.next();
        match self.pending {
            Some((key, _)) => {
                let key: StrDeserializer<'_, DecodeError> = key.into_deserializer();
                seed.deserialize(key).map(Some)
            }
            None => Ok(None),
        }
    }

    fn next_value_seed<T: de::DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, DecodeError> {
        let (key, value) = self.pending.take().unwrap_or(("", &Value::Null));
        let node = Node { value, unknown: self.unknown };
        seed.deserialize(node).map_err(|error| error.within(key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Inner {
        new_name: String,
        count: i64,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Outer {
        name_prefix: String,
        items: Vec<Inner>,
        labels: BTreeMap<String, String>,
        nested: Option<Inner>,
    }

    fn strict(value: &Value) -> Result<Outer, DecodeError> {
        decode(value, UnknownFields::Reject)
    }

    #[test]
    fn field_names_match_without_regard_to_case_and_nulls_are_absent() {
        let value = json!({"NAMEPREFIX": "a-", "items": [{"newname": "x", "count": null}], "nested": null});
        let outer = strict(&value).unwrap();
        assert_eq!(outer.name_prefix, "a-");
        assert_eq!(outer.items, [Inner { new_name: "x".to_owned(), count: 0 }]);
        assert_eq!(outer.nested, None);
    }

    #[test]
    fn an_unknown_field_is_named_with_its_path() {
        let error = strict(&json!({"items": [{}, {"newnam": "x"}]})).unwrap_err();
        assert_eq!(error.to_string(), "field 'items[1]': unknown field 'newnam'");
        let lenient: Outer = decode(&json!({"x": 1, "namePrefix": "p"}), UnknownFields::Ignore).unwrap();
        assert_eq!(lenient.name_prefix, "p");
    }

    #[test]
    fn a_wrong_type_is_reported_without_the_value() {
        let error = strict(&json!({"labels": {"a": 5}})).unwrap_err();
        assert_eq!(
            error.to_string(),
            "field 'labels.a': expected a string, found a number (put it in quotes)"
        );
        let error = strict(&json!({"items": "password=s3cret"})).unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}
