//! Name references: fields that name another resource follow every rename of it.
//!
//! ```text
//! nameReference table: target kind T ◀── field specs of referrers R
//! field of R says S ──▶ candidates: once called S, once of kind T, reachable from R ──▶ the current name
//! ```
//!
//! Done once, when all renaming is over. Candidates are found by their former names through an index, so the cost is that of
//! the fields looked at. Which candidate is meant when several were called S is decided by kustomize's sieve: role,
//! namespace, then the prefixes and suffixes that candidate and referrer have in common.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

use serde_json::Value;

use super::{
    error::KustomizeError,
    fieldspec::{Create, FieldSpec, NameReference, visit_any_kind},
    filter::{FilterError, scalar_text},
    resource::{Resource, describe, is_cluster_scoped, is_selected},
    resources::Resources,
};
use crate::files::Budget;

/// What is known of a resource as the target of references.
struct Candidate {
    name: String,
    home: Home,
    group: String,
    version: String,
    kind: String,
    /// Name, effective namespace and kind it once had.
    previous: Vec<(String, String, String)>,
    prefixes: Vec<Rc<str>>,
    suffixes: Vec<Rc<str>>,
    text: String,
}

impl Candidate {
    fn new(resource: &Resource) -> Self {
        let id = resource.id();
        let previous = resource
            .previous_ids()
            .iter()
            .map(|id| (id.name.clone(), id.effective_namespace().to_owned(), id.gvk.kind.clone()))
            .collect();
        Self {
            name: id.name.clone(),
            home: Home {
                namespace: id.namespace.clone(),
                effective_namespace: id.effective_namespace().to_owned(),
                is_cluster_scoped: is_cluster_scoped(id),
            },
            group: id.gvk.group.clone(),
            version: id.gvk.version.clone(),
            kind: id.gvk.kind.clone(),
            previous,
            prefixes: resource.prefixes.clone(),
            suffixes: resource.suffixes.clone(),
            text: describe(id),
        }
    }

    fn original_namespace(&self) -> &str {
        self.previous.first().map_or(&self.home.effective_namespace, |(_, namespace, _)| namespace)
    }
}

/// Where a resource is: what decides whether another one can refer to it at all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Home {
    /// As written; empty for none.
    namespace: String,
    effective_namespace: String,
    is_cluster_scoped: bool,
}

/// All resources as targets of references.
struct Index {
    candidates: Vec<Candidate>,
    by_previous_name: HashMap<String, Vec<usize>>,
    /// The homes of candidates, each with the namespaces that they had originally.
    namespaces: HashMap<Home, HashSet<String>>,
}

impl Index {
    fn new(resources: &Resources) -> Self {
        let candidates: Vec<Candidate> = resources.iter().map(Candidate::new).collect();
        let mut by_previous_name: HashMap<String, Vec<usize>> = HashMap::new();
        let mut namespaces: HashMap<Home, HashSet<String>> = HashMap::new();
        for (at, candidate) in candidates.iter().enumerate() {
            for (name, _, _) in &candidate.previous {
                let positions = by_previous_name.entry(name.clone()).or_default();
                if positions.last() != Some(&at) {
                    positions.push(at);
                }
            }
            let originals = namespaces.entry(candidate.home.clone()).or_default();
            originals.insert(candidate.original_namespace().to_owned());
        }
        Self { candidates, by_previous_name, namespaces }
    }
}

/// The resource whose fields are looked at.
struct Referrer {
    is_cluster_scoped: bool,
    effective_namespace: String,
    /// Namespaces of the ServiceAccounts that a RoleBinding binds.
    bound_namespaces: HashSet<String>,
    role: Option<(String, String)>,
    prefixes: Vec<Rc<str>>,
    suffixes: Vec<Rc<str>>,
}

/// Why a single field could not be repaired; kept beside the walk, whose error type knows nothing of references.
type Failure = Option<KustomizeError>;

/// Repairs the name references of all resources.
pub(super) fn repair(
    resources: &mut Resources,
    table: &[NameReference],
    budget: &Budget,
) -> Result<(), KustomizeError> {
    let index = Index::new(resources);
    let is_anything_renamed = !index.by_previous_name.is_empty();
    let by_kind = specs_by_kind(table);
    for resource in resources.iter_mut() {
        budget.check()?;
        let original = resource.original_id().gvk.clone();
        let of_kind = by_kind.get(original.kind.as_str()).into_iter().flatten();
        let of_any = by_kind.get("").into_iter().flatten();
        let mut applicable: Vec<&(usize, &NameReference, &FieldSpec)> = of_kind
            .chain(of_any)
            .filter(|(_, _, spec)| is_selected(&original, &spec.group, &spec.version, &spec.kind))
            .collect();
        if applicable.is_empty() {
            continue;
        }
        applicable.sort_by_key(|(at, _, _)| *at);
        let referrer = Referrer::new(resource)?;
        if !is_anything_renamed {
            continue;
        }
        for (_, target, spec) in applicable {
            let mut failure: Failure = None;
            let sieve = Sieve { index: &index, referrer: &referrer, target, spec };
            let walked = visit_any_kind(&mut resource.value, spec, Create::Never, &mut |place| {
                if failure.is_none() {
                    failure = sieve.repair(place).err();
                }
                Ok(())
            });
            // What the field spec cannot walk through has no name to repair; kustomize refuses it.
            let outcome = failure.map_or_else(|| walked.map_err(KustomizeError::from), Err);
            outcome
                .map_err(|error| error.of_object("repairing the name references", describe(resource.id())))?;
        }
        resource.refresh();
    }
    Ok(())
}

type Specs<'a> = Vec<(usize, &'a NameReference, &'a FieldSpec)>;

fn specs_by_kind(table: &[NameReference]) -> HashMap<&str, Specs<'_>> {
    let mut by_kind: HashMap<&str, Specs<'_>> = HashMap::new();
    let all = table.iter().flat_map(|target| target.field_specs.iter().map(move |spec| (target, spec)));
    for (at, (target, spec)) in all.enumerate() {
        by_kind.entry(spec.kind.as_str()).or_default().push((at, target, spec));
    }
    by_kind
}

impl Referrer {
    fn new(resource: &Resource) -> Result<Self, KustomizeError> {
        let id = resource.id();
        let role = resource.value.get("roleRef").map(|role| {
            let text = |field| role.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            (text("apiGroup"), text("kind"))
        });
        let mut bound_namespaces = HashSet::new();
        if id.gvk.kind == "RoleBinding"
            && let Some(Value::Array(subjects)) = resource.value.get("subjects")
        {
            for subject in subjects {
                let is_account = subject.get("kind").and_then(Value::as_str) == Some("ServiceAccount");
                match subject.get("namespace") {
                    Some(Value::String(namespace)) if is_account => {
                        bound_namespaces.insert(namespace.clone());
                    }
                    Some(_) if is_account => {
                        return Err(KustomizeError::invalid(format!(
                            "{}: field 'namespace' of a subject is blank: give it a value or remove it",
                            describe(id)
                        )));
                    }
                    _ => {}
                }
            }
        }
        Ok(Self {
            is_cluster_scoped: is_cluster_scoped(id),
            effective_namespace: id.effective_namespace().to_owned(),
            bound_namespaces,
            role,
            prefixes: resource.prefixes.clone(),
            suffixes: resource.suffixes.clone(),
        })
    }

    /// Whether this resource can refer to something there at all.
    fn reaches(&self, home: &Home) -> bool {
        self.is_cluster_scoped
            || home.is_cluster_scoped
            || home.effective_namespace == self.effective_namespace
            // Without a namespace, the candidate is not in the one called default that a subject names.
            || self.bound_namespaces.contains(&home.namespace)
    }
}

struct Sieve<'a> {
    index: &'a Index,
    referrer: &'a Referrer,
    target: &'a NameReference,
    spec: &'a FieldSpec,
}

impl Sieve<'_> {
    fn repair(&self, place: &mut Value) -> Result<(), KustomizeError> {
        match place {
            Value::Null => Ok(()),
            Value::Array(items) => items.iter_mut().try_for_each(|item| match item {
                Value::Object(_) => self.repair_mapping(item),
                _ => self.repair_scalar(item),
            }),
            Value::Object(_) => self.repair_mapping(place),
            _ => self.repair_scalar(place),
        }
    }

    fn repair_scalar(&self, place: &mut Value) -> Result<(), KustomizeError> {
        let Some(name) = scalar_text(place) else {
            return Ok(());
        };
        if let Some(found) = self.select(&name, |_| true, false)?
            && found.name != name
        {
            *place = Value::from(found.name.as_str());
        }
        Ok(())
    }

    fn repair_mapping(&self, place: &mut Value) -> Result<(), KustomizeError> {
        let Value::Object(fields) = place else {
            return Ok(());
        };
        let Some(name) = fields.get("name").and_then(scalar_text) else {
            let path = self.spec.path.clone();
            return Err(FilterError::WrongType {
                path,
                expected: "a mapping with a 'name'",
                found: "a mapping without",
            }
            .into());
        };
        let namespace = fields.get("namespace").and_then(scalar_text);
        let has_original =
            namespace.as_deref().is_some_and(|namespace| self.is_original_namespace(namespace));
        let found = self.select(
            &name,
            |candidate| match namespace.as_deref() {
                None => true,
                Some(namespace) if has_original => candidate.original_namespace() == namespace,
                Some(namespace) => candidate.home.effective_namespace == namespace,
            },
            true,
        )?;
        if let Some(found) = found {
            if found.name != name {
                fields.insert("name".to_owned(), Value::from(found.name.as_str()));
            }
            if !found.home.namespace.is_empty() && Some(&found.home.namespace) != namespace.as_ref() {
                fields.insert("namespace".to_owned(), Value::from(found.home.namespace.as_str()));
            }
        }
        Ok(())
    }

    fn is_original_namespace(&self, namespace: &str) -> bool {
        self.index
            .namespaces
            .iter()
            .any(|(home, originals)| originals.contains(namespace) && self.referrer.reaches(home))
    }

    fn select(
        &self,
        name: &str,
        admit: impl Fn(&Candidate) -> bool,
        is_mapping: bool,
    ) -> Result<Option<&Candidate>, KustomizeError> {
        let positions = self.index.by_previous_name.get(name).map(Vec::as_slice).unwrap_or_default();
        let mut candidates: Vec<&Candidate> = positions
            .iter()
            .filter_map(|at| self.index.candidates.get(*at))
            .filter(|candidate| admit(candidate) && self.is_target(candidate))
            .collect();
        for allow_empty in [true, false] {
            if candidates.len() == 1 {
                break;
            }
            candidates.retain(|candidate| {
                agree(&candidate.prefixes, &self.referrer.prefixes, allow_empty)
                    && agree(&candidate.suffixes, &self.referrer.suffixes, allow_empty)
            });
        }
        let Some((first, rest)) = candidates.split_first() else {
            return Ok(None);
        };
        let is_one_name = rest.iter().all(|other| {
            other.name == first.name && (!is_mapping || other.home.namespace == first.home.namespace)
        });
        if is_one_name {
            return Ok(Some(first));
        }
        let texts: Vec<&str> = candidates.iter().map(|candidate| candidate.text.as_str()).collect();
        Err(KustomizeError::invalid(format!(
            "field '{}' says '{name}', which may mean several resources: {}",
            self.spec.path,
            texts.join(", ")
        )))
    }

    fn is_target(&self, candidate: &Candidate) -> bool {
        let NameReference { group, version, kind, .. } = self.target;
        let fits = |wanted: &str, actual: &str| wanted.is_empty() || wanted == actual;
        let referrer = self.referrer;
        fits(group, &candidate.group)
            && fits(version, &candidate.version)
            && candidate.previous.iter().any(|(_, _, previous_kind)| fits(kind, previous_kind))
            && (!self.spec.path.ends_with("roleRef/name")
                || referrer
                    .role
                    .as_ref()
                    .is_none_or(|(group, kind)| *kind == candidate.kind && *group == candidate.group))
            && referrer.reaches(&candidate.home)
            && (referrer.is_cluster_scoped
                || candidate.home.is_cluster_scoped
                || candidate.kind == "ServiceAccount"
                || candidate.home.effective_namespace == referrer.effective_namespace)
    }
}

/// Whether two records of prefixes or suffixes can belong together: the shorter is the tail of the longer.
fn agree(a: &[Rc<str>], b: &[Rc<str>], allow_empty: bool) -> bool {
    if a.is_empty() || b.is_empty() {
        return allow_empty || (a.is_empty() && b.is_empty());
    }
    if a.len() > b.len() { a.ends_with(b) } else { b.ends_with(a) }
}
