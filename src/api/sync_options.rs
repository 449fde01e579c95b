//! Sync options: `Key=value` tokens of an Application, and of single objects by annotation.
//!
//! Matching is exact. What is not in [`KNOWN`] is kept as unknown, so that it can be shown.

use crate::{
    api::{names, string_enum::string_enum},
    object::Object,
};

string_enum! {
    /// How dependents go when an object is deleted.
    pub enum PropagationPolicy, otherwise Foreground {
        /// Dependents first.
        Foreground = "foreground",
        /// Dependents afterwards, by the garbage collector.
        Background = "background",
        /// Dependents stay.
        Orphan = "orphan",
    }
}

/// Whether a deletion happens: the values of `Prune=` and `Delete=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deletion {
    /// It happens.
    #[default]
    Allowed,
    /// It does not.
    Forbidden,
    /// It happens once somebody confirmed it.
    Confirm,
}

/// Every token that has a meaning.
pub const KNOWN: &[&str] = &[
    "ApplyOutOfSyncOnly=false",
    "ApplyOutOfSyncOnly=true",
    "ClientSideApplyMigration=false",
    "ClientSideApplyMigration=true",
    "CreateNamespace=false",
    "CreateNamespace=true",
    "Delete=confirm",
    "Delete=false",
    "Delete=true",
    "FailOnSharedResource=false",
    "FailOnSharedResource=true",
    "Force=false",
    "Force=true",
    "Prune=confirm",
    "Prune=false",
    "Prune=true",
    "PruneLast=false",
    "PruneLast=true",
    "PrunePropagationPolicy=background",
    "PrunePropagationPolicy=foreground",
    "PrunePropagationPolicy=orphan",
    "Replace=false",
    "Replace=true",
    "RespectIgnoreDifferences=false",
    "RespectIgnoreDifferences=true",
    "ServerSideApply=false",
    "ServerSideApply=true",
    "SkipDryRunOnMissingResource=false",
    "SkipDryRunOnMissingResource=true",
    "Validate=false",
    "Validate=true",
];

/// The options of an Application or of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncOptions {
    tokens: Vec<String>,
}

impl SyncOptions {
    /// Reads an Application's or an operation's list.
    pub fn new(tokens: &[String]) -> Self {
        Self::collect(tokens.iter().map(String::as_str))
    }

    /// Reads an object's annotation.
    pub fn of_object(object: &Object) -> Self {
        Self::collect(object.annotation(names::ANNOTATION_SYNC_OPTIONS).unwrap_or_default().split(','))
    }

    fn collect<'a>(tokens: impl Iterator<Item = &'a str>) -> Self {
        let mut kept: Vec<String> = Vec::new();
        for token in tokens.map(str::trim) {
            if !token.is_empty() && !kept.iter().any(|other| other == token) {
                kept.push(token.to_owned());
            }
        }
        Self { tokens: kept }
    }

    /// Whether a token is there, exactly as written.
    pub fn has(&self, token: &str) -> bool {
        self.tokens.iter().any(|other| other == token)
    }

    /// The tokens, in order.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// The tokens that have no meaning.
    pub fn unknown(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().map(String::as_str).filter(|token| !KNOWN.contains(token))
    }

    /// `CreateNamespace=true`.
    pub fn create_namespace(&self) -> bool {
        self.has("CreateNamespace=true")
    }

    /// `ServerSideApply=true`, `=false`, or neither.
    pub fn server_side_apply(&self) -> Option<bool> {
        self.switch("ServerSideApply=true", "ServerSideApply=false")
    }

    /// `Validate=false` turns the strict check of fields off.
    pub fn validate(&self) -> bool {
        !self.has("Validate=false")
    }

    /// `SkipDryRunOnMissingResource=true`.
    pub fn skip_dry_run_on_missing_resource(&self) -> bool {
        self.has("SkipDryRunOnMissingResource=true")
    }

    /// `PruneLast=true`.
    pub fn prune_last(&self) -> bool {
        self.has("PruneLast=true")
    }

    /// `Replace=true`.
    pub fn replace(&self) -> bool {
        self.has("Replace=true")
    }

    /// `Force=true`.
    pub fn force(&self) -> bool {
        self.has("Force=true")
    }

    /// `ApplyOutOfSyncOnly=true`.
    pub fn apply_out_of_sync_only(&self) -> bool {
        self.has("ApplyOutOfSyncOnly=true")
    }

    /// `RespectIgnoreDifferences=true`.
    pub fn respect_ignore_differences(&self) -> bool {
        self.has("RespectIgnoreDifferences=true")
    }

    /// `FailOnSharedResource=true`.
    pub fn fail_on_shared_resource(&self) -> bool {
        self.has("FailOnSharedResource=true")
    }

    /// `ClientSideApplyMigration=false` leaves the fields of client-side applies to them.
    pub fn migrates_client_side_apply(&self) -> bool {
        !self.has("ClientSideApplyMigration=false")
    }

    /// How dependents go when an object is pruned; in the foreground by default.
    pub fn prune_propagation_policy(&self) -> PropagationPolicy {
        let written =
            self.tokens.iter().find_map(|token| token.strip_prefix("PrunePropagationPolicy=")?.parse().ok());
        written.unwrap_or_default()
    }

    /// Whether an object may be pruned; its own word wins over the Application's.
    pub fn prune(application: &Self, object: &Self) -> Deletion {
        Self::may_go("Prune", application, object)
    }

    /// Whether an object goes when its Application is deleted; its own word wins over the Application's.
    pub fn delete(application: &Self, object: &Self) -> Deletion {
        Self::may_go("Delete", application, object)
    }

    fn may_go(option: &str, application: &Self, object: &Self) -> Deletion {
        // A word that nobody knows may have been meant to keep the object: then somebody has to say so.
        let cautious = || object.unknown().next().map(|_| Deletion::Confirm);
        let own = object.deletion(option).or_else(cautious);
        own.or_else(|| application.deletion(option)).unwrap_or_default()
    }

    fn deletion(&self, option: &str) -> Option<Deletion> {
        self.tokens.iter().find_map(|token| match token.strip_prefix(option)?.strip_prefix('=')? {
            "true" => Some(Deletion::Allowed),
            "false" => Some(Deletion::Forbidden),
            "confirm" => Some(Deletion::Confirm),
            // Mistyped: whatever is meant, something is not to be deleted just so.
            _ => Some(Deletion::Forbidden),
        })
    }

    fn switch(&self, on: &str, off: &str) -> Option<bool> {
        if self.has(off) { Some(false) } else { self.has(on).then_some(true) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn options(text: &str) -> SyncOptions {
        let annotations = json!({ names::ANNOTATION_SYNC_OPTIONS: text });
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "annotations": annotations },
        });
        SyncOptions::of_object(&Object::from_value(object).unwrap())
    }

    #[test]
    fn an_annotation_is_trimmed_and_has_no_option_twice() {
        assert_eq!(
            options(" Prune=false , Validate=false,,Prune=false").tokens(),
            ["Prune=false", "Validate=false"]
        );
    }

    #[test]
    fn matching_is_exact() {
        assert!(!options("createNamespace=true").create_namespace());
        assert!(!options("CreateNamespace = true").create_namespace());
        assert!(options("CreateNamespace=true").create_namespace());
    }

    #[test]
    fn an_objects_word_on_pruning_wins_over_the_applications() {
        let application = SyncOptions::new(&["Prune=false".to_owned()]);
        assert_eq!(SyncOptions::prune(&application, &options("")), Deletion::Forbidden);
        assert_eq!(SyncOptions::prune(&application, &options("Prune=true")), Deletion::Allowed);
        assert_eq!(SyncOptions::prune(&SyncOptions::default(), &options("Prune=confirm")), Deletion::Confirm);
        assert_eq!(SyncOptions::prune(&SyncOptions::default(), &options("Delete=false")), Deletion::Allowed);
    }

    #[test]
    fn an_object_with_a_mistyped_option_goes_only_when_somebody_confirms_that() {
        let none = SyncOptions::default();
        assert_eq!(SyncOptions::prune(&none, &options("Prun=false")), Deletion::Confirm);
        assert_eq!(SyncOptions::delete(&none, &options("Prun=false")), Deletion::Confirm);
        assert_eq!(SyncOptions::prune(&none, &options("Prun=false,Prune=true")), Deletion::Allowed);
        assert_eq!(SyncOptions::prune(&none, &options("Prune=no")), Deletion::Forbidden);
    }

    #[test]
    fn a_mistyped_option_is_unknown() {
        let mistyped = options("CreateNamespaces=true,Prune=maybe,PruneLast=true");
        assert_eq!(mistyped.unknown().collect::<Vec<_>>(), ["CreateNamespaces=true", "Prune=maybe"]);
    }

    #[test]
    fn dependents_go_first_unless_the_policy_says_otherwise() {
        assert_eq!(options("").prune_propagation_policy(), PropagationPolicy::Foreground);
        assert_eq!(
            options("PrunePropagationPolicy=orphan").prune_propagation_policy(),
            PropagationPolicy::Orphan
        );
    }
}
