//! `vars` (deprecated): `$(NAME)` in certain fields stands for a field of a named resource.
//!
//! A var is tied to its resource in the layer that defines it, and read when all is done: names then have their prefixes and
//! hashes. `$$(NAME)` is the text `$(NAME)`; an unknown or unclosed name stays as it is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    error::KustomizeError,
    fieldspec::{Create, FieldSpec, visit},
    filter::{FilterError, scalar_text},
    kustomization::Var,
    replacement,
    resource::{describe, is_same},
    resources::Resources,
    selector::Id,
};
use crate::{files::Budget, object::Gvk};

/// How long a text may become when its vars are expanded.
const MAX_LENGTH: usize = 16 << 20;

/// The vars of a tree, by name.
#[derive(Debug, Default)]
pub(super) struct Vars(BTreeMap<String, Var>);

impl Vars {
    /// Adds the vars of a base.
    pub fn merge(&mut self, other: Self) -> Result<(), KustomizeError> {
        other.0.into_values().try_for_each(|var| self.insert(var))
    }

    /// Adds the vars of a kustomization and ties each to the resource that it names, if that is there.
    pub fn define(&mut self, vars: &[Var], resources: &mut Resources) -> Result<(), KustomizeError> {
        for var in vars {
            let id = id_of(var);
            let mut found = resources.named(&id.name);
            found.retain(|at| {
                resources.get(*at).is_some_and(|resource| {
                    resource.ids().any(|other| {
                        if id.namespace.is_empty() && !super::resource::is_cluster_scoped(&id) {
                            other.gvk == id.gvk && other.name == id.name
                        } else {
                            is_same(other, &id)
                        }
                    })
                })
            });
            match found.as_slice() {
                [] => {}
                [at] => {
                    resources.change(*at, |resource| resource.vars.push(var.name.clone()));
                }
                _ => {
                    return Err(KustomizeError::invalid(format!(
                        "var '{}' may read {} resources, it must be one: they are or were called {}",
                        var.name,
                        found.len(),
                        describe(&id)
                    )));
                }
            }
            self.insert(var.clone())?;
        }
        Ok(())
    }

    fn insert(&mut self, var: Var) -> Result<(), KustomizeError> {
        if self.0.contains_key(&var.name) {
            return Err(KustomizeError::invalid(format!("var '{}' is defined twice in the tree", var.name)));
        }
        self.0.insert(var.name.clone(), var);
        Ok(())
    }

    /// Expands the vars in all resources.
    pub fn resolve(
        &self,
        resources: &mut Resources,
        fieldspecs: &[FieldSpec],
        warnings: &mut Vec<String>,
        budget: &Budget,
    ) -> Result<(), KustomizeError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let values = self.values(resources)?;
        let mut used = BTreeSet::new();
        for resource in resources.iter_mut() {
            for spec in fieldspecs {
                visit(&mut resource.value, spec, Create::Never, &mut |place| {
                    expand_in(place, &values, &mut used, &spec.path)
                })
                .map_err(|error| {
                    KustomizeError::from(error).of_object("expanding vars", describe(resource.id()))
                })?;
            }
            budget.spend(&resource.value)?;
            resource.refresh();
        }
        for name in values.keys().filter(|name| !used.contains(*name)) {
            warnings.push(format!("var '{name}' is defined but not used"));
        }
        Ok(())
    }

    fn values(&self, resources: &Resources) -> Result<BTreeMap<String, Value>, KustomizeError> {
        let mut values = BTreeMap::new();
        for resource in resources.iter() {
            for var in resource.vars.iter().filter_map(|name| self.0.get(name)) {
                let path = match var.fieldref.field_path.as_str() {
                    "" => "metadata.name".to_owned(),
                    path => with_plain_indices(path),
                };
                let value = replacement::lookup(&resource.value, &path)?.cloned().ok_or_else(|| {
                    KustomizeError::invalid(format!(
                        "var '{}' reads field '{path}' of {}, which has no such field",
                        var.name,
                        describe(resource.id())
                    ))
                })?;
                values.entry(var.name.clone()).or_insert(value);
            }
        }
        match self.0.values().find(|var| !values.contains_key(&var.name)) {
            None => Ok(values),
            Some(var) => Err(KustomizeError::invalid(format!(
                "var '{}' reads {}, which is not among the resources",
                var.name,
                describe(&id_of(var))
            ))),
        }
    }
}

/// `a[0].b` as `a.0.b`.
fn with_plain_indices(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('[') {
        plain.push_str(before);
        match after.split_once(']') {
            Some((index, after)) if !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit()) => {
                if !plain.is_empty() && !plain.ends_with('.') {
                    plain.push('.');
                }
                plain.push_str(index);
                rest = after;
            }
            _ => {
                plain.push('[');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn id_of(var: &Var) -> Id {
    let object = &var.objref;
    let gvk = if object.api_version.is_empty() {
        Gvk::new(object.group.as_str(), object.version.as_str(), object.kind.as_str())
    } else {
        Gvk::from_api_version(&object.api_version, &object.kind)
    };
    Id { gvk, name: object.name.clone(), namespace: object.namespace.clone() }
}

fn expand_in(
    place: &mut Value,
    values: &BTreeMap<String, Value>,
    used: &mut BTreeSet<String>,
    path: &str,
) -> Result<(), FilterError> {
    match place {
        Value::String(text) => {
            let too_long = || FilterError::TooLong { path: path.to_owned(), limit: MAX_LENGTH };
            if let Some(new) = expand(text, values, used, too_long)? {
                *place = new;
            }
        }
        Value::Object(fields) => {
            for field in fields.values_mut().filter(|field| field.is_string()) {
                expand_in(field, values, used, path)?;
            }
        }
        Value::Array(items) => {
            for item in items {
                if !item.is_string() {
                    return Err(FilterError::WrongType {
                        path: path.to_owned(),
                        expected: "a list of strings",
                        found: "a list with something else",
                    });
                }
                expand_in(item, values, used, path)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}

/// The text with its vars expanded; nothing when it has no `$`.
fn expand(
    text: &str,
    values: &BTreeMap<String, Value>,
    used: &mut BTreeSet<String>,
    too_long: impl Fn() -> FilterError,
) -> Result<Option<Value>, FilterError> {
    if !text.contains('$') {
        return Ok(None);
    }
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after_name)) =
            after.strip_prefix('(').and_then(|inner| inner.split_once(')'))
        {
            match values.get(name) {
                Some(value) => {
                    used.insert(name.to_owned());
                    if text.len() == name.len() + 3 {
                        return Ok(Some(value.clone()));
                    }
                    expanded.push_str(&scalar_text(value).unwrap_or_else(|| value.to_string()));
                    if expanded.len() > MAX_LENGTH {
                        return Err(too_long());
                    }
                }
                None => expanded.push_str(&format!("$({name})")),
            }
            rest = after_name;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded.push_str(rest);
    Ok(Some(Value::from(expanded)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn vars_are_expanded_as_in_a_pod_spec() {
        let values = BTreeMap::from([("A".to_owned(), json!("x")), ("N".to_owned(), json!(80))]);
        let cases = [
            ("$(A)", json!("x")),
            ("$(N)", json!(80)),
            (":$(N)/$(A)", json!(":80/x")),
            ("$$(A)", json!("$(A)")),
            ("$(B) $(A", json!("$(B) $(A")),
            ("a$", json!("a$")),
        ];
        for (text, expected) in cases {
            let mut place = json!(text);
            expand_in(&mut place, &values, &mut BTreeSet::new(), "path").unwrap();
            assert_eq!(place, expected, "{text}");
        }
    }
}
