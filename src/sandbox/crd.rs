//! From a CustomResourceDefinition to the resources that it adds, and the rules for CRDs themselves.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::kinds::{Generation, Resource, ScalePaths, Verbs};
use super::status::Cause;
use super::store::text;
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
}

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
    let wanted = format!("{}.{}", text(crd, "/spec/names/plural"), text(crd, "/spec/group"));
    let name = text(crd, "/metadata/name");
    if name != wanted {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        causes.push(Cause::invalid("metadata.name", &Value::from(name), detail));
    }
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array).cloned().unwrap_or_default();
    if versions.is_empty() {
        causes.push(Cause::required(
            "spec.versions",
            "must have exactly one version marked as storage version",
        ));
        return causes;
    }
    let stored = versions.iter().filter(|v| v.get("storage") == Some(&Value::Bool(true))).count();
    if stored != 1 {
        let detail = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid("spec.versions", &Value::Array(versions.clone()), detail));
    }
    for (index, version) in versions.iter().enumerate() {
        if version.pointer("/schema/openAPIV3Schema").is_none_or(Value::is_null) {
            let field = format!("spec.versions[{index}].schema.openAPIV3Schema");
            causes.push(Cause::required(field, "schemas are required"));
        }
    }
    causes
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

/// The status of a CRD once its names are accepted and, if `established`, its resources are served.
pub fn status_of(crd: &Value, established: bool, now: &str) -> Value {
    let condition = |kind: &str, value: bool, reason: &str, message: &str| {
        json!({
            "type": kind,
            "status": if value { "True" } else { "False" },
            "lastTransitionTime": now,
            "reason": reason,
            "message": message,
        })
    };
    let mut conditions = vec![condition("NamesAccepted", true, "NoConflicts", "no conflicts found")];
    conditions.push(if established {
        condition("Established", true, "InitialNamesAccepted", "the initial names have been accepted")
    } else {
        condition("Established", false, "Installing", "the initial names have been accepted")
    });
    let stored: Vec<Value> = crd
        .pointer("/spec/versions")
        .and_then(Value::as_array)
        .map(|versions| {
            let storage = versions.iter().filter(|v| v.get("storage") == Some(&Value::Bool(true)));
            storage.filter_map(|v| v.get("name").cloned()).collect()
        })
        .unwrap_or_default();
    let mut known =
        crd.pointer("/status/storedVersions").and_then(Value::as_array).cloned().unwrap_or_default();
    for version in stored {
        if !known.contains(&version) {
            known.push(version);
        }
    }
    let mut status = Map::new();
    status.insert("conditions".to_owned(), Value::Array(conditions));
    status.insert("acceptedNames".to_owned(), crd.pointer("/spec/names").cloned().unwrap_or_default());
    status.insert("storedVersions".to_owned(), Value::Array(known));
    Value::Object(status)
}

/// Whether the condition `Established` is true.
pub fn is_established(crd: &Value) -> bool {
    let conditions = crd.pointer("/status/conditions").and_then(Value::as_array);
    conditions.is_some_and(|conditions| {
        conditions.iter().any(|c| text(c, "/type") == "Established" && text(c, "/status") == "True")
    })
}
