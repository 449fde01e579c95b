//! The rules of a project, row by row, and the attacks on them.

#![allow(clippy::needless_pass_by_value, reason = "values are written in place")]

use serde_json::{Value, json};

use super::*;
use crate::{
    api::AppProjectSpec,
    object::{Gvk, Object, ObjectKey, Scope},
};

const SERVER: &str = "https://kubernetes.default.svc";

fn compile(spec: Value) -> (Project, Vec<ProjectProblem>) {
    let spec: AppProjectSpec = serde_json::from_value(spec).unwrap();
    Project::compile("shop", &spec, "argocd")
}

fn project(spec: Value) -> Project {
    let (project, problems) = compile(spec);
    assert_eq!(problems, []);
    project
}

fn cluster(server: &str, name: &str) -> Destination {
    Destination { server: server.to_owned(), name: name.to_owned(), project: String::new() }
}

fn here() -> Destination {
    cluster(SERVER, "in-cluster")
}

/// Everything is permitted but what the changes take away.
fn open(changes: Value) -> Project {
    let mut spec = json!({
        "sourceRepos": ["*"],
        "destinations": [{ "server": "*", "namespace": "*" }],
        "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
    });
    spec.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    project(spec)
}

fn sources(patterns: Value, url: &str) -> bool {
    open(json!({ "sourceRepos": patterns })).permits_source(url).is_ok()
}

fn destinations(items: Value, destination: &Destination, namespace: &str) -> bool {
    open(json!({ "destinations": items })).permits_destination(destination, namespace).is_ok()
}

#[test]
fn a_project_that_says_nothing_permits_nothing() {
    let project = project(json!({}));
    assert!(project.permits_source("https://example.com/a").is_err());
    assert!(project.permits_destination(&here(), "shop").is_err());
    assert!(
        project.permits_resource(&ObjectKey::new("", "Namespace", "", "a"), Scope::Cluster, &here()).is_err()
    );
    assert!(
        project
            .permits_resource(&ObjectKey::new("", "ConfigMap", "a", "a"), Scope::Namespaced, &here())
            .is_err()
    );
    assert!(project.permits_application_namespace("team-a").is_err());
    assert!(project.permits_application_namespace("").is_err());
    assert!(project.permits_application_namespace("argocd").is_ok());
}

#[test]
fn source_patterns() {
    assert!(sources(json!(["*"]), "https://anything/at/all"));
    assert!(!sources(json!(["https://example.com/*"]), "https://example.com/a/b"));
    assert!(sources(json!(["https://example.com/**"]), "https://example.com/a/b"));
    assert!(sources(json!(["https://example.com/*/b"]), "https://example.com/a/b"));
    assert!(sources(json!(["https://Example.com/A.git "]), "https://example.com/a"));
    assert!(sources(json!(["git@example.com:team/*"]), "ssh://git@example.com/team/app.git"));
    assert!(sources(json!(["ssh://git@example.com/team/app"]), "git@example.com:team/app.git"));
    assert!(sources(json!(["https://example.com/{a,b}"]), "https://example.com/b"));
    assert!(!sources(json!(["https://example.com/a"]), "https://example.com/ab"));
    assert!(!sources(json!([""]), ""));
    assert!(!sources(json!(["*"]), ""));
}

#[test]
fn source_denials_win_and_alone_permit_the_rest() {
    assert!(!sources(json!(["*", "!https://example.com/secret"]), "https://example.com/secret.git"));
    assert!(sources(json!(["*", "!https://example.com/secret"]), "https://example.com/open"));
    assert!(sources(json!(["!https://example.com/secret"]), "https://example.com/open"));
    assert!(!sources(json!(["!https://example.com/secret", "*"]), "https://example.com/secret"));
}

#[test]
fn a_source_that_looks_like_another_is_refused() {
    let team = json!(["https://example.com/team/**"]);
    for url in [
        "https://example.com/team/../other/repo",
        "https://example.com/team/%2e%2e/other/repo",
        "https://example.com/team/..%2fother",
        "https://example.com/team/..",
        "https://example.com.evil/team/repo",
        "https://example.com@evil/team/repo",
        "https://evil/https://example.com/team/repo",
        "https://example.com/team\\..\\other",
        "https://example.com/team/a\nb",
    ] {
        assert!(!sources(team.clone(), url), "{url}");
    }
    assert!(sources(team, "https://example.com/team/a..b"));
}

#[test]
fn destinations_by_server_or_name_and_namespace() {
    let in_shop = json!([{ "server": SERVER, "namespace": "shop-*" }]);
    assert!(destinations(in_shop.clone(), &here(), "shop-dev"));
    assert!(!destinations(in_shop.clone(), &here(), "other"));
    assert!(!destinations(in_shop, &cluster("https://other", "x"), "shop-dev"));
    let by_name = json!([{ "name": "prod-*", "namespace": "*" }]);
    assert!(destinations(by_name.clone(), &cluster("https://a", "prod-1"), "a"));
    assert!(!destinations(by_name, &cluster("https://a", "dev-1"), "a"));
    assert!(destinations(
        json!([{ "server": "https://*", "namespace": "*" }]),
        &cluster("https://a/b/c", ""),
        "x/y"
    ));
}

#[test]
fn an_item_that_leaves_the_name_out_does_not_match_a_cluster_without_a_name() {
    assert!(!destinations(
        json!([{ "server": SERVER, "namespace": "*" }]),
        &cluster("https://other", ""),
        "a"
    ));
    assert!(!destinations(json!([{ "server": "*", "namespace": "*" }]), &cluster("", ""), "a"));
    let (project, problems) = compile(json!({ "destinations": [{ "namespace": "*" }] }));
    assert!(problems[0].to_string().contains("spec.destinations[0]"), "{problems:?}");
    assert!(project.permits_destination(&cluster("", ""), "a").is_err());
}

#[test]
fn destination_denials() {
    let all = json!({ "server": "*", "namespace": "*" });
    let deny = |item: Value| json!([all, item]);
    let prod = cluster("https://prod", "prod");
    // By name: whatever the namespace.
    assert!(!destinations(deny(json!({ "name": "!prod", "namespace": "x" })), &prod, "y"));
    assert!(destinations(deny(json!({ "name": "!prod", "namespace": "x" })), &here(), "y"));
    // By server: only where the namespace fits.
    assert!(!destinations(deny(json!({ "server": "!https://prod", "namespace": "x" })), &prod, "x"));
    assert!(destinations(deny(json!({ "server": "!https://prod", "namespace": "x" })), &prod, "y"));
    // By namespace: only where the cluster fits.
    assert!(!destinations(
        deny(json!({ "server": "https://prod", "namespace": "!kube-*" })),
        &prod,
        "kube-system"
    ));
    assert!(destinations(
        deny(json!({ "server": "https://prod", "namespace": "!kube-*" })),
        &here(),
        "kube-system"
    ));
    // A denial that does not fit counts as a match.
    assert!(destinations(json!([{ "server": "!https://prod", "namespace": "*" }]), &here(), "a"));
    assert!(destinations(json!([{ "server": "*", "namespace": "!kube-system" }]), &here(), "a"));
    // A rejection ends the evaluation, wherever it stands.
    assert!(!destinations(
        json!([{ "server": "*", "namespace": "!kube-system" }, all]),
        &here(),
        "kube-system"
    ));
}

#[test]
fn clusters_of_other_projects_are_refused_and_own_ones_may_be_required() {
    let owned = |project: &str| Destination { project: project.to_owned(), ..here() };
    let any = open(json!({}));
    assert!(any.permits_destination(&owned("shop"), "a").is_ok());
    assert!(any.permits_destination(&owned("other"), "a").is_err());
    let own_only = open(json!({ "permitOnlyProjectScopedClusters": true }));
    assert!(own_only.permits_destination(&owned("shop"), "a").is_ok());
    assert!(own_only.permits_destination(&here(), "a").is_err());
    let key = ObjectKey::new("", "ConfigMap", "a", "a");
    assert!(own_only.permits_resource(&key, Scope::Namespaced, &here()).is_err());
}

#[test]
fn application_namespaces_by_glob_and_by_expression() {
    let project = open(json!({ "sourceNamespaces": ["team-*", "/^squad-[0-9]+$/"] }));
    for (namespace, permitted) in
        [("team-a", true), ("squad-12", true), ("squad-x", false), ("other", false), ("argocd", true)]
    {
        assert_eq!(project.permits_application_namespace(namespace).is_ok(), permitted, "{namespace}");
    }
}

fn kinds(changes: Value, group: &str, kind: &str, namespace: &str, name: &str) -> bool {
    let scope = if namespace.is_empty() { Scope::Cluster } else { Scope::Namespaced };
    open(changes).permits_resource(&ObjectKey::new(group, kind, namespace, name), scope, &here()).is_ok()
}

#[test]
fn cluster_scoped_kinds_are_permitted_by_name_too() {
    let list =
        json!({ "clusterResourceWhitelist": [{ "group": "", "kind": "Namespace", "name": "shop-*" }] });
    assert!(kinds(list.clone(), "", "Namespace", "", "shop-dev"));
    assert!(!kinds(list.clone(), "", "Namespace", "", "kube-system"));
    assert!(!kinds(list.clone(), "rbac.authorization.k8s.io", "ClusterRole", "", "shop-dev"));
    assert!(!kinds(list, "other.io", "Namespace", "", "shop-dev"));
    assert!(!kinds(json!({ "clusterResourceWhitelist": [] }), "", "Namespace", "", "a"));
    let denied = json!({ "clusterResourceBlacklist": [{ "group": "rbac*", "kind": "*" }] });
    assert!(!kinds(denied.clone(), "rbac.authorization.k8s.io", "ClusterRole", "", "a"));
    assert!(kinds(denied, "", "Namespace", "", "a"));
    let one = json!({ "clusterResourceBlacklist": [{ "group": "", "kind": "Namespace", "name": "kube-*" }] });
    assert!(!kinds(one.clone(), "", "Namespace", "", "kube-system"));
    assert!(kinds(one, "", "Namespace", "", "a"));
}

#[test]
fn namespaced_kinds_are_all_permitted_unless_there_is_a_list() {
    assert!(kinds(json!({}), "apps", "Deployment", "n", "a"));
    assert!(!kinds(json!({ "namespaceResourceWhitelist": [] }), "apps", "Deployment", "n", "a"));
    let list = json!({ "namespaceResourceWhitelist": [{ "group": "apps", "kind": "*" }] });
    assert!(kinds(list.clone(), "apps", "Deployment", "n", "a"));
    assert!(!kinds(list, "", "Secret", "n", "a"));
    let denied = json!({ "namespaceResourceBlacklist": [{ "group": "", "kind": "Secret" }] });
    assert!(!kinds(denied.clone(), "", "Secret", "n", "a"));
    assert!(kinds(denied, "e.io", "Secret", "n", "a"));
}

#[test]
fn a_broken_permission_permits_nothing_and_a_broken_denial_denies_everything() {
    let broken = |spec: Value| {
        let mut all = json!({
            "sourceRepos": ["*"], "destinations": [{ "server": "*", "namespace": "*" }],
            "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
        });
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let (project, problems) = compile(all);
        assert_eq!(problems.len(), 1, "{problems:?}");
        project
    };
    assert!(broken(json!({ "sourceRepos": ["https://[a"] })).permits_source("https://[a").is_err());
    assert!(broken(json!({ "sourceRepos": ["*", "!https://[a"] })).permits_source("https://b").is_err());
    let denied = broken(
        json!({ "destinations": [{ "server": "*", "namespace": "*" }, { "server": "*", "namespace": "![a" }] }),
    );
    assert!(denied.permits_destination(&here(), "b").is_err());
    let key = ObjectKey::new("apps", "Deployment", "n", "a");
    let denied = broken(json!({ "namespaceResourceBlacklist": [{ "group": "[", "kind": "*" }] }));
    assert!(denied.permits_resource(&key, Scope::Namespaced, &here()).is_err());
    assert!(broken(json!({ "sourceNamespaces": ["/(/"] })).permits_application_namespace("(").is_err());
}

// What an Application says about itself, and every kind of write.

fn restricted() -> Project {
    project(json!({
        "sourceRepos": ["https://example.com/shop"],
        "sourceNamespaces": ["team-a"],
        "destinations": [{ "server": SERVER, "namespace": "shop" }],
        "clusterResourceWhitelist": [{ "group": "", "kind": "Namespace", "name": "shop" }],
        "namespaceResourceBlacklist": [{ "group": "", "kind": "Secret" }],
    }))
}

fn claim<'a>(
    application_namespace: &'a str,
    repo_urls: &'a [String],
    destination: &'a Destination,
    namespace: &'a str,
) -> Claim<'a> {
    Claim { application_namespace, repo_urls, destination, namespace }
}

fn admission() -> Admission {
    let urls = ["https://example.com/shop.git".to_owned()];
    restricted().admit(&claim("team-a", &urls, &here(), "shop")).unwrap()
}

fn applied(api_version: &str, kind: &str, namespace: &str, name: &str) -> Apply {
    let mut metadata = json!({ "name": name });
    if !namespace.is_empty() {
        metadata["namespace"] = namespace.into();
    }
    let object =
        Object::from_value(json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata })).unwrap();
    Apply { object, scope: if namespace.is_empty() { Scope::Cluster } else { Scope::Namespaced } }
}

fn deleted(api_version: &str, kind: &str, namespace: &str, name: &str) -> Delete {
    Delete {
        gvk: Gvk::from_api_version(api_version, kind),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        scope: if namespace.is_empty() { Scope::Cluster } else { Scope::Namespaced },
        uid: "u".to_owned(),
        resource_version: None,
        propagation: Propagation::Foreground,
    }
}

fn finalized(api_version: &str, kind: &str, namespace: &str, name: &str) -> RemoveFinalizer {
    let Delete { gvk, namespace, name, scope, uid, .. } = deleted(api_version, kind, namespace, name);
    RemoveFinalizer { gvk, namespace, name, scope, uid, finalizer: "f".to_owned() }
}

#[test]
fn every_kind_of_write_meets_every_rule() {
    let admission = admission();
    for (api_version, kind, namespace, name, permitted) in [
        ("v1", "ConfigMap", "shop", "a", true),
        ("v1", "ConfigMap", "kube-system", "a", false),
        ("v1", "Secret", "shop", "a", false),
        ("v1", "Namespace", "", "shop", true),
        ("v1", "Namespace", "", "other", false),
        ("rbac.authorization.k8s.io/v1", "ClusterRole", "", "shop", false),
    ] {
        let verdicts = [
            admission.permit(applied(api_version, kind, namespace, name)).map(|_| ()),
            admission.permit(deleted(api_version, kind, namespace, name)).map(|_| ()),
            admission.permit(finalized(api_version, kind, namespace, name)).map(|_| ()),
        ];
        for verdict in verdicts {
            assert_eq!(verdict.is_ok(), permitted, "{kind} {namespace}/{name}: {verdict:?}");
        }
    }
}

#[test]
fn an_application_is_admitted_by_namespace_source_and_destination() {
    let project = restricted();
    let good = ["https://example.com/shop".to_owned()];
    let two = ["https://example.com/shop".to_owned(), "https://example.com/other".to_owned()];
    let elsewhere = cluster("https://other", "other");
    let attempt = |claim: Claim<'_>| project.admit(&claim).err();
    assert_eq!(attempt(claim("team-a", &good, &here(), "shop")), None);
    assert!(matches!(
        attempt(claim("team-b", &good, &here(), "shop")),
        Some(Refusal::ApplicationNamespace { .. })
    ));
    assert!(matches!(attempt(claim("team-a", &two, &here(), "shop")), Some(Refusal::Source { .. })));
    assert!(matches!(attempt(claim("team-a", &[], &here(), "shop")), Some(Refusal::NoSource { .. })));
    assert!(matches!(attempt(claim("team-a", &good, &elsewhere, "shop")), Some(Refusal::Destination { .. })));
    assert!(matches!(attempt(claim("team-a", &good, &here(), "other")), Some(Refusal::Destination { .. })));
    assert!(matches!(attempt(claim("team-a", &good, &here(), "")), Some(Refusal::Destination { .. })));
}

#[test]
fn a_deletion_does_not_need_the_source_and_permits_no_apply() {
    let admission = restricted().admit_deletion(&claim("team-a", &[], &here(), "shop")).unwrap();
    assert!(admission.permit(deleted("v1", "ConfigMap", "shop", "a")).is_ok());
    assert!(admission.permit(deleted("v1", "Secret", "shop", "a")).is_err());
    assert!(matches!(
        admission.permit(applied("v1", "ConfigMap", "shop", "a")),
        Err(Refusal::NoSource { .. })
    ));
    assert!(restricted().admit_deletion(&claim("team-b", &[], &here(), "shop")).is_err());
}

#[test]
fn a_write_that_contradicts_its_scope_is_refused() {
    let admission = admission();
    let mut write = applied("v1", "Namespace", "", "shop");
    write.object.set_namespace("shop");
    assert!(
        matches!(admission.permit(write), Err(Refusal::Malformed { .. })),
        "cluster-scoped with a namespace"
    );
    let mut write = applied("v1", "ConfigMap", "shop", "a");
    write.object.set_namespace("");
    assert!(matches!(admission.permit(write), Err(Refusal::Malformed { .. })), "namespaced without one");
    let mut write = applied("v1", "Secret", "shop", "a");
    write.scope = Scope::Cluster;
    assert!(admission.permit(write).is_err(), "a wrong scope does not lead around the namespace rules");
    let mut write = deleted("v1", "ConfigMap", "shop", "a");
    write.uid.clear();
    assert!(matches!(admission.permit(write), Err(Refusal::Malformed { .. })), "a deletion by name alone");
    let mut write = finalized("v1", "ConfigMap", "shop", "a");
    write.finalizer.clear();
    assert!(matches!(admission.permit(write), Err(Refusal::Malformed { .. })));
}

#[test]
fn a_list_cannot_carry_objects_past_the_rules() {
    let list = json!({ "apiVersion": "v1", "kind": "List", "metadata": { "name": "a", "namespace": "shop" },
        "items": [{ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a" } }] });
    let write = Apply { object: Object::from_value(list).unwrap(), scope: Scope::Namespaced };
    assert!(matches!(admission().permit(write), Err(Refusal::Malformed { .. })));
}

#[test]
fn a_namespace_that_rendering_changed_is_what_counts() {
    let admission = admission();
    let mut write = applied("v1", "ConfigMap", "shop", "a");
    assert!(admission.permit(write.clone()).is_ok());
    write.object.set_namespace("kube-system");
    assert!(matches!(admission.permit(write), Err(Refusal::Namespace { .. })));
}

#[test]
fn a_permitted_write_carries_its_cluster_and_project() {
    let permitted = admission().permit(applied("v1", "ConfigMap", "shop", "a")).unwrap();
    assert_eq!((permitted.destination(), permitted.project()), (&here(), "shop"));
    assert_eq!(permitted.write().object.name(), "a");
}

#[test]
fn refusals_are_worded_as_argo_cd_words_them_and_show_no_credentials() {
    let project = restricted();
    let text = project.permits_source("https://user:canary@example.com/x").unwrap_err().to_string();
    assert!(
        text.starts_with("application repo https://example.com/x is not permitted in project 'shop'"),
        "{text}"
    );
    let text = project.permits_destination(&here(), "x").unwrap_err().to_string();
    assert!(text.contains("do not match any of the allowed destinations in project 'shop'"), "{text}");
    let key = ObjectKey::new("apps", "Deployment", "x", "a");
    let text = project.permits_resource(&key, Scope::Namespaced, &here()).unwrap_err().to_string();
    assert!(text.starts_with("namespace x is not permitted in project 'shop'"), "{text}");
    let key = ObjectKey::new("", "Secret", "shop", "a");
    let text = project.permits_resource(&key, Scope::Namespaced, &here()).unwrap_err().to_string();
    assert!(text.starts_with("resource :Secret is not permitted in project shop"), "{text}");
}
