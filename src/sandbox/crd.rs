//! From a CustomResourceDefinition to the resources that it adds, and the rules for CRDs themselves.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::kinds::{Generation, Resource, ScalePaths, Verbs};
use super::status::Cause;
use super::store::text;
use super::validation::LABEL_1035;
use crate::object::GroupKind;
use crate::object::schema::{TypeRef, from_openapi};

/// A printer column of a CRD version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Header.
    pub name: String,
    /// `string`, `integer`, `date`, …
    pub type_name: String,
    /// OpenAPI format.
    pub format: String,
    /// Help text.
    pub description: String,
    /// 0 for the narrow output, more for wide.
    pub priority: i64,
    /// Where the value is.
    pub json_path: String,
}

/// What a CRD says of one version.
#[derive(Debug)]
pub struct CustomVersion {
    /// `openAPIV3Schema`.
    pub schema: Value,
    /// The same for server-side apply.
    pub types: TypeRef,
    /// Additional printer columns.
    pub columns: Vec<Column>,
    /// Paths that field selectors may use, with a leading dot.
    pub selectable_fields: Vec<String>,
    /// `spec.preserveUnknownFields`.
    pub preserve_unknown_fields: bool,
    /// What users of a deprecated version are told.
    pub deprecation: Option<String>,
}

/// Deeper than this a schema is not checked.
const MAX_SCHEMA_DEPTH: usize = 128;

fn strings(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array);
    list.map(|list| list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()).unwrap_or_default()
}

fn or<'a>(preferred: &'a str, fallback: &'a str) -> &'a str {
    if preferred.is_empty() { fallback } else { preferred }
}

/// Fills in what a CRD may leave out: singular and list kind, conversion, and the finalizer of deletion.
pub fn default_crd(crd: &mut Value) {
    let kind = text(crd, "/spec/names/kind").to_owned();
    let Some(spec) = crd.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        if names.get("singular").and_then(Value::as_str).unwrap_or_default().is_empty() {
            names.insert("singular".to_owned(), Value::from(kind.to_lowercase()));
        }
        if names.get("listKind").and_then(Value::as_str).unwrap_or_default().is_empty() {
            names.insert("listKind".to_owned(), Value::from(format!("{kind}List")));
        }
    }
    if spec.get("conversion").is_none_or(Value::is_null) {
        spec.insert("conversion".to_owned(), json!({"strategy": "None"}));
    }
}

/// What is wrong with a CRD.
pub fn validate_crd(crd: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let wanted = format!("{}.{}", text(crd, "/spec/names/plural"), text(crd, "/spec/group"));
    let name = text(crd, "/metadata/name");
    if name != wanted {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        causes.push(Cause::invalid("metadata.name", &Value::from(name), detail));
    }
    for field in ["group", "scope"] {
        if text(crd, &format!("/spec/{field}")).is_empty() {
            causes.push(Cause::required(format!("spec.{field}"), ""));
        }
    }
    for field in ["plural", "kind"] {
        if text(crd, &format!("/spec/names/{field}")).is_empty() {
            causes.push(Cause::required(format!("spec.names.{field}"), ""));
        }
    }
    let scope = text(crd, "/spec/scope");
    if !matches!(scope, "" | "Namespaced" | "Cluster") {
        let supported = ["Cluster".to_owned(), "Namespaced".to_owned()];
        causes.push(Cause::not_supported("spec.scope", &Value::from(scope), &supported));
    }
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array).cloned().unwrap_or_default();
    let stored = versions.iter().filter(|v| v.get("storage") == Some(&Value::Bool(true))).count();
    if stored != 1 {
        let detail = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid("spec.versions", &Value::Array(versions.clone()), detail));
    }
    for (index, version) in versions.iter().enumerate() {
        if version.pointer("/schema/openAPIV3Schema").is_none_or(Value::is_null) {
            let field = format!("spec.versions[{index}].schema.openAPIV3Schema");
            causes.push(Cause::required(field, ""));
        }
        LABEL_1035.check(&format!("spec.versions[{index}].name"), text(version, "/name"), &mut causes);
        if let Some(schema) = version.pointer("/schema/openAPIV3Schema") {
            structural(schema, "spec.validation.openAPIV3Schema", 0, &mut causes);
        }
    }
    causes
}

/// Refuses schemas that leave open what a value is.
fn structural(schema: &Value, path: &str, depth: usize, causes: &mut Vec<Cause>) {
    if depth > MAX_SCHEMA_DEPTH {
        return;
    }
    let yes = |name: &str| schema.get(name) == Some(&Value::Bool(true));
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        structural(property, &format!("{path}.properties[{name}]"), depth + 1, causes);
    }
    for below in ["items", "additionalProperties"] {
        if let Some(child) = schema.get(below).filter(|child| child.is_object()) {
            structural(child, &format!("{path}.{below}"), depth + 1, causes);
        }
    }
    let kind = text(schema, "/type");
    let open = yes("x-kubernetes-preserve-unknown-fields") || yes("x-kubernetes-int-or-string");
    if kind.is_empty() && !open {
        let place = match path.rsplit_once('.').map(|(_, last)| last) {
            Some("openAPIV3Schema") => "must not be empty at the root",
            Some("items") => "must not be empty for specified array items",
            _ => "must not be empty for specified object fields",
        };
        causes.push(Cause::required(format!("{path}.type"), place));
    }
    if kind == "array" && schema.get("items").is_none_or(Value::is_null) {
        causes.push(Cause::required(format!("{path}.items"), "must be specified"));
    }
}

/// The resources that a CRD serves, one a version.
pub fn resources_of(crd: &Value) -> Vec<Resource> {
    let group = text(crd, "/spec/group");
    let names = crd.pointer("/spec/names").cloned().unwrap_or_default();
    let kind = text(&names, "/kind");
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array).cloned().unwrap_or_default();
    let is = |version: &Value, field: &str| version.get(field) == Some(&Value::Bool(true));
    let storage_version = versions
        .iter()
        .find(|version| is(version, "storage"))
        .map(|version| text(version, "/name").to_owned())
        .unwrap_or_default();
    versions
        .iter()
        .filter(|version| is(version, "served"))
        .map(|version| {
            let schema = version.pointer("/schema/openAPIV3Schema").cloned().unwrap_or_default();
            let custom = CustomVersion {
                types: from_openapi(&schema),
                columns: columns_of(version),
                selectable_fields: selectable_fields_of(version),
                deprecation: deprecation_of(version, &format!("{group}/{} {kind}", text(version, "/name"))),
                preserve_unknown_fields: crd.pointer("/spec/preserveUnknownFields")
                    == Some(&Value::Bool(true)),
                schema,
            };
            Resource {
                group: group.to_owned(),
                version: text(version, "/name").to_owned(),
                kind: kind.to_owned(),
                list_kind: or(text(&names, "/listKind"), &format!("{kind}List")).to_owned(),
                plural: text(&names, "/plural").to_owned(),
                singular: or(text(&names, "/singular"), &kind.to_lowercase()).to_owned(),
                short_names: strings(names.get("shortNames")),
                categories: strings(names.get("categories")),
                namespaced: text(crd, "/spec/scope") == "Namespaced",
                status: version.pointer("/subresources/status").is_some(),
                scale: version.pointer("/subresources/scale").map(scale_of),
                generation: Generation::Counted,
                verbs: Verbs::All,
                storage: GroupKind::new(group, kind),
                storage_version: storage_version.clone(),
                custom: Some(Arc::new(custom)),
            }
        })
        .collect()
}

fn deprecation_of(version: &Value, name: &str) -> Option<String> {
    let own = text(version, "/deprecationWarning");
    let told = if own.is_empty() { format!("{name} is deprecated") } else { own.to_owned() };
    (version.get("deprecated") == Some(&Value::Bool(true))).then_some(told)
}

fn scale_of(scale: &Value) -> ScalePaths {
    let selector = text(scale, "/labelSelectorPath");
    ScalePaths {
        spec_replicas: text(scale, "/specReplicasPath").to_owned(),
        status_replicas: text(scale, "/statusReplicasPath").to_owned(),
        selector: (!selector.is_empty()).then(|| selector.to_owned()),
    }
}

fn columns_of(version: &Value) -> Vec<Column> {
    let columns =
        version.get("additionalPrinterColumns").and_then(Value::as_array).cloned().unwrap_or_default();
    columns
        .iter()
        .map(|column| Column {
            name: text(column, "/name").to_owned(),
            type_name: text(column, "/type").to_owned(),
            format: text(column, "/format").to_owned(),
            description: text(column, "/description").to_owned(),
            priority: column.get("priority").and_then(Value::as_i64).unwrap_or(0),
            json_path: text(column, "/jsonPath").to_owned(),
        })
        .collect()
}

fn selectable_fields_of(version: &Value) -> Vec<String> {
    let fields = version.get("selectableFields").and_then(Value::as_array);
    fields.into_iter().flatten().map(|field| text(field, "/jsonPath").to_owned()).collect()
}

/// Names of a CRD that another one of its group has.
#[derive(Debug)]
pub struct NameConflict {
    reason: &'static str,
    message: String,
    /// The names that are free.
    accepted: Value,
}

/// The names that a CRD cannot have since another one has them, if there are any.
pub fn name_conflict(crd: &Value, others: &[Value]) -> Option<NameConflict> {
    let others = others.iter().filter(|other| text(other, "/spec/group") == text(crd, "/spec/group"));
    let taken: Vec<&Value> = others.filter_map(|other| other.pointer("/status/acceptedNames")).collect();
    let is_taken = |fields: &[&str], name: &str| {
        taken.iter().any(|names| {
            fields.iter().any(|field| text(names, &format!("/{field}")) == name)
                || fields.contains(&"plural") && strings(names.get("shortNames")).iter().any(|it| it == name)
        })
    };
    let mut accepted = crd.pointer("/spec/names").cloned().unwrap_or_default();
    let mut found = None;
    for (field, reason, rivals) in [
        ("plural", "PluralConflict", &["plural", "singular"]),
        ("singular", "SingularConflict", &["plural", "singular"]),
        ("kind", "KindConflict", &["kind", "listKind"]),
        ("listKind", "ListKindConflict", &["kind", "listKind"]),
    ] {
        let name = text(crd, &format!("/spec/names/{field}"));
        if name.is_empty() || !is_taken(rivals, name) {
            continue;
        }
        found = Some((reason, format!("{name:?} is already in use")));
        if let Some(accepted) = accepted.as_object_mut() {
            match field {
                "plural" | "kind" => accepted.insert(field.to_owned(), Value::from("")),
                _ => accepted.shift_remove(field),
            };
        }
    }
    found.map(|(reason, message)| NameConflict { reason, message, accepted })
}

/// The status of a CRD once its names are accepted and, if `established`, its resources are served.
pub fn status_of(crd: &Value, established: bool, conflict: Option<&NameConflict>, now: &str) -> Value {
    let condition = |kind: &str, value: bool, reason: &str, message: &str| {
        json!({
            "type": kind,
            "status": if value { "True" } else { "False" },
            "lastTransitionTime": now,
            "reason": reason,
            "message": message,
        })
    };
    let mut conditions = vec![match conflict {
        Some(conflict) => condition("NamesAccepted", false, conflict.reason, &conflict.message),
        None => condition("NamesAccepted", true, "NoConflicts", "no conflicts found"),
    }];
    conditions.push(if conflict.is_some() {
        condition("Established", false, "NotAccepted", "not all names are accepted")
    } else if established {
        condition("Established", true, "InitialNamesAccepted", "the initial names have been accepted")
    } else {
        condition("Established", false, "Installing", "the initial names have been accepted")
    });
    let known = stored_versions(crd);
    let mut status = Map::new();
    status.insert("conditions".to_owned(), Value::Array(conditions));
    let names = conflict.map(|conflict| conflict.accepted.clone());
    let names = names.or_else(|| crd.pointer("/spec/names").cloned()).unwrap_or_default();
    status.insert("acceptedNames".to_owned(), names);
    status.insert("storedVersions".to_owned(), Value::Array(known));
    Value::Object(status)
}

/// The versions in which objects were stored so far, and the one in which they are now.
pub fn stored_versions(crd: &Value) -> Vec<Value> {
    let mut known =
        crd.pointer("/status/storedVersions").and_then(Value::as_array).cloned().unwrap_or_default();
    for version in crd.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten() {
        let name = version.get("name").cloned().unwrap_or_default();
        if version.get("storage") == Some(&Value::Bool(true)) && !known.contains(&name) {
            known.push(name);
        }
    }
    known
}

/// Adds the condition of a CRD that is being deleted.
pub fn mark_terminating(crd: &mut Value, now: &str) {
    let condition = json!({
        "type": "Terminating",
        "status": "True",
        "lastTransitionTime": now,
        "reason": "InstanceDeletionPending",
        "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
    });
    let conditions = crd.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
    if let Some(conditions) = conditions
        && !conditions.iter().any(|known| text(known, "/type") == "Terminating")
    {
        conditions.push(condition);
    }
}

/// Whether the condition `Established` is true.
pub fn is_established(crd: &Value) -> bool {
    let conditions = crd.pointer("/status/conditions").and_then(Value::as_array);
    conditions.is_some_and(|conditions| {
        conditions.iter().any(|c| text(c, "/type") == "Established" && text(c, "/status") == "True")
    })
}
