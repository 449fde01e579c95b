//! From the nodes of one document to its JSON value: aliases expanded, merge keys merged, repeated keys found.

use serde_json::{Map, Value};

use super::{
    Document, DuplicateKey, DuplicateKeys, Options, Schema, YamlProblem,
    reader::{Node, NodeKind, Place, Refusal},
};

/// How many repeated keys of one document are told of.
const DUPLICATES_TOLD: usize = 20;
/// How many blank fields of one document are told of.
const BLANKS_TOLD: usize = 10_000;
/// A string of this many bytes costs as much of the alias budget as another value.
const BYTES_PER_NODE: usize = 64;

/// Turns the nodes into a value; `None` for a document that says nothing. `count` grows by the values of this document.
pub(super) fn expand(
    nodes: Vec<Node>,
    options: &Options,
    count: &mut usize,
) -> Result<Option<Document>, Refusal> {
    let Some(place) = nodes.first().map(|root| root.place) else {
        return Ok(None);
    };
    *count = count.saturating_add(nodes.len());
    let visited = vec![false; nodes.len()];
    let mut expander = Expander {
        nodes,
        visited,
        options,
        alias_nodes: 0,
        duplicate_keys: Vec::new(),
        blank_fields: Vec::new(),
    };
    let value = expander.value(0, 0, Use::default())?;
    *count = count.saturating_add(expander.alias_nodes);
    if value.is_null() {
        return Ok(None);
    }
    let line = one_based(place);
    Ok(Some(Document {
        value,
        line,
        duplicate_keys: expander.duplicate_keys,
        blank_fields: expander
            .blank_fields
            .into_iter()
            .map(|path| path.into_iter().rev().collect())
            .collect(),
    }))
}

struct Expander<'a> {
    nodes: Vec<Node>,
    /// Which anchored nodes were turned into a value before.
    visited: Vec<bool>,
    options: &'a Options,
    alias_nodes: usize,
    duplicate_keys: Vec<DuplicateKey>,
    /// Each from the inside out.
    blank_fields: Vec<Vec<String>>,
}

/// How a node is reached.
#[derive(Clone, Copy, Default)]
struct Use {
    /// Some node above it has an anchor, so that it may be needed again.
    shared: bool,
    /// Some node above it was expanded before.
    again: bool,
    at: At,
}

/// Where in a Kubernetes object a node is, as far as it matters here.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum At {
    #[default]
    Object,
    /// `items` of a list.
    Items,
    /// `metadata`.
    Metadata,
    /// `metadata.annotations`.
    Annotations,
    /// The value of an annotation.
    Annotation,
    /// `metadata.labels`.
    Labels,
    /// The value of a label.
    Label,
    Elsewhere,
}

impl At {
    fn field(self, name: &str) -> Self {
        match (self, name) {
            (Self::Object, "metadata") => Self::Metadata,
            (Self::Object, "items") => Self::Items,
            (Self::Metadata, "annotations") => Self::Annotations,
            (Self::Annotations, _) => Self::Annotation,
            (Self::Metadata, "labels") => Self::Labels,
            (Self::Labels, _) => Self::Label,
            _ => Self::Elsewhere,
        }
    }

    fn element(self) -> Self {
        if self == Self::Items { Self::Object } else { Self::Elsewhere }
    }
}

impl Expander<'_> {
    fn value(&mut self, id: usize, depth: usize, mut reached: Use) -> Result<Value, Refusal> {
        if depth > self.options.limits.depth {
            let message = format!("values are nested more than {} deep", self.options.limits.depth);
            return Err(Refusal::new(YamlProblem::Limit, self.place(id), message));
        }
        if self.nodes.get(id).is_some_and(|node| node.anchored) {
            reached.shared = true;
            if let Some(visited) = self.visited.get_mut(id) {
                reached.again |= std::mem::replace(visited, true);
            }
        }
        let kind = match self.nodes.get_mut(id) {
            None => return Ok(Value::Null),
            Some(node) if reached.shared => match &node.kind {
                NodeKind::Scalar(value) => NodeKind::Scalar(value.clone()),
                NodeKind::Plain(value, text) => NodeKind::Plain(value.clone(), text.clone()),
                NodeKind::Merge => NodeKind::Merge,
                NodeKind::Blank => NodeKind::Blank,
                NodeKind::Sequence(items) => NodeKind::Sequence(items.clone()),
                NodeKind::Mapping(entries) => NodeKind::Mapping(entries.clone()),
            },
            Some(node) => std::mem::replace(&mut node.kind, NodeKind::Merge),
        };
        if reached.again {
            self.charge(id, &kind)?;
        }
        match kind {
            NodeKind::Scalar(value) => Ok(value),
            // Annotations are text, whatever it looks like.
            NodeKind::Plain(value, text) => {
                let is_text = match reached.at {
                    At::Annotation => !(value.is_null() && self.options.is_patch),
                    _ => false,
                };
                Ok(if is_text || self.is_text(reached.at) { Value::String(text.into()) } else { value })
            }
            NodeKind::Merge => Ok(Value::from("<<")),
            NodeKind::Blank if self.is_text(reached.at) => Ok(Value::from("")),
            NodeKind::Blank => {
                if self.blank_fields.len() < BLANKS_TOLD {
                    self.blank_fields.push(Vec::new());
                }
                Ok(Value::Null)
            }
            NodeKind::Sequence(items) => {
                let reached = Use { at: reached.at.element(), ..reached };
                let mut list = Vec::with_capacity(items.len());
                for (index, item) in items.into_iter().enumerate() {
                    let told = self.blank_fields.len();
                    list.push(self.value(item, depth + 1, reached)?);
                    self.blanks_within(told, || index.to_string());
                }
                Ok(Value::Array(list))
            }
            NodeKind::Mapping(entries) => self.mapping(entries, depth, reached).map(Value::Object),
        }
    }

    fn mapping(
        &mut self,
        entries: Vec<(usize, usize)>,
        depth: usize,
        reached: Use,
    ) -> Result<Map<String, Value>, Refusal> {
        let overrides = self.options.schema == Schema::Yaml11;
        let mut map = Map::with_capacity(entries.len());
        // By position in the map: where the key was given; `None` for one that was merged in.
        let mut given: Vec<Option<Place>> = Vec::with_capacity(entries.len());
        let mut merges = Vec::new();
        for (key, value) in entries {
            let place = self.place(key);
            if self.is_merge(key) {
                if overrides {
                    for source in self.merge_sources(value, place)?.into_iter().rev() {
                        for (key, value) in self.merged(source, depth, reached)? {
                            if map.insert(key, value).is_none() {
                                given.push(None);
                            }
                        }
                    }
                } else {
                    merges.push((value, place));
                }
                continue;
            }
            let key = self.key(key, depth, reached)?;
            // In a small mapping a look at every key is cheaper than a hash.
            let is_new =
                if map.len() <= 8 { map.keys().all(|other| *other != key) } else { !map.contains_key(&key) };
            if !is_new {
                self.repeated(&map, &mut given, &key, place)?;
            }
            let told = self.blank_fields.len();
            let value = self.value(value, depth + 1, Use { at: reached.at.field(&key), ..reached })?;
            self.blanks_within(told, || key.clone());
            map.insert(key, value);
            if is_new {
                given.push(Some(place));
            }
        }
        for (value, place) in merges {
            for source in self.merge_sources(value, place)? {
                for (key, value) in self.merged(source, depth, reached)? {
                    if !map.contains_key(&key) {
                        map.insert(key, value);
                    }
                }
            }
        }
        Ok(map)
    }

    /// Puts a step before the paths of the blank fields that were found since `told` had been.
    fn blanks_within(&mut self, told: usize, step: impl Fn() -> String) {
        for path in self.blank_fields.iter_mut().skip(told) {
            path.push(step());
        }
    }

    /// Whether whatever is written here is text.
    fn is_text(&self, at: At) -> bool {
        match at {
            At::Annotation => self.options.annotations_as_text,
            At::Label => self.options.labels_as_text,
            _ => false,
        }
    }

    fn is_merge(&self, key: usize) -> bool {
        self.nodes.get(key).is_some_and(|node| matches!(node.kind, NodeKind::Merge))
    }

    /// The mappings that `<<` names, in the order in which they are written.
    fn merge_sources(&self, value: usize, place: Place) -> Result<Vec<usize>, Refusal> {
        let is_mapping =
            |id: &usize| self.nodes.get(*id).is_some_and(|node| matches!(node.kind, NodeKind::Mapping(_)));
        let sources = match self.nodes.get(value).map(|node| &node.kind) {
            Some(NodeKind::Sequence(items)) => items.clone(),
            _ => vec![value],
        };
        if sources.iter().all(is_mapping) {
            return Ok(sources);
        }
        let message = "the merge key '<<' needs a mapping or a list of mappings";
        Err(Refusal::new(YamlProblem::Value, place, message))
    }

    fn merged(&mut self, source: usize, depth: usize, reached: Use) -> Result<Map<String, Value>, Refusal> {
        match self.value(source, depth + 1, reached)? {
            Value::Object(map) => Ok(map),
            _ => Ok(Map::new()),
        }
    }

    fn key(&mut self, id: usize, depth: usize, reached: Use) -> Result<String, Refusal> {
        let place = self.place(id);
        let refuse = |message: String| Err(Refusal::new(YamlProblem::Value, place, message));
        let any_kind = self.options.schema == Schema::Yaml11 || self.options.is_patch;
        match self.value(id, depth + 1, reached)? {
            Value::String(text) => Ok(text),
            Value::Bool(truth) if any_kind => Ok(truth.to_string()),
            Value::Number(number) if any_kind => Ok(super::emitter::number(&number)),
            Value::Null => refuse("a key must be a text, but this one is null".to_owned()),
            Value::Array(_) | Value::Object(_) => refuse(
                "a key must be a text, but this one is a list or mapping (does '{{' need quotes?)".to_owned(),
            ),
            other => refuse(format!("a key must be a text: put {other} in quotes")),
        }
    }

    /// Refuses or notes a key that the mapping has already.
    fn repeated(
        &mut self,
        map: &Map<String, Value>,
        given: &mut [Option<Place>],
        key: &str,
        place: Place,
    ) -> Result<(), Refusal> {
        if self.options.duplicate_keys == DuplicateKeys::LastWins
            && self.duplicate_keys.len() >= DUPLICATES_TOLD
        {
            return Ok(());
        }
        let Some(position) = map.keys().position(|other| other == key) else {
            return Ok(());
        };
        let Some(slot) = given.get_mut(position) else {
            return Ok(());
        };
        let Some(first) = slot.replace(place) else {
            return Ok(());
        };
        *slot = Some(first);
        if self.options.duplicate_keys == DuplicateKeys::Error {
            let message = format!("key '{key}' was already given at line {}", one_based(first));
            return Err(Refusal::new(YamlProblem::DuplicateKey, place, message));
        }
        self.duplicate_keys.push(DuplicateKey {
            key: key.to_owned(),
            line: one_based(place),
            first_line: one_based(first),
        });
        Ok(())
    }

    fn charge(&mut self, id: usize, kind: &NodeKind) -> Result<(), Refusal> {
        let cost = match kind {
            NodeKind::Scalar(Value::String(text)) => 1 + text.len() / BYTES_PER_NODE,
            _ => 1,
        };
        self.alias_nodes = self.alias_nodes.saturating_add(cost);
        if self.alias_nodes > self.options.limits.alias_nodes {
            let message = format!(
                "aliases of what is defined here make more than {} values",
                self.options.limits.alias_nodes
            );
            return Err(Refusal::new(YamlProblem::Limit, self.place(id), message));
        }
        Ok(())
    }

    fn place(&self, id: usize) -> Place {
        self.nodes.get(id).map_or(Place { line: 0, column: 0 }, |node| node.place)
    }
}

fn one_based(place: Place) -> usize {
    usize::try_from(place.line).unwrap_or(usize::MAX).saturating_add(1)
}
