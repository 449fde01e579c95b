//! One step of a field path: its order, its name in `fieldsV1`, and how people read it.

use std::cmp::Ordering;
use std::fmt;

use serde_json::{Map, Value};

use super::FieldsError;

/// One step of a field path.
#[derive(Clone, Debug)]
pub enum PathElement {
    /// A field of a mapping (`f:name`).
    Field(String),
    /// The item of a keyed list that has these key fields, sorted by name (`k:{"name":"x"}`).
    Key(Vec<(String, Value)>),
    /// The item of a set with this value (`v:"x"`).
    Value(Value),
    /// The item of an atomic list at this index (`i:0`).
    Index(usize),
}

impl PathElement {
    /// A field of a mapping.
    pub fn field(name: impl Into<String>) -> Self {
        Self::Field(name.into())
    }

    /// The item of a keyed list; sorts the key fields.
    pub fn key(mut fields: Vec<(String, Value)>) -> Self {
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        Self::Key(fields)
    }

    /// Reads a key of `fieldsV1`. `None` for an element type of a later version, which readers must skip.
    ///
    /// # Errors
    /// When the text is no path element.
    pub fn from_fields_v1(text: &str) -> Result<Option<Self>, FieldsError> {
        let bad = |reason: String| FieldsError::BadElement { key: text.to_owned(), reason };
        let mut characters = text.chars();
        let (Some(kind), Some(':')) = (characters.next(), characters.next()) else {
            return Err(bad("it must begin with one letter and a colon".to_owned()));
        };
        let rest = characters.as_str();
        Ok(Some(match kind {
            'f' => Self::Field(rest.to_owned()),
            'v' => Self::Value(serde_json::from_str(rest).map_err(|error| bad(error.to_string()))?),
            'k' => {
                let map: Map<String, Value> =
                    serde_json::from_str(rest).map_err(|error| bad(error.to_string()))?;
                Self::key(map.into_iter().collect())
            }
            'i' => Self::Index(rest.parse().map_err(|_| bad("the index is no number".to_owned()))?),
            _ => return Ok(None),
        }))
    }

    /// The element as a key of `fieldsV1`.
    pub fn to_fields_v1(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(fields) => {
                let map: Map<String, Value> = fields.iter().cloned().collect();
                format!("k:{}", Value::Object(map))
            }
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

impl Ord for PathElement {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.cmp(b),
            (Self::Key(a), Self::Key(b)) => compare_pairs(
                a.iter().map(|(name, value)| (name.as_str(), value)),
                b.iter().map(|(name, value)| (name.as_str(), value)),
            ),
            (Self::Value(a), Self::Value(b)) => compare_values(a, b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for PathElement {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for PathElement {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for PathElement {}

impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(fields) => {
                f.write_str("[")?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{name}={value}")?;
                }
                f.write_str("]")
            }
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A path as the API server prints it in conflicts: `.spec.containers[name="main"].image`.
pub fn path_to_string(path: &[PathElement]) -> String {
    path.iter().map(ToString::to_string).collect()
}

/// The API server's total order of JSON values: numbers, strings, booleans, lists, mappings, null; `1` equals `1.0`
/// and a mapping's field order does not matter.
pub fn compare_values(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => match (x.as_i64(), y.as_i64()) {
            (Some(x), Some(y)) => x.cmp(&y),
            _ => match (x.as_u64(), y.as_u64()) {
                (Some(x), Some(y)) => x.cmp(&y),
                _ => x.as_f64().unwrap_or_default().total_cmp(&y.as_f64().unwrap_or_default()),
            },
        },
        (Value::String(x), Value::String(y)) => x.cmp(y),
        (Value::Bool(x), Value::Bool(y)) => x.cmp(y),
        (Value::Array(x), Value::Array(y)) => {
            for (left, right) in x.iter().zip(y) {
                match compare_values(left, right) {
                    Ordering::Equal => {}
                    unequal => return unequal,
                }
            }
            x.len().cmp(&y.len())
        }
        (Value::Object(x), Value::Object(y)) => {
            let sorted = |map: &Map<String, Value>| {
                let mut pairs: Vec<(String, Value)> =
                    map.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
                pairs.sort_by(|a, b| a.0.cmp(&b.0));
                pairs
            };
            let (x, y) = (sorted(x), sorted(y));
            compare_pairs(x.iter().map(|(k, v)| (k.as_str(), v)), y.iter().map(|(k, v)| (k.as_str(), v)))
        }
        _ => value_rank(a).cmp(&value_rank(b)),
    }
}

fn compare_pairs<'a>(
    a: impl Iterator<Item = (&'a str, &'a Value)>,
    b: impl Iterator<Item = (&'a str, &'a Value)>,
) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some((name_a, value_a)), Some((name_b, value_b))) => {
                match name_a.cmp(name_b).then_with(|| compare_values(value_a, value_b)) {
                    Ordering::Equal => {}
                    unequal => return unequal,
                }
            }
        }
    }
}

fn value_rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    }
}
