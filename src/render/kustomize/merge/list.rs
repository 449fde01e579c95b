//! Lists that merge element by element.
//!
//! When every element has its merge keys and no two elements of a list share them, the result is what one expects:
//! partners are merged, elements of the patch come first (with two keys: only the new ones). Anything else goes through
//! [`Rebuild`], which repeats kustomize's steps one by one, because users' trees depend on what they do to elements
//! without a key or with one that is there twice.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::super::filter::scalar_text;
use super::super::schema::TypeRef;
use super::{DIRECTIVE, Directive, Merge, MergeError, Path};
use crate::object::type_name;

/// How long a list may be that has to be rebuilt step by step: that takes time in the square of its length.
const MAX_IRREGULAR: usize = 4_000;

/// What a list is merged with.
pub(super) enum Patch {
    /// Nothing: the patch does not mention the list.
    None,
    /// Itself: the list comes from the patch.
    Same,
    /// The patch's list.
    Other(Vec<Value>),
}

/// Takes the directive for the whole list out of a list of the patch.
pub(super) fn take_directive(items: &mut Vec<Value>, path: &Path<'_>) -> Result<Directive, MergeError> {
    let first = items.iter().filter_map(Value::as_object).find(|fields| fields.contains_key(DIRECTIVE));
    let value = match first {
        Some(fields) if fields.len() == 1 => fields.get(DIRECTIVE).cloned().unwrap_or_default(),
        _ => return Ok(Directive::Merge),
    };
    let directive = Directive::parse(&value, path)?;
    items.retain(|item| item.get(DIRECTIVE) != Some(&value) && !is_nothing(item));
    Ok(directive)
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty)
}

/// The text of a merge key; empty where there is none.
fn key_text(item: &Value, key: &str) -> String {
    item.get(key).and_then(scalar_text).unwrap_or_default()
}

fn key_texts(item: &Value, keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| key_text(item, key)).collect()
}

impl<'s> Merge<'s> {
    /// The list merged with a patch by the keys of its type.
    pub(super) fn merge_list(
        &self,
        items: Vec<Value>,
        patch: Patch,
        known: Option<TypeRef<'s>>,
        path: &Path<'_>,
    ) -> Result<Vec<Value>, MergeError> {
        let keys: Vec<&str> =
            known.and_then(TypeRef::merge_keys).unwrap_or_default().iter().map(String::as_str).collect();
        let known = known.and_then(TypeRef::items);
        let path = path.child("[]")?;
        if keys.is_empty() {
            return Ok(union(items, patch));
        }
        let others = if let Patch::Other(others) = &patch { others.as_slice() } else { &[] };
        // A key that no element has does not count.
        let used: Vec<&str> = keys
            .iter()
            .copied()
            .filter(|key| items.iter().chain(others).any(|item| !key_text(item, key).is_empty()))
            .collect();
        let is_regular = !used.is_empty() && is_regular(&items, &used) && is_regular(others, &used);
        if !is_regular {
            return Rebuild::new(self, items, patch, keys, known, path)?.run();
        }
        match patch {
            Patch::Other(others) => self.merge_regular(items, others, &used, known, &path),
            patch => {
                let mut merged = Vec::with_capacity(items.len());
                for mut item in items {
                    if self.alone(&mut item, &patch, known, &path)? {
                        merged.push(item);
                    }
                }
                Ok(merged)
            }
        }
    }

    /// An element without a partner; false when it is dropped.
    fn alone(
        &self,
        item: &mut Value,
        patch: &Patch,
        known: Option<TypeRef<'s>>,
        path: &Path<'_>,
    ) -> Result<bool, MergeError> {
        match patch {
            Patch::Same => Ok(self.adopt_in_place(item, known, path)? && !is_nothing(item)),
            Patch::None | Patch::Other(_) => {
                self.settle(item, known, path)?;
                Ok(true)
            }
        }
    }

    fn merge_regular(
        &self,
        mut items: Vec<Value>,
        others: Vec<Value>,
        keys: &[&str],
        known: Option<TypeRef<'s>>,
        path: &Path<'_>,
    ) -> Result<Vec<Value>, MergeError> {
        let places: HashMap<Vec<String>, usize> =
            items.iter().enumerate().map(|(at, item)| (key_texts(item, keys), at)).collect();
        let mut is_settled = vec![false; items.len()];
        let mut front = Vec::with_capacity(items.len() + others.len());
        for other in others {
            let place = places.get(&key_texts(&other, keys)).copied();
            let Some((place, item)) = place.and_then(|place| Some((place, items.get_mut(place)?))) else {
                front.extend(self.adopt(other, known, path)?.filter(|value| !is_nothing(value)));
                continue;
            };
            // An element that says `$patch: replace` moves its partner and leaves it as it is.
            let replaces = other.get(DIRECTIVE).and_then(Value::as_str) == Some("replace");
            if !replaces && (!self.both(item, other, known, path)? || is_nothing(item)) {
                *item = Value::Null;
            }
            if let Some(flag) = is_settled.get_mut(place) {
                *flag = true;
            }
            if keys.len() == 1 {
                front.push(std::mem::take(item));
            }
        }
        for (mut item, is_settled) in items.into_iter().zip(is_settled) {
            if !is_settled {
                self.settle(&mut item, known, path)?;
            }
            front.push(item);
        }
        front.retain(|item| !item.is_null());
        Ok(front)
    }
}

/// Whether every element is a mapping with all keys and no two have the same ones.
fn is_regular(items: &[Value], keys: &[&str]) -> bool {
    let mut seen = HashSet::with_capacity(items.len());
    items.iter().all(|item| {
        let texts = key_texts(item, keys);
        !texts.iter().any(String::is_empty) && seen.insert(texts)
    })
}

/// A set of scalars: those of the patch, then those of the list.
fn union(items: Vec<Value>, patch: Patch) -> Vec<Value> {
    let others = if let Patch::Other(others) = patch { others } else { Vec::new() };
    let mut seen = HashSet::new();
    others
        .into_iter()
        .chain(items)
        .filter(|item| !is_nothing(item) && scalar_text(item).is_none_or(|text| seen.insert(text)))
        .collect()
}

/// The steps of kustomize for lists with irregular elements.
///
/// Elements live in one arena; lists hold places in it, for an element may be in the list and in the result at once,
/// and a change of one is a change of the other.
struct Rebuild<'m, 's, 'p> {
    merge: &'m Merge<'s>,
    known: Option<TypeRef<'s>>,
    path: Path<'p>,
    arena: Vec<Value>,
    keys: Vec<&'s str>,
    list: Vec<usize>,
    patch: Source,
}

enum Source {
    None,
    Same,
    Other(Vec<usize>),
}

impl<'m, 's, 'p> Rebuild<'m, 's, 'p> {
    fn new(
        merge: &'m Merge<'s>,
        items: Vec<Value>,
        patch: Patch,
        keys: Vec<&'s str>,
        known: Option<TypeRef<'s>>,
        path: Path<'p>,
    ) -> Result<Self, MergeError> {
        let mut arena = items;
        let list = (0..arena.len()).collect();
        let patch = match patch {
            Patch::None => Source::None,
            Patch::Same => Source::Same,
            Patch::Other(others) => {
                let start = arena.len();
                arena.extend(others);
                Source::Other((start..arena.len()).collect())
            }
        };
        if arena.len() > MAX_IRREGULAR {
            return Err(MergeError::ListTooLong { path: path.text(), limit: MAX_IRREGULAR });
        }
        Ok(Self { merge, known, path, arena, keys, list, patch })
    }

    fn run(mut self) -> Result<Vec<Value>, MergeError> {
        let mut identities = self.identities();
        if self.keys.len() > 1 {
            unite(&mut identities);
        }
        let is_used: Vec<bool> = (0..self.keys.len())
            .map(|at| identities.iter().any(|texts| texts.get(at).is_some_and(|text| !text.is_empty())))
            .collect();
        if is_used.contains(&true) {
            let mut used = is_used.iter();
            self.keys.retain(|_| used.next() == Some(&true));
            for texts in &mut identities {
                let mut used = is_used.iter();
                texts.retain(|_| used.next() == Some(&true));
            }
        }
        let mut result = Vec::new();
        for texts in &identities {
            match self.merged_element(texts)? {
                Some(place) => result = self.with_element(result, Some(place), texts)?,
                None => {
                    let list = std::mem::take(&mut self.list);
                    self.list = self.with_element(list, None, texts)?;
                }
            }
        }
        if !identities.is_empty() {
            for place in self.list.clone() {
                result = self.appended(result, place)?;
            }
        }
        let mut uses: HashMap<usize, usize> = HashMap::new();
        for place in &result {
            *uses.entry(*place).or_default() += 1;
        }
        let mut items = Vec::with_capacity(result.len());
        for place in result {
            let Some(item) = self.arena.get_mut(place) else {
                continue;
            };
            let is_last = uses.get_mut(&place).is_none_or(|uses| {
                *uses -= 1;
                *uses == 0
            });
            items.push(if is_last { std::mem::take(item) } else { item.clone() });
        }
        Ok(items)
    }

    fn item(&self, place: usize) -> &Value {
        self.arena.get(place).unwrap_or(&Value::Null)
    }

    /// The texts of the merge keys of all elements, those of the patch first, each once.
    fn identities(&self) -> Vec<Vec<String>> {
        let patch = if let Source::Other(patch) = &self.patch { patch.as_slice() } else { &[] };
        let mut seen = HashSet::new();
        patch
            .iter()
            .chain(&self.list)
            .map(|place| key_texts(self.item(*place), &self.keys))
            .filter(|texts| seen.insert(texts.clone()))
            .collect()
    }

    /// The element with these keys, merged with its partner; nothing if there is none or it is deleted.
    fn merged_element(&mut self, texts: &[String]) -> Result<Option<usize>, MergeError> {
        let place = self.find(&self.list, texts);
        let other = match &self.patch {
            Source::Other(patch) => self.find(patch, texts),
            Source::None | Source::Same => None,
        };
        let (kept, place) = match (place, other) {
            (None, None) => return Ok(None),
            (Some(place), None) => {
                let patch = if matches!(self.patch, Source::Same) { Patch::Same } else { Patch::None };
                let mut item = self.take(place);
                let kept = self.merge.alone(&mut item, &patch, self.known, &self.path)?;
                self.put(place, item);
                (kept, place)
            }
            (None, Some(other)) => {
                // An unknown directive is data here, as it is wherever the object has nothing.
                let directive = self.take_directive(other).unwrap_or(Directive::Merge);
                if directive == Directive::Delete {
                    return Ok(None);
                }
                let patch = self.take(other);
                let adopted = self.merge.adopt(patch, self.known, &self.path)?;
                self.put(other, adopted.unwrap_or_default());
                (true, other)
            }
            (Some(place), Some(other)) => match self.take_directive(other)? {
                Directive::Delete => return Ok(None),
                Directive::Replace => {
                    let mut item = Value::Object(Map::new());
                    let patch = self.take(other);
                    let kept = self.merge.both(&mut item, patch, self.known, &self.path)?;
                    self.put(other, item);
                    (kept, other)
                }
                Directive::Merge => {
                    let mut item = self.take(place);
                    let patch = self.item(other).clone();
                    let kept = self.merge.both(&mut item, patch, self.known, &self.path)?;
                    self.put(place, item);
                    (kept, place)
                }
            },
        };
        Ok((kept && !is_nothing(self.item(place))).then_some(place))
    }

    /// Takes the directive of an element of the patch. The element may be looked at once more, then without it.
    fn take_directive(&mut self, place: usize) -> Result<Directive, MergeError> {
        match self.arena.get_mut(place) {
            Some(Value::Object(fields)) => Directive::take(fields, &self.path),
            _ => Ok(Directive::Merge),
        }
    }

    fn take(&mut self, place: usize) -> Value {
        self.arena.get_mut(place).map(std::mem::take).unwrap_or_default()
    }

    fn put(&mut self, place: usize, item: Value) {
        if let Some(slot) = self.arena.get_mut(place) {
            *slot = item;
        }
    }

    /// The first mapping that has these texts; empty ones do not count unless all are empty.
    fn find(&self, list: &[usize], texts: &[String]) -> Option<usize> {
        let all_empty = texts.iter().all(String::is_empty);
        let fits = |item: &Value| {
            self.keys.iter().zip(texts).all(|(key, text)| {
                (text.is_empty() && !all_empty)
                    || item.get(*key).is_some_and(|value| !value.is_null() && key_text(item, key) == *text)
            })
        };
        list.iter().copied().find(|place| self.item(*place).is_object() && fits(self.item(*place)))
    }

    /// The list with `element` in the place of all that have these keys, or without those. An empty text fits every
    /// element that has the key. When texts are missing for the first key, nothing that does not fit is kept.
    fn with_element(
        &self,
        list: Vec<usize>,
        element: Option<usize>,
        texts: &[String],
    ) -> Result<Vec<usize>, MergeError> {
        let needs_mapping = texts.first().is_some_and(|text| !text.is_empty());
        let mut is_found = false;
        let mut kept = Vec::with_capacity(list.len() + 1);
        for place in list {
            let item = self.item(place);
            if is_nothing(item) {
                continue;
            }
            if !item.is_object() {
                if !needs_mapping {
                    return Err(MergeError::NotAMapping { path: self.path.text(), found: type_name(item) });
                }
                kept.push(place);
                continue;
            }
            let mut fits = false;
            for (at, key) in self.keys.iter().enumerate() {
                if let Some(text) = texts.get(at) {
                    fits = item.get(*key).is_some() && (text.is_empty() || key_text(item, key) == *text);
                }
                if !fits {
                    break;
                }
            }
            if fits {
                is_found = true;
                kept.extend(element);
            } else if !texts.is_empty() {
                kept.push(place);
            }
        }
        if let Some(element) = element
            && !is_found
            && !self.item(element).is_null()
        {
            kept.push(element);
        }
        Ok(kept)
    }

    /// The result with one element of the list behind it, or in the place of what has its keys.
    fn appended(&self, mut result: Vec<usize>, place: usize) -> Result<Vec<usize>, MergeError> {
        let item = self.item(place);
        if !item.is_object() && !item.is_null() {
            return Err(MergeError::NotAMapping { path: self.path.text(), found: type_name(item) });
        }
        let mut texts = Vec::new();
        for key in &self.keys {
            match item.get(*key) {
                Some(_) => texts.push(key_text(item, key)),
                None => result.push(place),
            }
        }
        if self.keys.len() > 1 {
            result = self.with_element(result, None, &texts)?;
        }
        self.with_element(result, Some(place), &texts)
    }
}

/// Gives keys of which one lacks a text that the other has, and which agree otherwise, the texts of both.
fn unite(identities: &mut [Vec<String>]) {
    for first in 0..identities.len() {
        let Some(texts) = identities.get(first).cloned() else {
            continue;
        };
        for second in 0..identities.len() {
            let Some(united) = identities.get(second).and_then(|other| united(&texts, other)) else {
                continue;
            };
            for place in [first, second] {
                if let Some(slot) = identities.get_mut(place) {
                    slot.clone_from(&united);
                }
            }
        }
    }
}

fn united(left: &[String], right: &[String]) -> Option<Vec<String>> {
    let agrees = left.iter().zip(right).any(|(a, b)| a == b);
    let differs = left.iter().zip(right).any(|(a, b)| a != b && !a.is_empty() && !b.is_empty());
    let either = |(a, b): (&String, &String)| if a.is_empty() { b.clone() } else { a.clone() };
    (agrees && !differs).then(|| left.iter().zip(right).map(either).collect())
}
