//! Which objects are hooks, and what becomes of the other annotated ones.

use crate::{
    api::{HookType, names},
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
}
