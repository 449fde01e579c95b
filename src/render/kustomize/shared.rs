//! Texts that kustomize keeps once and shows in several fields.
//!
//! ```text
//! base     labels {env: dev}, includeSelectors   ▶ metadata.labels.env ┐
//!                                                  selector.env        ├ one node
//!                                                  template.labels.env ┘
//! overlay  labels {env: prod}                    ▶ sets metadata.labels.env, so all three say prod
//! ```
//!
//! A step that sets labels or annotations makes one node for each pair and hangs it into every field that lacks the pair. A
//! later step that writes to one of these fields writes to that node. Trees render so with kustomize, therefore here too. A
//! field leaves the group when a step gives it a node of its own: a JSON patch does so for the whole object.

use std::rc::Rc;

use serde_json::Value;

/// A step on the way to a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into a mapping.
    Field(String),
    /// Into a list.
    Index(usize),
}

/// The way to a mapping.
pub type Place = Rc<[Step]>;

/// The groups of one object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shared {
    groups: Vec<Group>,
}

/// One pair that several mappings hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    key: String,
    value: Value,
    places: Vec<Place>,
}

impl Shared {
    /// Remembers that a step has added a pair to these mappings.
    pub fn add(&mut self, key: &str, text: &str, places: Vec<Place>) {
        if places.len() > 1 {
            self.groups.push(Group { key: key.to_owned(), value: Value::from(text), places });
        }
    }

    /// Forgets all groups.
    pub fn clear(&mut self) {
        self.groups.clear();
    }

    /// Forgets the annotations of the object itself.
    pub fn forget_annotations(&mut self) {
        let is_annotations = |place: &Place| matches!(place.as_ref(), [Step::Field(a), Step::Field(b)] if a == "metadata" && b == "annotations");
        self.retain(|place, _| !is_annotations(place));
    }

    /// Forgets the fields that a strategic merge patch replaces rather than writes to.
    pub fn prepare_merge(&mut self, patch: &Value) {
        self.retain(|place, _| is_written_in_place(patch, place));
    }

    /// After a step: what it wrote to one field of a group is in all of them.
    pub fn settle(&mut self, object: &mut Value) {
        if self.groups.is_empty() {
            return;
        }
        self.retain(|place, key| {
            lookup(object, place)
                .and_then(|fields| fields.get(key))
                .is_some_and(|value| matches!(value, Value::String(_) | Value::Bool(_) | Value::Number(_)))
        });
        for group in &mut self.groups {
            let written = group
                .places
                .iter()
                .filter_map(|place| lookup(object, place)?.get(&group.key))
                .rfind(|value| **value != group.value)
                .cloned();
            let Some(written) = written else { continue };
            for place in &group.places {
                if let Some(field) = lookup_mut(object, place).and_then(|fields| fields.get_mut(&group.key)) {
                    field.clone_from(&written);
                }
            }
            group.value = written;
        }
    }

    fn retain(&mut self, keep: impl Fn(&Place, &str) -> bool) {
        for Group { key, places, .. } in &mut self.groups {
            places.retain(|place| keep(place, key));
        }
        self.groups.retain(|group| group.places.len() > 1);
    }
}

fn lookup<'a>(object: &'a Value, place: &[Step]) -> Option<&'a Value> {
    place.iter().try_fold(object, |value, step| match step {
        Step::Field(name) => value.get(name),
        Step::Index(at) => value.get(at),
    })
}

fn lookup_mut<'a>(object: &'a mut Value, place: &[Step]) -> Option<&'a mut Value> {
    place.iter().try_fold(object, |value, step| match step {
        Step::Field(name) => value.get_mut(name),
        Step::Index(at) => value.get_mut(at),
    })
}

/// Whether what a patch says of a mapping, if anything, is merged into the nodes that are there.
fn is_written_in_place(patch: &Value, place: &[Step]) -> bool {
    let mut patch = patch;
    for step in place {
        let (Value::Object(fields), Step::Field(name)) = (patch, step) else { return false };
        if fields.contains_key("$patch") {
            return false;
        }
        match fields.get(name) {
            None => return true,
            Some(next) => patch = next,
        }
    }
    patch.as_object().is_some_and(|fields| !fields.contains_key("$patch"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn place(path: &str) -> Place {
        path.split('/').map(|name| Step::Field(name.to_owned())).collect()
    }

    fn shared() -> (Shared, Value) {
        let mut shared = Shared::default();
        shared.add("env", "dev", vec![place("metadata/labels"), place("spec/selector")]);
        (shared, json!({"metadata": {"labels": {"env": "dev"}}, "spec": {"selector": {"env": "dev"}}}))
    }

    #[test]
    fn what_is_written_to_one_field_is_in_all_of_its_group() {
        let (mut shared, mut object) = shared();
        object["metadata"]["labels"]["env"] = json!("prod");
        shared.settle(&mut object);
        assert_eq!(object["spec"]["selector"]["env"], "prod");
        object["spec"]["selector"]["env"] = json!("test");
        shared.settle(&mut object);
        assert_eq!(object["metadata"]["labels"]["env"], "test");
    }

    #[test]
    fn a_field_that_is_gone_leaves_its_group() {
        let (mut shared, mut object) = shared();
        object["spec"] = json!({});
        shared.settle(&mut object);
        object["spec"] = json!({"selector": {"env": "other"}});
        shared.settle(&mut object);
        assert_eq!(object["metadata"]["labels"]["env"], "dev");
    }

    #[test]
    fn a_patch_that_replaces_a_mapping_ends_the_sharing() {
        let cases = [
            (json!({"metadata": {"labels": {"env": "x"}}}), false),
            (json!({"metadata": {"name": "a"}}), false),
            (json!({"metadata": {"labels": {"$patch": "replace", "env": "x"}}}), true),
            (json!({"metadata": {"labels": null}}), true),
        ];
        for (patch, ends) in cases {
            let (mut shared, _) = shared();
            shared.prepare_merge(&patch);
            assert_eq!(shared.groups.is_empty(), ends, "{patch}");
        }
    }
}
