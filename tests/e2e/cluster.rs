//! The cluster that a world lives on. The root of the crate decides which one that is: no test knows.

use std::{any::Any, time::Duration};

use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;
use skiff::{api::crd, object::yaml};
use tokio::time::Instant;

/// A cluster for one world.
pub struct Cluster {
    /// An administrator's client.
    pub client: Client,
    /// How long a test waits for something to come true. Nothing takes this long unless it is broken.
    pub patience: Duration,
    /// What lives as long as the world: its end leaves the cluster as the next world wants to find it.
    _stay: Box<dyn Any + Send + Sync>,
}

impl Cluster {
    /// A cluster that is left when `stay` is dropped.
    pub fn new(client: Client, patience: Duration, stay: impl Any + Send + Sync) -> Self {
        Self { client, patience, _stay: Box::new(stay) }
    }
}

/// What a world asks of its cluster.
#[allow(dead_code, reason = "who has a cluster of its own need not ask for most of it")]
pub struct Wishes {
    /// Part of the name of everything without a namespace that the world makes, the namespaces included.
    pub id: String,
    /// Other definitions of Skiff's kinds than Skiff's own.
    pub definitions: Option<Vec<Value>>,
    /// Whether no other world may be on the cluster meanwhile.
    pub alone: bool,
}

/// Skiff's own definitions.
pub fn own_definitions() -> Vec<Value> {
    crd::definitions().iter().map(|definition| parse(&definition.to_yaml())).collect()
}

/// Reads one YAML document.
pub fn parse(text: &str) -> Value {
    yaml::parse(text.as_bytes(), &yaml::Options::default()).unwrap().remove(0).value
}

/// Applies definitions and waits until they are established.
pub async fn install(client: &Client, definitions: &[Value], patience: Duration) {
    let gvk = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&gvk));
    for definition in definitions {
        let name = definition["metadata"]["name"].as_str().unwrap();
        let parameters = PatchParams::apply("administrator").force();
        api.patch(name, &parameters, &Patch::Apply(definition)).await.unwrap();
        let begun = Instant::now();
        while !is_established(&api.get(name).await.unwrap().data) {
            assert!(begun.elapsed() < patience, "{name} is not established");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn is_established(definition: &Value) -> bool {
    let conditions = definition.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|it| it["type"] == "Established" && it["status"] == "True")
}
