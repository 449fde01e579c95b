//! JSON patches (RFC 6902) as kustomize applies them.
//!
//! Differences from the letter of the standard: an index may count from the end (`-1` is the last element); a patch may
//! be written in YAML (1.1, as in kustomization files); a single operation may stand for a list of one.

use serde_json::{Map, Value};

use crate::error::{Classified, ErrorKind};
use crate::files::{Budget, Exhausted};
use crate::object::{type_name, yaml};

/// How many operations one patch may have.
const MAX_OPERATIONS: usize = 10_000;

/// A parsed patch.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    operations: Vec<Operation>,
}

impl Patch {
    /// Whether it has no operation.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}

/// Why a JSON patch cannot be read or applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonPatchError {
    /// The text is neither JSON nor YAML.
    #[error("cannot parse the JSON patch")]
    Syntax(#[source] yaml::YamlError),
    /// The text is not a list of operations.
    #[error(
        "a JSON patch must be a list of operations such as {{op: replace, path: /spec/replicas, value: 3}}: {reason}"
    )]
    Malformed {
        /// What it is instead.
        reason: String,
    },
    /// An operation does not fit the object.
    #[error("JSON patch operation {number} ('{operation}' at '{path}') failed: {reason}")]
    Failed {
        /// Which operation, counted from 1.
        number: usize,
        /// What it does.
        operation: &'static str,
        /// Where.
        path: String,
        /// Why it failed.
        reason: String,
    },
    /// The object becomes too deep.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
}

impl Classified for JsonPatchError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Operation {
    path: Pointer,
    action: Action,
}

#[derive(Debug, Clone, PartialEq)]
enum Action {
    Add(Value),
    Remove,
    Replace(Value),
    Move { from: Pointer },
    Copy { from: Pointer },
    Test(Value),
}

impl Action {
    fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Remove => "remove",
            Self::Replace(_) => "replace",
            Self::Move { .. } => "move",
            Self::Copy { .. } => "copy",
            Self::Test(_) => "test",
        }
    }
}

/// A JSON pointer, taken apart.
#[derive(Debug, Clone, PartialEq)]
struct Pointer {
    text: String,
    steps: Vec<String>,
}

impl Pointer {
    fn parse(text: &str) -> Self {
        // The step before the first slash is dropped, even when the leading slash is missing.
        let steps = text.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
        Self { text: text.to_owned(), steps }
    }
}

/// Reads a patch written in JSON or YAML.
///
/// # Errors
/// When it is neither, or not a list of operations.
pub fn parse(text: &str) -> Result<Patch, JsonPatchError> {
    let documents =
        yaml::parse(text.as_bytes(), &yaml::Options::default()).map_err(JsonPatchError::Syntax)?;
    let malformed = |reason: &str| JsonPatchError::Malformed { reason: reason.to_owned() };
    let value = match documents.into_iter().next() {
        Some(document) => document.value,
        None => return Err(malformed("it is empty")),
    };
    let operations = match value {
        Value::Array(operations) => operations,
        other => return Err(malformed(&format!("it is {}", type_name(&other)))),
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(malformed(&format!("it has more than {MAX_OPERATIONS} operations")));
    }
    let operations = operations
        .into_iter()
        .enumerate()
        .map(|(at, operation)| {
            parse_operation(operation).map_err(|reason| malformed(&format!("operation {}: {reason}", at + 1)))
        })
        .collect::<Result<_, _>>()?;
    Ok(Patch { operations })
}

fn parse_operation(operation: Value) -> Result<Operation, String> {
    let Value::Object(mut fields) = operation else {
        return Err(format!("it is {}, not a mapping", type_name(&operation)));
    };
    let text = |name: &str| match fields.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(format!("field '{name}' must be a string, but it is {}", type_name(other))),
        None => Err(format!("field '{name}' is missing")),
    };
    let path = Pointer::parse(&text("path")?);
    let op = text("op")?;
    let action = match op.as_str() {
        "move" => Action::Move { from: Pointer::parse(&text("from")?) },
        "copy" => Action::Copy { from: Pointer::parse(&text("from")?) },
        "remove" => Action::Remove,
        "test" => Action::Test(fields.shift_remove("value").unwrap_or(Value::Null)),
        // Without a value, null is added, as in kustomize.
        "add" => Action::Add(fields.shift_remove("value").unwrap_or_default()),
        "replace" => {
            let value = fields.shift_remove("value").ok_or_else(|| "field 'value' is missing".to_owned())?;
            Action::Replace(value)
        }
        other => {
            return Err(format!("unknown op '{other}'; it must be add, remove, replace, move, copy or test"));
        }
    };
    Ok(Operation { path, action })
}

/// Applies a patch.
///
/// # Errors
/// When an operation fails; the object is then changed in part.
pub fn apply(patch: &Patch, object: &mut Value, budget: &Budget) -> Result<(), JsonPatchError> {
    for (at, operation) in patch.operations.iter().enumerate() {
        apply_one(operation, object, budget).map_err(|reason| JsonPatchError::Failed {
            number: at + 1,
            operation: operation.action.name(),
            path: operation.path.text.clone(),
            reason,
        })?;
    }
    Ok(budget.check_depth(object)?)
}

/// Applies a patch to an object whose `metadata.annotations` counts as present even if it is not, as it does in
/// `patches` of a kustomization. Annotations that are empty in the end are removed.
///
/// # Errors
/// As [`apply`].
pub fn apply_keeping_annotations(
    patch: &Patch,
    object: &mut Value,
    budget: &Budget,
) -> Result<(), JsonPatchError> {
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        let annotations = metadata.entry("annotations").or_insert(Value::Null);
        if annotations.is_null() {
            *annotations = Value::Object(Map::new());
        }
    }
    let result = apply(patch, object, budget);
    if let Some(Value::Object(metadata)) = object.get_mut("metadata")
        && metadata.get("annotations").and_then(Value::as_object).is_some_and(Map::is_empty)
    {
        metadata.shift_remove("annotations");
    }
    result
}

fn apply_one(operation: &Operation, object: &mut Value, budget: &Budget) -> Result<(), String> {
    let path = &operation.path;
    let spend = |value: &Value| budget.spend(value).map_err(|exhausted| exhausted.to_string());
    match &operation.action {
        Action::Add(value) => {
            spend(value)?;
            add(object, path, value.clone())
        }
        Action::Remove => remove(object, path).map(drop),
        Action::Replace(value) => {
            spend(value)?;
            replace(object, path, value.clone())
        }
        Action::Move { from } => {
            let value = remove(object, from)?;
            let depth = budget.check().and_then(|()| budget.check_depth(&value));
            depth.map_err(|exhausted| exhausted.to_string())?;
            add(object, path, value)
        }
        Action::Copy { from } => {
            // As kustomize has it: what is not there is copied as null.
            let value = match parent(object, from)? {
                Some((Value::Object(fields), key)) => fields.get(key).cloned().unwrap_or_default(),
                _ => find(object, from)?.clone(),
            };
            spend(&value)?;
            add(object, path, value)
        }
        Action::Test(expected) => {
            let actual = find(object, path).unwrap_or(&Value::Null);
            if is_equal(actual, expected) { Ok(()) } else { Err("the value there is another".to_owned()) }
        }
    }
}

/// The container of the last step, and that step; nothing for the whole document.
fn parent<'a, 'p>(
    object: &'a mut Value,
    path: &'p Pointer,
) -> Result<Option<(&'a mut Value, &'p str)>, String> {
    let Some((last, steps)) = path.steps.split_last() else {
        return Ok(None);
    };
    let mut value = object;
    for step in steps {
        value = step_mut(value, step)?;
    }
    Ok(Some((value, last)))
}

fn find<'a>(object: &'a Value, path: &Pointer) -> Result<&'a Value, String> {
    let mut value = object;
    for step in &path.steps {
        value = match value {
            Value::Object(fields) => fields.get(step).ok_or_else(|| no_field(step))?,
            Value::Array(items) => items.get(index(step, items.len())?).ok_or_else(|| no_element(step))?,
            other => return Err(no_children(step, other)),
        };
    }
    Ok(value)
}

fn step_mut<'a>(value: &'a mut Value, step: &str) -> Result<&'a mut Value, String> {
    match value {
        Value::Object(fields) => fields.get_mut(step).ok_or_else(|| no_field(step)),
        Value::Array(items) => {
            let at = index(step, items.len())?;
            items.get_mut(at).ok_or_else(|| no_element(step))
        }
        other => Err(no_children(step, other)),
    }
}

fn add(object: &mut Value, path: &Pointer, value: Value) -> Result<(), String> {
    match parent(object, path)? {
        None => return Err("nothing can be added in the place of the whole object".to_owned()),
        Some((Value::Object(fields), last)) => {
            fields.insert(last.to_owned(), value);
        }
        Some((Value::Array(items), "-")) => items.push(value),
        Some((Value::Array(items), last)) => {
            // Counted from the end, `-1` inserts behind the last element.
            let at = index(last, items.len() + 1)?;
            if at > items.len() {
                return Err(no_element(last));
            }
            items.insert(at, value);
        }
        Some((other, last)) => return Err(no_children(last, other)),
    }
    Ok(())
}

/// As kustomize has it, a field that is not there is set.
fn replace(object: &mut Value, path: &Pointer, value: Value) -> Result<(), String> {
    match parent(object, path)? {
        None => *object = value,
        Some((Value::Object(fields), last)) => {
            fields.insert(last.to_owned(), value);
        }
        Some((items, last)) => *step_mut(items, last)? = value,
    }
    Ok(())
}

fn remove(object: &mut Value, path: &Pointer) -> Result<Value, String> {
    match parent(object, path)? {
        None => Err("the whole object cannot be removed".to_owned()),
        Some((Value::Object(fields), last)) => fields.shift_remove(last).ok_or_else(|| no_field(last)),
        Some((Value::Array(items), last)) => {
            let at = index(last, items.len())?;
            if at < items.len() { Ok(items.remove(at)) } else { Err(no_element(last)) }
        }
        Some((other, last)) => Err(no_children(last, other)),
    }
}

/// The position that a step names; negative ones count back from `length`.
fn index(step: &str, length: usize) -> Result<usize, String> {
    match step.strip_prefix('-') {
        None => step.parse().ok(),
        Some(back) => back.parse::<usize>().ok().and_then(|back| length.checked_sub(back)),
    }
    .ok_or_else(|| no_element(step))
}

fn no_field(step: &str) -> String {
    format!("there is no field '{step}'")
}

fn no_element(step: &str) -> String {
    format!("there is no element '{step}': invalid index")
}

fn no_children(step: &str, value: &Value) -> String {
    format!("there is no '{step}' in {}", type_name(value))
}

/// Equality by value: `1` and `1.0` are the same number.
fn is_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| is_equal(value, other)))
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests;
