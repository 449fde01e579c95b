//! What may differ without being drift: `ignoreDifferences` and the system's comparison options, compiled once.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use serde_json::Value;

use super::jq::PathExpression;
use crate::{
    api::ResourceIgnoreDifferences,
    error::{Classified, ErrorKind},
    glob::{Dialect, Glob},
    object::{
        Object, ObjectKey,
        fields::{FieldSet, PathElement, compare_values},
        schema::{self, TypeRef},
    },
};

/// Of which objects the status is left out of the comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IgnoreStatus {
    /// Of all.
    #[default]
    All,
    /// Of definitions of kinds only.
    CustomResourceDefinitions,
    /// Of none.
    None,
}

impl IgnoreStatus {
    /// Reads the setting `ignoreResourceStatusField`; anything unknown means all.
    pub fn from_setting(text: &str) -> Self {
        match text {
            "crd" => Self::CustomResourceDefinitions,
            "none" | "off" | "false" => Self::None,
            _ => Self::All,
        }
    }
}

/// The setting `resource.compareoptions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CompareOptions {
    /// Of which objects the status is left out.
    pub ignore_status: IgnoreStatus,
    /// Leave out the rules of a role that is aggregated, even if the source declares some.
    pub ignore_aggregated_roles: bool,
}

/// The rules of the whole installation.
#[derive(Clone, Debug, Default)]
pub struct SystemRules {
    /// As an Application's `spec.ignoreDifferences`, with the kind `*` where a setting is for all.
    pub ignore_differences: Vec<ResourceIgnoreDifferences>,
    /// Comparison options.
    pub options: CompareOptions,
}

/// A rule, or a part of one, that cannot be used. All others are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {reason}: correct it, until then it has no effect")]
pub struct RuleProblem {
    /// Where the rule is written: `spec.ignoreDifferences[1].jqPathExpressions[0]`.
    pub rule: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Classified for RuleProblem {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

/// Compiled rules. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rules {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    rules: Vec<Rule>,
    options: CompareOptions,
    managers: BTreeSet<String>,
    fingerprint: u64,
}

#[derive(Debug)]
struct Rule {
    group: Glob,
    kind: Glob,
    name: String,
    namespace: String,
    pointers: Vec<Vec<String>>,
    expressions: Vec<(String, PathExpression)>,
    managers: Vec<String>,
}

impl Rule {
    fn applies_to(&self, key: &ObjectKey) -> bool {
        self.group.matches(&key.group)
            && self.kind.matches(&key.kind)
            && (self.name.is_empty() || self.name == key.name)
            && (self.namespace.is_empty() || self.namespace == key.namespace)
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::compile(&[], &SystemRules::default()).0
    }
}

impl Rules {
    /// Compiles an Application's rules together with the system's. What cannot be compiled is named in the second
    /// value.
    pub fn compile(
        application: &[ResourceIgnoreDifferences],
        system: &SystemRules,
    ) -> (Self, Vec<RuleProblem>) {
        let mut problems = Vec::new();
        let mut rules = Vec::new();
        let mut hasher = DefaultHasher::new();
        system.options.hash(&mut hasher);
        let places = [
            ("spec.ignoreDifferences", application),
            ("system ignoreDifferences", &system.ignore_differences),
        ];
        for (place, written) in places {
            for (index, rule) in written.iter().enumerate() {
                serde_json::to_string(rule).unwrap_or_default().hash(&mut hasher);
                rules.extend(compile(rule, &format!("{place}[{index}]"), &mut problems));
            }
        }
        let managers = rules.iter().flat_map(|rule| rule.managers.iter().cloned()).collect();
        let inner = Inner { rules, options: system.options, managers, fingerprint: hasher.finish() };
        (Self { inner: Arc::new(inner) }, problems)
    }

    /// Changes when a rule or an option does. Good for the life of the process.
    pub fn fingerprint(&self) -> u64 {
        self.inner.fingerprint
    }

    /// The field managers that some rule leaves fields to: their entries must be kept in stored live objects.
    pub fn trusted_managers(&self) -> &BTreeSet<String> {
        &self.inner.managers
    }

    /// The expressions that ran into their time limit and are no longer evaluated.
    pub fn exhausted(&self) -> Vec<RuleProblem> {
        let expressions = self.inner.rules.iter().flat_map(|rule| &rule.expressions);
        expressions
            .filter(|(_, expression)| expression.is_exhausted())
            .map(|(rule, _)| RuleProblem { rule: rule.clone(), reason: "it took longer than 1 s".to_owned() })
            .collect()
    }

    pub(super) fn options(&self) -> CompareOptions {
        self.inner.options
    }

    /// Whether any rule is about this object.
    pub(super) fn concern(&self, key: &ObjectKey) -> bool {
        self.inner.rules.iter().any(|rule| rule.applies_to(key))
    }

    /// Removes what the rules name from both sides.
    pub(super) fn remove_ignored(&self, live: &Object, sides: [&mut Value; 2]) {
        let key = live.key();
        let rules: Vec<&Rule> = self.inner.rules.iter().filter(|rule| rule.applies_to(&key)).collect();
        let owned = owned_by(live, rules.iter().flat_map(|rule| &rule.managers)).leaves();
        let schema = schema::built_in(&live.gvk()).unwrap_or_else(TypeRef::deduced);
        for side in sides {
            for path in &owned {
                remove_path(side, path, &schema);
            }
            for rule in &rules {
                for pointer in &rule.pointers {
                    remove_pointer(side, pointer);
                }
                for (_, expression) in &rule.expressions {
                    expression.remove_from(side);
                }
            }
        }
    }
}

fn compile(rule: &ResourceIgnoreDifferences, place: &str, problems: &mut Vec<RuleProblem>) -> Option<Rule> {
    let mut problem = |field: &str, reason: String| {
        problems.push(RuleProblem { rule: format!("{place}.{field}"), reason });
    };
    let group = Glob::new(&rule.group, Dialect::Plain).map_err(|error| problem("group", error.to_string()));
    let kind = Glob::new(&rule.kind, Dialect::Plain).map_err(|error| problem("kind", error.to_string()));
    let mut pointers = Vec::new();
    for (index, text) in rule.json_pointers.iter().enumerate() {
        match parse_pointer(text) {
            Some(pointer) => pointers.push(pointer),
            None => problem(
                &format!("jsonPointers[{index}]"),
                format!("'{text}' is not a JSON pointer to a field: it must begin with '/'"),
            ),
        }
    }
    let mut expressions = Vec::new();
    for (index, text) in rule.jq_path_expressions.iter().enumerate() {
        let field = format!("jqPathExpressions[{index}]");
        match PathExpression::compile(text) {
            Ok(expression) => expressions.push((format!("{place}.{field}"), expression)),
            Err(reason) => {
                let shown: String = text.chars().take(200).collect();
                problem(&field, format!("'{shown}': {reason}"));
            }
        }
    }
    Some(Rule {
        group: group.ok()?,
        kind: kind.ok()?,
        name: rule.name.clone(),
        namespace: rule.namespace.clone(),
        pointers,
        expressions,
        managers: rule.managed_fields_managers.clone(),
    })
}

fn parse_pointer(text: &str) -> Option<Vec<String>> {
    let steps = text.strip_prefix('/')?;
    Some(steps.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect())
}

fn remove_pointer(value: &mut Value, pointer: &[String]) {
    let Some((last, parents)) = pointer.split_last() else {
        return;
    };
    let parent = parents.iter().try_fold(value, |value, step| match value {
        Value::Object(fields) => fields.get_mut(step),
        Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
        _ => None,
    });
    match parent {
        Some(Value::Object(fields)) => {
            fields.shift_remove(last);
        }
        Some(Value::Array(items)) => {
            if let Some(position) = last.parse::<usize>().ok().filter(|position| *position < items.len()) {
                items.remove(position);
            }
        }
        _ => {}
    }
}

/// The fields of a live object that any of these managers holds. An unreadable entry counts as empty.
fn owned_by<'a>(live: &Object, managers: impl Iterator<Item = &'a String>) -> FieldSet {
    let managers: BTreeSet<&str> = managers.map(String::as_str).collect();
    let mut owned = FieldSet::new();
    if managers.is_empty() {
        return owned;
    }
    let entries = live.value().pointer("/metadata/managedFields").and_then(Value::as_array);
    for entry in entries.into_iter().flatten() {
        let manager = entry.get("manager").and_then(Value::as_str).unwrap_or_default();
        let set = entry.get("fieldsV1").map(FieldSet::from_fields_v1);
        if let (true, Some(Ok(set))) = (managers.contains(manager), set) {
            owned = owned.union(&set);
        }
    }
    owned
}

/// Removes one field or item; the mapping or list that held it stays, even empty.
fn remove_path(value: &mut Value, path: &[PathElement], schema: &TypeRef) {
    let Some((element, rest)) = path.split_first() else {
        return;
    };
    match (element, value) {
        (PathElement::Field(name), Value::Object(fields)) if rest.is_empty() => {
            fields.shift_remove(name);
        }
        (PathElement::Field(name), Value::Object(fields)) => {
            if let Some(field) = fields.get_mut(name) {
                remove_path(field, rest, &schema.field(name));
            }
        }
        (element, Value::Array(items)) => {
            let found = items.iter().position(|item| is_item(item, element, schema));
            match found {
                Some(index) if rest.is_empty() => {
                    items.remove(index);
                }
                Some(index) => {
                    if let Some(item) = items.get_mut(index) {
                        remove_path(item, rest, &schema.items());
                    }
                }
                None => {}
            }
        }
        _ => {}
    }
}

/// Whether a path of managed fields means this item of a list, whose missing keys have the schema's defaults.
pub(super) fn is_item(item: &Value, element: &PathElement, schema: &TypeRef) -> bool {
    match element {
        PathElement::Key(keys) => keys.iter().all(|(name, wanted)| match item.get(name) {
            Some(found) => compare_values(found, wanted).is_eq(),
            None => schema.default_of_key(name).as_ref() == Some(wanted),
        }),
        PathElement::Value(wanted) => compare_values(item, wanted).is_eq(),
        PathElement::Field(_) | PathElement::Index(_) => false,
    }
}
