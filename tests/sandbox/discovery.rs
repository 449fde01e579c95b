//! Discovery in both forms, through the kube client.

use kube::discovery::{Discovery, Scope};
use serde_json::json;

use super::World;

#[tokio::test]
async fn both_forms_of_discovery_say_the_same() {
    let world = World::new();
    let client = world.sandbox.client();
    let plain = Discovery::new(client.clone()).run().await.unwrap();
    let before = world.sandbox.requests().all().len();
    let aggregated = Discovery::new(client).run_aggregated().await.unwrap();
    assert_eq!(world.sandbox.requests().all().len() - before, 2, "two requests are enough");
    for discovery in [&plain, &aggregated] {
        let gvk = kube::core::GroupVersionKind::gvk("apps", "v1", "Deployment");
        let (resource, capabilities) = discovery.resolve_gvk(&gvk).unwrap();
        assert_eq!(resource.plural, "deployments");
        assert_eq!(capabilities.scope, Scope::Namespaced);
        assert!(capabilities.supports_operation("watch"));
        assert!(
            capabilities.subresources.iter().any(|(subresource, _)| subresource.plural.ends_with("scale"))
        );
        let gvk = kube::core::GroupVersionKind::gvk("", "v1", "Namespace");
        assert_eq!(discovery.resolve_gvk(&gvk).unwrap().1.scope, Scope::Cluster);
    }
    let names = |discovery: &Discovery| {
        let mut names: Vec<String> = discovery.groups().map(|group| group.name().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&plain), names(&aggregated));
}

#[tokio::test]
async fn the_version_is_one_that_clients_know() {
    let world = World::new();
    let version = world.sandbox.client().apiserver_version().await.unwrap();
    assert_eq!((version.major.as_str(), version.minor.as_str()), ("1", "36"));
    assert_eq!(world.get("/readyz").await, (200, json!("ok")));
    let (code, document) = world.get("/openapi/v3/apis/apps/v1").await;
    assert_eq!(code, 200);
    let path = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}";
    assert_eq!(document["paths"][path]["patch"]["x-kubernetes-group-version-kind"]["kind"], "Deployment");
}
