//! Differences that remain on purpose, each with its reason.

/// A place where the sandbox may differ.
pub struct Known {
    /// `theme: name`, or the beginning of it; empty for all sequences.
    pub sequence: &'static str,
    /// A JSON pointer into the answer, in which `*` stands for any one name and a final `**` for all below.
    pub at: &'static str,
    /// Why it stays.
    pub why: &'static str,
}

impl Known {
    /// Whether a difference is this one.
    pub fn covers(&self, sequence: &str, at: &str) -> bool {
        let mut names = at.split('/');
        let mut wanted = self.at.split('/');
        let fits = loop {
            match (wanted.next(), names.next()) {
                (None, None) | (Some("**"), _) => break true,
                (Some("*"), Some(_)) => {}
                (Some(one), Some(other)) if one == other => {}
                _ => break false,
            }
        };
        fits && sequence.starts_with(self.sequence)
    }
}

const fn known(sequence: &'static str, at: &'static str, why: &'static str) -> Known {
    Known { sequence, at, why }
}

/// All of them.
#[rustfmt::skip]
pub const DIFFERENCES: &[Known] = &[
    known("", "/body/columnDefinitions/*/description", "the help texts of columns are the API reference's, and nothing prints them"),
    known("", "/body/*/object/columnDefinitions/*/description", "the help texts of columns are the API reference's, and nothing prints them"),
    known("", "/body/resources/*/storageVersionHash", "a hash of what the server stores; nobody but a storage migrator reads it"),
    known("discovery: resources of networking", "/body/resources", "kinds of networks that no sandbox has (IPAddress, ServiceCIDR)"),
    known("discovery: resources of the core", "/body/resources", "subresources that need a kubelet (exec, attach, port-forward, proxy), and ComponentStatus"),
    known("discovery: versions of the core group", "/body/gitVersion", "it is no build of Kubernetes"),
    known("discovery: versions of the core group", "/body/gitCommit", "it is no build of Kubernetes"),
    known("discovery: versions of the core group", "/body/gitTreeState", "it is no build of Kubernetes"),
    known("discovery: versions of the core group", "/body/goVersion", "it is no build of Kubernetes"),
    known("discovery: versions of the core group", "/body/compiler", "it is no build of Kubernetes"),
    known("discovery: versions of the core group", "/body/platform", "it is no build of Kubernetes"),
    known("apply: bodies that are no objects", "/body/message", "the words of Go's JSON and YAML parsers"),
    known("apply: an item without its key", "/body/details/causes", "a port of 0 is told once, not for its copy in targetPort too"),
    known("bad_request: bodies that cannot be read", "/body/message", "the words of Go's JSON and YAML parsers"),
    known("bad_request: bodies that cannot be read", "/code", "an empty YAML document is no object"),
    known("bad_request: a field twice", "/code", "of a field that is there twice the last one counts, with fieldValidation=Strict too"),
    known("create: a generated name", "/body/details/**", "the end of the name is random"),
    known("create: a generated name", "/body/message", "the end of the name is random"),
    known("create: an answer as yaml", "/code", "answers are JSON only"),
    known("create: an older version of autoscaling", "/code", "built-in kinds are served in one version"),
    known("create: quantities in many spellings", "/body/spec/hard/pods", "a quantity with leading zeros is written without them"),
    known("delete: orphans", "/body/metadata/managedFields", "the garbage collector's own writes are not tracked"),
    known("delete: an orphaned replica set", "/body/items/*/metadata/name", "the hash of a template is over Go's own print of it"),
    known("delete: an orphaned replica set", "/body/items/*/metadata/labels/pod-template-hash", "the hash of a template is over Go's own print of it"),
    known("delete: an orphaned replica set", "/body/items/*/spec/selector/matchLabels/pod-template-hash", "the hash of a template is over Go's own print of it"),
    known("delete: an orphaned replica set", "/body/items/*/spec/template/metadata/labels/pod-template-hash", "the hash of a template is over Go's own print of it"),
    known("delete: a deployment and its replica sets", "/body/items/*/metadata/name", "the hash of a template is over Go's own print of it"),
    known("delete: a deployment and its replica sets", "/body/items/*/metadata/labels/pod-template-hash", "the hash of a template is over Go's own print of it"),
    known("delete: a deployment and its replica sets", "/body/items/*/spec/selector/matchLabels/pod-template-hash", "the hash of a template is over Go's own print of it"),
    known("delete: a deployment and its replica sets", "/body/items/*/spec/template/metadata/labels/pod-template-hash", "the hash of a template is over Go's own print of it"),
    known("delete: a body that is no delete options", "/body/message", "the words of Go's JSON and YAML parsers"),
    known("delete: bad owner references", "/body/details/causes/*/message", "the sentence names the two owners by their names only"),
    known("list: an exact older version of a list", "/code", "old states are not kept; 410 is what clients must live with anyway"),
    known("list: tokens and limits that are none", "/body/message", "the words of Go's JSON and YAML parsers"),
    known("list: only metadata", "/code", "a list is given to who asks for one object's metadata"),
    known("managed_fields: sets and lists of maps", "/warnings", "warnings of deprecated fields of built-in kinds are left out"),
    known("namespace: finalizers in the spec", "/body/metadata/managedFields/*/fieldsV1/**", "the default finalizer is nobody's"),
    known("patch: another kind or version in a merge patch", "/body/details/causes/*/message", "the sentence shows a value as Go prints its own types"),
    known("patch: merge patch with unknown fields", "/body/details/causes/*/message", "the sentence shows a value as Go prints its own types"),
    known("patch: merge patch with the wrong types", "/body/details/causes/*/message", "the sentence shows a value as Go prints its own types"),
    known("custom: unknown fields are pruned", "/body/details/causes/*/message", "the sentence shows a value as Go prints its own types"),
    known("subresource: scale of a deployment", "/body/details/causes/*/message", "the sentence shows a value as Go prints its own types"),
    known("validation: secrets", "/body/details/causes/*/message", "the sentence shows a value as Go prints its own types"),
    known("update: a job's fixed fields", "/body/details/causes/*/message", "the sentence shows a value as Go prints its own types"),
    known("update: a claim keeps what it asked for", "/body/details/causes/*/message", "the sentence shows a value as Go prints its own types"),
    known("validation: a pod and what may change", "/body/details/causes/*/message", "the sentence shows a value as Go prints its own types"),
    known("patch: patches that are no patches", "/body/message", "the words of Go's JSON and YAML parsers"),
    known("patch: strategic patch with directives", "/body/message", "the sentence shows a value as Go prints its own types"),
    known("subresource: scale by apply", "/code", "an apply to a scale is a merge: nobody does it"),
    known("subresource: scale by apply", "/body/metadata/managedFields/*/operation", "an apply to a scale is a merge: nobody does it"),
    known("subresource: a status through its door", "/body/metadata/**", "through the status door of built-in kinds only the status is changed"),
    known("update: a job's fixed fields", "/body/details/causes", "rules for values that are rarely wrong are not checked: such objects are accepted"),
    known("update: a claim keeps what it asked for", "/body/spec/volumeName", "every claim gets a volume, whatever its class"),
    known("update: classes keep what they are", "/body/metadata/generation", "a priority class counts its changes"),
    known("validation: a pod and what may change", "/body/spec/nodeName", "each cluster has a node of its own name"),
    known("validation: ingresses and network policies", "/code", "rules for values that are rarely wrong are not checked: such objects are accepted"),
    known("validation: stateful sets and daemon sets", "/code", "rules for values that are rarely wrong are not checked: such objects are accepted"),
    known("validation: jobs and cron jobs", "/code", "rules for values that are rarely wrong are not checked: such objects are accepted"),
    known("validation: claims and volumes", "/code", "rules for values that are rarely wrong are not checked: such objects are accepted"),
    known("validation: roles and autoscalers", "/code", "rules for values that are rarely wrong are not checked: such objects are accepted"),
    known("validation: services", "/code", "rules for values that are rarely wrong are not checked: such objects are accepted"),
    known("validation: pods", "/code", "rules for values that are rarely wrong are not checked: such objects are accepted"),
    known("validation: services", "/body/details/causes", "a port out of range is told once, not for its copy in targetPort too"),
    known("validation: a service and what may change", "/body/metadata/managedFields/*/fieldsV1/**", "who owns the traffic policy of a Service of another type"),
    known("validation: pods", "/body/spec/terminationGracePeriodSeconds", "a negative time of grace is kept as it is sent"),
    known("crd: versions that are wrong", "/body/details/causes", "what is wrong with a definition is told once, not for each place that follows from it"),
    known("crd: definitions that miss something", "/body/details/causes", "what is wrong with a definition is told once, not for each place that follows from it"),
    known("crd: what of a definition may change", "/body/details/causes", "what is wrong with a definition is told once, not for each place that follows from it"),
    known("crd: schemas that are not structural", "/code", "defaults of a schema are not checked against it, and preserveUnknownFields is accepted"),
    known("custom: embedded resources", "/code", "the metadata of embedded resources is not checked"),
    known("custom: numbers, strings and enumerations are validated", "/body/details/causes", "the validator of OpenAPI tells some problems twice"),
    known("custom: numbers, strings and enumerations are validated", "/code", "formats of strings are not checked"),
    known("custom: numbers, strings and enumerations are validated", "/body/spec/*", "a whole number that is written as 1.0 stays so"),
    known("custom: a scale of a custom object", "/body/details/**", "the scale of a custom resource is checked as that of a Deployment"),
    known("custom: a scale of a custom object", "/body/message", "the scale of a custom resource is checked as that of a Deployment"),
    known("custom: a scale of a custom object", "/code", "a scale without replicas has 0"),
    known("custom: a status of a custom object", "/body/**", "the words for verbs that a subresource of a custom resource does not have"),
    known("custom: tables and selectable fields", "/body/metadata/continue", "a table of custom resources has the same metadata as their list"),
    known("custom: names and labels of custom objects", "/warnings", "an unserved version is refused before its fields are looked at"),
    known("custom: names and labels of custom objects", "/code", "another kind is a bad request for custom resources, as for all others"),
    known("custom: names and labels of custom objects", "/body/message", "the words of Go's JSON and YAML parsers"),
    known("property: Deployment", "/warnings", "advice about Pod templates, such as of one port in two containers, is left out"),
];
