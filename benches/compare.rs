//! The verdict on one application of ten objects, as the API server stores them after a sync.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use divan::Bencher;
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
    discovery::{Scope, pinned_kind},
};
use serde_json::json;
use skiff::{
    api::names,
    compare::{Local, Rules, local, strip_for_storage},
    object::{Object, yaml},
    sandbox::Sandbox,
};

#[path = "support/application.rs"]
mod application;

fn main() {
    divan::main();
}

/// What is declared, and what the API server makes of it.
async fn synced() -> Vec<(Object, Object)> {
    let sandbox = Sandbox::builder().build();
    let mut pairs = Vec::new();
    for document in yaml::parse(application::application(0).as_bytes(), &yaml::Options::default()).unwrap() {
        let mut desired = Object::from_value(document.value).unwrap();
        let gvk = desired.gvk();
        let (resource, capabilities) =
            pinned_kind(&sandbox.client(), &GroupVersionKind::gvk(&gvk.group, &gvk.version, &gvk.kind))
                .await
                .unwrap();
        let api: Api<DynamicObject> = match capabilities.scope {
            Scope::Cluster => Api::all_with(sandbox.client(), &resource),
            Scope::Namespaced => {
                desired.set_namespace("default");
                Api::namespaced_with(sandbox.client(), "default", &resource)
            }
        };
        let parameters = PatchParams::apply(names::FIELD_MANAGER).force();
        let live = api.patch(desired.name(), &parameters, &Patch::Apply(desired.value())).await.unwrap();
        let live = strip_for_storage(json!(live), names::FIELD_MANAGER, &BTreeSet::new());
        pairs.push((desired, Object::from_value(live).unwrap()));
    }
    pairs
}

#[divan::bench]
fn ten_objects_without_drift(bencher: Bencher) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let pairs = runtime.block_on(synced());
    let rules = Rules::default();
    bencher.bench_local(|| {
        for (desired, live) in &pairs {
            let verdict = local(desired, live, &rules, names::FIELD_MANAGER);
            assert_eq!(verdict, Local::Same, "{}", desired.key());
        }
    });
}
