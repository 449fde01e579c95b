//! Field paths of replacements: `spec.containers.[name=web].image`, `data.app\.yaml`, `spec.list.0`, `spec.list.*.x`.

use regex::Regex;
use serde_json::{Map, Value};

use super::ReplacementError;
use crate::object::type_name;
use crate::render::kustomize::filter::scalar_text;

/// What a missing last field is created as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Create {
    Scalar,
    Mapping,
    List,
}

/// A field that a path leads to.
pub(super) struct Place<'a> {
    /// What is there; null for a scalar that was just created.
    pub(super) value: &'a mut Value,
    /// Whether it was created on the way.
    pub(super) is_created: bool,
}

/// The steps of a path: separated by dots, except for escaped ones and those in brackets.
pub(super) fn split(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut is_open = false;
    for part in path.split('.') {
        match parts.last_mut() {
            Some(last) if last.ends_with('\\') => {
                last.pop();
                last.push('.');
                last.push_str(part);
            }
            Some(last) if is_open => {
                last.push('.');
                last.push_str(part);
            }
            _ => parts.push(part.to_owned()),
        }
        is_open = parts.last().is_some_and(|last| last.starts_with('[') && !last.ends_with(']'));
    }
    parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .map(|part| {
            let is_key = part.starts_with('[') && part.contains('.') && !part.contains('=');
            if is_key { part.trim_matches(['[', ']']).to_owned() } else { part }
        })
        .collect()
}

/// One step.
enum Step<'a> {
    Field(&'a str),
    Index(usize),
    Every,
    /// `[key=value]`; an empty key means the element itself.
    Element(&'a str, &'a str),
}

impl<'a> Step<'a> {
    fn parse(step: &'a str) -> Result<Self, String> {
        if let Ok(index) = step.parse() {
            return Ok(Self::Index(index));
        }
        match step.strip_prefix('[').and_then(|step| step.strip_suffix(']')) {
            Some(inner) => match inner.split_once('=') {
                Some((key, value)) => Ok(Self::Element(key, value)),
                None => Err(format!("'{step}' must have the form [name=value]")),
            },
            None if step == "*" => Ok(Self::Every),
            None => Ok(Self::Field(step)),
        }
    }
}

fn wrong_kind(expected: &str, step: &str, value: &Value) -> String {
    format!("wrong node kind: '{step}' needs {expected}, but there is {}", type_name(value))
}

/// The field that a path of a source leads to: the first element that fits `[key=value]`, `-` for the last one.
///
/// # Errors
/// When a step does not fit what is there.
pub fn lookup<'a>(object: &'a Value, path: &str) -> Result<Option<&'a Value>, ReplacementError> {
    lookup_steps(object, &split(path))
        .map_err(|reason| ReplacementError::Lookup { path: path.to_owned(), reason })
}

pub(super) fn lookup_steps<'a>(object: &'a Value, steps: &[String]) -> Result<Option<&'a Value>, String> {
    let mut value = object;
    for step in steps {
        let next = match child_of(value, step)? {
            Some(Child::Field(name)) => value.get(name),
            Some(Child::Element(index)) => value.get(index),
            None => None,
        };
        match next {
            None | Some(Value::Null) => return Ok(None),
            Some(next) => value = next,
        }
    }
    Ok(Some(value))
}

/// As [`lookup_steps`], to change what is there.
pub(super) fn lookup_steps_mut<'a>(object: &'a mut Value, steps: &[String]) -> Option<&'a mut Value> {
    steps.iter().try_fold(object, |value, step| match child_of(value, step).ok()?? {
        Child::Field(name) => value.get_mut(name),
        Child::Element(index) => value.get_mut(index),
    })
}

/// Where a step of a source leads.
enum Child<'a> {
    Field(&'a str),
    Element(usize),
}

fn child_of<'s>(value: &Value, step: &'s str) -> Result<Option<Child<'s>>, String> {
    if step == "-" {
        return Ok(list(value, step)?.len().checked_sub(1).map(Child::Element));
    }
    match Step::parse(step)? {
        Step::Index(index) => list(value, step).map(|_| Some(Child::Element(index))),
        Step::Element(key, text) => {
            let fits = |item: &Value| {
                let part = if key.is_empty() { Some(item) } else { item.get(key) };
                part.and_then(scalar_text).is_some_and(|part| part == text)
            };
            Ok(list(value, step)?.iter().position(fits).map(Child::Element))
        }
        Step::Field(_) | Step::Every if value.is_object() => Ok(Some(Child::Field(step))),
        Step::Field(_) | Step::Every => Err(wrong_kind("a mapping", step, value)),
    }
}

fn list<'a>(value: &'a Value, step: &str) -> Result<&'a Vec<Value>, String> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(wrong_kind("a list", step, other)),
    }
}

/// Calls `set` on every field that a path of a target leads to; how many there were.
///
/// # Errors
/// When a step does not fit what is there.
pub(super) fn each(
    object: &mut Value,
    steps: &[String],
    create: Option<Create>,
    set: &mut dyn FnMut(Place<'_>),
) -> Result<usize, String> {
    // The number of steps bounds the recursion: one deeper for each.
    if steps.len() > 256 {
        return Err("the path is too long".to_owned());
    }
    Walk { create, set }.follow(object, false, steps)
}

struct Walk<'a> {
    create: Option<Create>,
    set: &'a mut dyn FnMut(Place<'_>),
}

impl Walk<'_> {
    fn follow(&mut self, value: &mut Value, is_created: bool, steps: &[String]) -> Result<usize, String> {
        let Some((step, rest)) = steps.split_first() else {
            (self.set)(Place { value, is_created });
            return Ok(1);
        };
        match Step::parse(step)? {
            Step::Field(name) => self.field(value, name, rest),
            Step::Index(index) => self.index(value, index, step, rest),
            Step::Every => {
                let items = list_mut(value, step)?;
                items.iter_mut().try_fold(0, |found, item| Ok(found + self.follow(item, false, rest)?))
            }
            Step::Element(key, pattern) => self.elements(value, key, pattern, step, rest),
        }
    }

    fn field(&mut self, value: &mut Value, name: &str, rest: &[String]) -> Result<usize, String> {
        match value {
            Value::Object(fields) => match fields.get_mut(name) {
                Some(field) => self.follow(field, false, rest),
                None => match self.new_node(rest.first()) {
                    None => Ok(0),
                    Some(new) => self.follow(fields.entry(name).or_insert(new), true, rest),
                },
            },
            // A null takes no fields: kustomize writes into nothing then, and is content.
            Value::Null => Ok(usize::from(self.create.is_some())),
            other => Err(wrong_kind("a mapping", name, other)),
        }
    }

    fn index(
        &mut self,
        value: &mut Value,
        index: usize,
        step: &str,
        rest: &[String],
    ) -> Result<usize, String> {
        let new = self.new_node(rest.first());
        let items = list_mut(value, step)?;
        let mut is_created = false;
        if let Some(new) = new
            && items.len() == index
        {
            items.push(new);
            is_created = true;
        }
        let length = items.len();
        match items.get_mut(index) {
            Some(item) => self.follow(item, is_created, rest),
            None => Err(format!("index {index} specified but only {length} elements found")),
        }
    }

    fn elements(
        &mut self,
        value: &mut Value,
        key: &str,
        pattern: &str,
        step: &str,
        rest: &[String],
    ) -> Result<usize, String> {
        let regex = Regex::new(pattern)
            .map_err(|error| format!("'{pattern}' is not a regular expression: {error}"))?;
        let items = list_mut(value, step)?;
        let mut found = self.matching_elements(items, key, &regex, rest)?;
        if found == 0 && self.create.is_some() {
            let text = super::typed_by_look(pattern);
            items.push(if key.is_empty() { text } else { Map::from_iter([(key.to_owned(), text)]).into() });
            let start = items.len().saturating_sub(1);
            found = self.matching_elements(items.get_mut(start..).unwrap_or_default(), key, &regex, rest)?;
        }
        Ok(found)
    }

    fn matching_elements(
        &mut self,
        items: &mut [Value],
        key: &str,
        regex: &Regex,
        rest: &[String],
    ) -> Result<usize, String> {
        let mut found = 0;
        for item in items {
            let part = if key.is_empty() { Some(&*item) } else { item.get(key) };
            let is_match = part.and_then(scalar_text).is_some_and(|text| regex.is_match(text.trim()));
            if is_match {
                // What follows an element that is itself the value is not looked at.
                found += self.follow(item, false, if key.is_empty() { &[] } else { rest })?;
            }
        }
        Ok(found)
    }

    /// What a missing field becomes, by the step that follows it.
    fn new_node(&self, next: Option<&String>) -> Option<Value> {
        let create = self.create?;
        let kind = match next.map(|next| Step::parse(next)) {
            None => create,
            Some(Ok(Step::Index(_) | Step::Element(..))) => Create::List,
            Some(_) => Create::Mapping,
        };
        Some(match kind {
            Create::Scalar => Value::Null,
            Create::Mapping => Value::Object(Map::new()),
            Create::List => Value::Array(Vec::new()),
        })
    }
}

fn list_mut<'a>(value: &'a mut Value, step: &str) -> Result<&'a mut Vec<Value>, String> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(wrong_kind("a list", step, other)),
    }
}
