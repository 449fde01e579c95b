//! Well-known names: the API group, labels, annotations, finalizers, condition types, event reasons, managers.

/// API group of the custom resources.
pub const GROUP: &str = "argoproj.io";
/// API version of the custom resources.
pub const VERSION: &str = "v1alpha1";
/// Group and version of the custom resources.
pub const API_VERSION: &str = "argoproj.io/v1alpha1";

/// The namespace that the agent runs in unless it is told otherwise.
pub const DEFAULT_NAMESPACE: &str = "argocd";
/// The project of Applications that name none.
pub const DEFAULT_PROJECT: &str = "default";
/// The API of the cluster that the agent runs in.
pub const IN_CLUSTER_SERVER: &str = "https://kubernetes.default.svc";
/// The name of the cluster that the agent runs in.
pub const IN_CLUSTER_NAME: &str = "in-cluster";
/// The manager of the fields that a sync applies.
pub const FIELD_MANAGER: &str = "argocd-controller";
/// The component that events come from.
pub const EVENT_COMPONENT: &str = "argocd-application-controller";

/// Label of all settings.
pub const LABEL_PART_OF: &str = "app.kubernetes.io/part-of";
/// Value of [`LABEL_PART_OF`] for settings.
pub const PART_OF: &str = "argocd";
/// Label that tells what a settings Secret holds.
pub const LABEL_SECRET_TYPE: &str = "argocd.argoproj.io/secret-type";
/// Default label of tracking by label.
pub const LABEL_INSTANCE: &str = "app.kubernetes.io/instance";

/// On every tracked object: the tracking id.
pub const ANNOTATION_TRACKING_ID: &str = "argocd.argoproj.io/tracking-id";
/// On every tracked object, when the settings have an installation id.
pub const ANNOTATION_INSTALLATION_ID: &str = "argocd.argoproj.io/installation-id";
/// On an object: its sync options.
pub const ANNOTATION_SYNC_OPTIONS: &str = "argocd.argoproj.io/sync-options";
/// On an object: its sync wave.
pub const ANNOTATION_SYNC_WAVE: &str = "argocd.argoproj.io/sync-wave";
/// On an object: makes it a hook.
pub const ANNOTATION_HOOK: &str = "argocd.argoproj.io/hook";
/// On a hook: when it is deleted.
pub const ANNOTATION_HOOK_DELETE_POLICY: &str = "argocd.argoproj.io/hook-delete-policy";
/// Helm's annotation that makes an object a hook.
pub const ANNOTATION_HELM_HOOK: &str = "helm.sh/hook";
/// Helm's annotation that tells when a hook is deleted.
pub const ANNOTATION_HELM_HOOK_DELETE_POLICY: &str = "helm.sh/hook-delete-policy";
/// Helm's annotation that orders hooks.
pub const ANNOTATION_HELM_HOOK_WEIGHT: &str = "helm.sh/hook-weight";
/// Helm's annotation that keeps an object when its release goes.
pub const ANNOTATION_HELM_RESOURCE_POLICY: &str = "helm.sh/resource-policy";
/// On an object or Application: options of the comparison.
pub const ANNOTATION_COMPARE_OPTIONS: &str = "argocd.argoproj.io/compare-options";
/// On an object: `true` leaves its health out of the Application's.
pub const ANNOTATION_IGNORE_HEALTHCHECK: &str = "argocd.argoproj.io/ignore-healthcheck";
/// On an object: `true` keeps its addresses out of the summary.
pub const ANNOTATION_IGNORE_DEFAULT_LINKS: &str = "argocd.argoproj.io/ignore-default-links";
/// On a Pod: judge its health by restarts whatever its restart policy.
pub const ANNOTATION_IGNORE_RESTART_POLICY: &str = "argocd.argoproj.io/ignore-restart-policy";
/// On an untracked object: do not look at changes of ignored fields.
pub const ANNOTATION_IGNORE_RESOURCE_UPDATES: &str = "argocd.argoproj.io/ignore-resource-updates";
/// On an Application: asks for a refresh, `normal` or `hard`.
pub const ANNOTATION_REFRESH: &str = "argocd.argoproj.io/refresh";
/// On an Application: when the refresh was asked for.
pub const ANNOTATION_REFRESH_TIMESTAMP: &str = "argocd.argoproj.io/refresh-timestamp";
/// On an Application: asks for a hydration, `normal` or `hard`.
pub const ANNOTATION_HYDRATE: &str = "argocd.argoproj.io/hydrate";
/// On an Application: when the hydration was asked for.
pub const ANNOTATION_HYDRATE_TIMESTAMP: &str = "argocd.argoproj.io/hydrate-timestamp";
/// On an Application or cluster Secret: `true` stops all work on it.
pub const ANNOTATION_SKIP_RECONCILE: &str = "argocd.argoproj.io/skip-reconcile";
/// On an Application: the paths whose change concerns it.
pub const ANNOTATION_MANIFEST_GENERATE_PATHS: &str = "argocd.argoproj.io/manifest-generate-paths";
/// On an Application: when somebody approved deletions.
pub const ANNOTATION_DELETION_APPROVED: &str = "argocd.argoproj.io/deletion-approved";
/// On an Application: a manager of client-side applies to take fields over from.
pub const ANNOTATION_CLIENT_SIDE_APPLY_MIGRATION_MANAGER: &str =
    "argocd.argoproj.io/client-side-apply-migration-manager";
/// On an Application: the URL of the instance that owns it.
pub const ANNOTATION_MANAGED_BY_URL: &str = "argocd.argoproj.io/managed-by-url";
/// Prefix of an Application's links.
pub const ANNOTATION_LINK_PREFIX: &str = "link.argocd.argoproj.io/";
/// Written by the client-side apply of kubectl.
pub const ANNOTATION_LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Cascading deletion, in the foreground.
pub const FINALIZER_RESOURCES: &str = "resources-finalizer.argocd.argoproj.io";
/// Cascading deletion, in the foreground, spelt out.
pub const FINALIZER_RESOURCES_FOREGROUND: &str = "resources-finalizer.argocd.argoproj.io/foreground";
/// Cascading deletion, in the background.
pub const FINALIZER_RESOURCES_BACKGROUND: &str = "resources-finalizer.argocd.argoproj.io/background";
/// Hooks before deletion are still to run.
pub const FINALIZER_PRE_DELETE: &str = "pre-delete-finalizer.argocd.argoproj.io";
/// Hooks before deletion are still to be cleaned up.
pub const FINALIZER_PRE_DELETE_CLEANUP: &str = "pre-delete-finalizer.argocd.argoproj.io/cleanup";
/// Hooks after deletion are still to run.
pub const FINALIZER_POST_DELETE: &str = "post-delete-finalizer.argocd.argoproj.io";
/// Hooks after deletion are still to be cleaned up.
pub const FINALIZER_POST_DELETE_CLEANUP: &str = "post-delete-finalizer.argocd.argoproj.io/cleanup";
/// On every hook.
pub const FINALIZER_HOOK: &str = "argocd.argoproj.io/hook-finalizer";

/// Everything in the spec that cannot be right.
pub const CONDITION_INVALID_SPEC_ERROR: &str = "InvalidSpecError";
/// Anything unexpected.
pub const CONDITION_UNKNOWN_ERROR: &str = "UnknownError";
/// Manifests or live objects could not be had or compared.
pub const CONDITION_COMPARISON_ERROR: &str = "ComparisonError";
/// An automated sync was not begun.
pub const CONDITION_SYNC_ERROR: &str = "SyncError";
/// A cascading deletion failed.
pub const CONDITION_DELETION_ERROR: &str = "DeletionError";
/// Another Application tracks an object of this one.
pub const CONDITION_SHARED_RESOURCE_WARNING: &str = "SharedResourceWarning";
/// Two manifests have one identity.
pub const CONDITION_REPEATED_RESOURCE_WARNING: &str = "RepeatedResourceWarning";
/// The settings exclude a manifest's kind.
pub const CONDITION_EXCLUDED_RESOURCE_WARNING: &str = "ExcludedResourceWarning";
/// There are objects that no Application declares.
pub const CONDITION_ORPHANED_RESOURCE_WARNING: &str = "OrphanedResourceWarning";
/// The spec has a field that Skiff does not act on.
pub const CONDITION_UNSUPPORTED_FIELD_WARNING: &str = "UnsupportedFieldWarning";
/// A sync would delete much, or what holds data, and waits until somebody approves that.
pub const CONDITION_PRUNE_GUARD_WARNING: &str = "PruneGuardWarning";
/// Something about the manifests is doubtful, though no error: a file that was left out, a deprecated field.
pub const CONDITION_MANIFEST_WARNING: &str = "ManifestWarning";

/// Event reason: the status was written.
pub const REASON_STATUS_REFRESHED: &str = "StatusRefreshed";
/// Event reason: something was created.
pub const REASON_RESOURCE_CREATED: &str = "ResourceCreated";
/// Event reason: something was changed, such as the sync or health status.
pub const REASON_RESOURCE_UPDATED: &str = "ResourceUpdated";
/// Event reason: something was deleted.
pub const REASON_RESOURCE_DELETED: &str = "ResourceDeleted";
/// Event reason: an operation began.
pub const REASON_OPERATION_STARTED: &str = "OperationStarted";
/// Event reason: an operation ended.
pub const REASON_OPERATION_COMPLETED: &str = "OperationCompleted";
/// Event reason: an action was run on an object.
pub const REASON_RESOURCE_ACTION_RAN: &str = "ResourceActionRan";
