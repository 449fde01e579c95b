//! Which objects are hooks, when they run, what they are called, and when they are deleted.

use serde_json::Value;

use crate::{
    api::{HookType, SyncPhase, Time, names},
    object::Object,
};

/// The part that an object's annotations give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// An ordinary object.
    Resource,
    /// Shown, but never synced: `argocd.argoproj.io/hook: Skip`.
    Skipped,
    /// A hook without any phase that is known, such as a Helm test: neither synced nor counted.
    Ignored,
    /// A hook that runs at these points.
    Hook(Vec<HookType>),
}

impl Role {
    /// Reads the annotations of Argo CD and of Helm; the former win.
    pub fn of(object: &Object) -> Self {
        let argo = object.annotation(names::ANNOTATION_HOOK).map(str::trim);
        let helm = object.annotation(names::ANNOTATION_HELM_HOOK).map(str::trim);
        if argo == Some(HookType::Skip.as_str()) {
            return Self::Skipped;
        }
        let words = |text: Option<&'_ str>| -> Vec<String> {
            text.into_iter().flat_map(|text| text.split(',')).map(|word| word.trim().to_owned()).collect()
        };
        let mut types: Vec<HookType> = words(argo)
            .iter()
            .filter_map(|word| word.parse().ok())
            .filter(|hook_type| *hook_type != HookType::Skip)
            .collect();
        let helm_words = words(helm);
        if types.is_empty() {
            types = helm_words.iter().filter_map(|word| from_helm(word)).collect();
        }
        types.sort();
        types.dedup();
        let installs_definitions =
            !helm_words.is_empty() && helm_words.iter().all(|word| word == "crd-install");
        match (types.is_empty(), argo.is_some(), helm.is_some()) {
            (false, ..) => Self::Hook(types),
            (true, false, false) => Self::Resource,
            (true, false, true) if installs_definitions => Self::Resource,
            (true, ..) => Self::Ignored,
        }
    }

    /// Whether the object is synced and counted like any other.
    pub fn is_resource(&self) -> bool {
        *self == Self::Resource
    }
}

/// The part of a sync in which a hook of a type runs; none for those that run when an Application is deleted.
pub fn phase_of(hook_type: HookType) -> Option<SyncPhase> {
    match hook_type {
        HookType::PreSync => Some(SyncPhase::PreSync),
        HookType::Sync => Some(SyncPhase::Sync),
        HookType::PostSync => Some(SyncPhase::PostSync),
        HookType::SyncFail => Some(SyncPhase::SyncFail),
        HookType::Skip | HookType::PreDelete | HookType::PostDelete => None,
    }
}

/// The wave that a hook runs in.
pub fn wave(object: &Object) -> i64 {
    super::order::wave(object)
}

/// When a hook's object is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletePolicy {
    /// Before the hook is created again.
    pub before_creation: bool,
    /// When the sync (or the deletion) has succeeded.
    pub on_success: bool,
    /// When it has failed.
    pub on_failure: bool,
}

impl DeletePolicy {
    /// Reads the annotations of Argo CD and of Helm, which add up. Where none says anything, a hook is deleted before
    /// it is created again.
    pub fn of(object: &Object) -> Self {
        let words = |annotation: &str| {
            let text = object.annotation(annotation).unwrap_or_default().to_owned();
            text.split(',').map(|word| word.trim().to_owned()).collect::<Vec<_>>()
        };
        let argo = words(names::ANNOTATION_HOOK_DELETE_POLICY);
        let helm = words(names::ANNOTATION_HELM_HOOK_DELETE_POLICY);
        let has = |of_argo: &str, of_helm: &str| {
            argo.iter().any(|word| word == of_argo) || helm.iter().any(|word| word == of_helm)
        };
        let (on_success, on_failure) =
            (has("HookSucceeded", "hook-succeeded"), has("HookFailed", "hook-failed"));
        let before_creation =
            has("BeforeHookCreation", "before-hook-creation") || !(on_success || on_failure);
        Self { before_creation, on_success, on_failure }
    }
}

/// Whether a live object carries the finalizer that keeps a hook from vanishing before its outcome is on record.
pub fn has_finalizer(object: &Object) -> bool {
    let finalizers = object.value().pointer("/metadata/finalizers").and_then(Value::as_array);
    finalizers.into_iter().flatten().any(|finalizer| finalizer == names::FINALIZER_HOOK)
}

/// Adds that finalizer.
pub fn with_finalizer(object: Object) -> Object {
    if has_finalizer(&object) {
        return object;
    }
    let unchanged = object.clone();
    object
        .edit(|value| {
            if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
                let finalizers = metadata.entry("finalizers").or_insert(Value::Null);
                match finalizers {
                    Value::Array(finalizers) => finalizers.push(names::FINALIZER_HOOK.into()),
                    other => *other = Value::Array(vec![names::FINALIZER_HOOK.into()]),
                }
            }
        })
        .unwrap_or(unchanged)
}

/// The name that a hook with nothing but a `generateName` has in one operation: the same one whenever it is asked.
pub fn generated_name(prefix: &str, revision: &str, run_in: &str, started_at: Time) -> String {
    let short = if revision.chars().count() < 8 { revision.len() } else { 7 };
    let short: String = revision.chars().take(short).collect();
    format!("{prefix}{short}-{}-{}", run_in.to_lowercase(), started_at.timestamp().as_second())
}

/// A hook with a name: its own, or the generated one.
pub fn named(object: &Object, name: impl FnOnce(&str) -> String) -> Object {
    if !object.name().is_empty() {
        return object.clone();
    }
    let name = name(object.generate_name());
    let named = object.clone().edit(|value| {
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.shift_remove("generateName");
            metadata.insert("name".to_owned(), name.into());
        }
    });
    named.unwrap_or_else(|_| object.clone())
}

fn from_helm(word: &str) -> Option<HookType> {
    match word {
        "pre-install" | "pre-upgrade" => Some(HookType::PreSync),
        "post-install" | "post-upgrade" => Some(HookType::PostSync),
        "pre-delete" => Some(HookType::PreDelete),
        "post-delete" => Some(HookType::PostDelete),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[allow(clippy::needless_pass_by_value, reason = "values are written in place")]
    fn role(annotations: serde_json::Value) -> Role {
        let object = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "a", "annotations": annotations },
        });
        Role::of(&Object::from_value(object).unwrap())
    }

    #[test]
    fn an_object_without_annotation_is_a_resource() {
        assert_eq!(role(json!({})), Role::Resource);
    }

    #[test]
    fn skip_alone_is_skipped_and_with_a_phase_is_a_hook() {
        assert_eq!(role(json!({ "argocd.argoproj.io/hook": "Skip" })), Role::Skipped);
        assert_eq!(
            role(json!({ "argocd.argoproj.io/hook": "Skip, PreSync" })),
            Role::Hook(vec![HookType::PreSync])
        );
    }

    #[test]
    fn a_hook_without_a_known_phase_is_ignored() {
        assert_eq!(role(json!({ "argocd.argoproj.io/hook": "Whenever" })), Role::Ignored);
        assert_eq!(role(json!({ "argocd.argoproj.io/hook": "" })), Role::Ignored);
        assert_eq!(role(json!({ "helm.sh/hook": "test" })), Role::Ignored);
        assert_eq!(role(json!({ "helm.sh/hook": "pre-rollback" })), Role::Ignored);
    }

    #[test]
    fn helms_words_count_only_where_argo_cds_give_no_phase() {
        let post = Role::Hook(vec![HookType::PostSync]);
        assert_eq!(role(json!({ "helm.sh/hook": "post-install,post-upgrade" })), post);
        assert_eq!(
            role(json!({ "helm.sh/hook": "pre-install", "argocd.argoproj.io/hook": "PostSync" })),
            post
        );
        assert_eq!(
            role(json!({ "helm.sh/hook": "post-install", "argocd.argoproj.io/hook": "nonsense" })),
            post
        );
        assert_eq!(role(json!({ "helm.sh/hook": "crd-install" })), Role::Resource);
    }

    #[allow(clippy::needless_pass_by_value, reason = "values are written in place")]
    fn policy(annotations: serde_json::Value) -> (bool, bool, bool) {
        let object = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "a", "annotations": annotations },
        });
        let policy = DeletePolicy::of(&Object::from_value(object).unwrap());
        (policy.before_creation, policy.on_success, policy.on_failure)
    }

    #[test]
    fn a_hook_is_deleted_before_its_next_creation_unless_it_says_otherwise() {
        assert_eq!(policy(json!({})), (true, false, false));
        assert_eq!(
            policy(json!({ "argocd.argoproj.io/hook-delete-policy": "Whenever" })),
            (true, false, false)
        );
        assert_eq!(
            policy(json!({ "argocd.argoproj.io/hook-delete-policy": "HookSucceeded" })),
            (false, true, false)
        );
        assert_eq!(
            policy(json!({ "argocd.argoproj.io/hook-delete-policy": " HookFailed ,BeforeHookCreation" })),
            (true, false, true)
        );
    }

    #[test]
    fn helms_delete_policies_are_added() {
        assert_eq!(
            policy(json!({
                "helm.sh/hook-delete-policy": "hook-succeeded,before-hook-creation",
                "argocd.argoproj.io/hook-delete-policy": "HookFailed",
            })),
            (true, true, true)
        );
    }

    #[test]
    fn a_generated_name_holds_revision_phase_and_time() {
        let at = Time::new(jiff::Timestamp::from_second(1_700_000_000).unwrap());
        let name = |revision| generated_name("migrate-", revision, "PreSync", at);
        assert_eq!(name("0123456789abcdef"), "migrate-0123456-presync-1700000000");
        assert_eq!(name("1.2.3"), "migrate-1.2.3-presync-1700000000");
    }

    #[test]
    fn a_hook_carries_its_finalizer_once() {
        let object =
            json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a", "finalizers": ["x"] } });
        let once = with_finalizer(Object::from_value(object).unwrap());
        let twice = with_finalizer(once.clone());
        assert_eq!(once.value()["metadata"]["finalizers"], json!(["x", names::FINALIZER_HOOK]));
        assert_eq!(once, twice);
    }
}
