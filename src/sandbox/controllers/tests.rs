//! Workloads that come alive, roll, break and end.
#![allow(clippy::needless_pass_by_value, reason = "json! values are made to be passed on")]

use std::time::Duration;

use serde_json::{Value, json};

use super::{ControllerOptions, Controllers, start};
use crate::object::GroupKind;
use crate::sandbox::store::{Propagation, Store, StoreOptions};

struct Cluster {
    store: Store,
    chores: tokio::task::JoinHandle<()>,
    _controllers: Controllers,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.store.close();
        self.chores.abort();
    }
}

fn cluster(options: ControllerOptions) -> Cluster {
    let store = Store::new(StoreOptions::default());
    let chores = store.start_chores();
    let controllers = start(store.clone(), options);
    Cluster { store, chores, _controllers: controllers }
}

impl Cluster {
    fn create(&self, object: Value) -> Value {
        self.store.create(object, "test").unwrap()
    }

    fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let group = match kind {
            "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" => "apps",
            "Job" => "batch",
            "Ingress" => "networking.k8s.io",
            "PodDisruptionBudget" => "policy",
            "HorizontalPodAutoscaler" => "autoscaling",
            _ => "",
        };
        let namespace = if kind == "PersistentVolume" { "" } else { "default" };
        self.store.get(&GroupKind::new(group, kind), namespace, name)
    }

    fn pods(&self) -> Vec<Value> {
        self.store.list(&GroupKind::new("", "Pod"), Some("default"))
    }

    fn change(&self, kind: &str, name: &str, change: impl Fn(&mut Value)) {
        loop {
            let mut object = self.get(kind, name).unwrap();
            change(&mut object);
            match self.store.update(object, "test") {
                Ok(_) => return,
                Err(error) => assert_eq!(error.code(), 409),
            }
        }
    }

    /// Waits until an object is as it should be; what it was last is in the failure.
    async fn until(&self, kind: &str, name: &str, test: impl Fn(&Value) -> bool) -> Value {
        let group = if matches!(kind, "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") {
            "apps"
        } else {
            ""
        };
        let group = match kind {
            "Job" => "batch",
            "Ingress" => "networking.k8s.io",
            "PodDisruptionBudget" => "policy",
            "HorizontalPodAutoscaler" => "autoscaling",
            _ => group,
        };
        let mut watch = self.store.watch(&GroupKind::new(group, kind));
        let wait = async {
            loop {
                let event = watch.next().await.expect("the store is open");
                if event.object["metadata"]["name"] == name && test(&event.object) {
                    return event.object;
                }
            }
        };
        match tokio::time::timeout(Duration::from_secs(10), wait).await {
            Ok(object) => object,
            Err(_) => panic!("{kind} {name} stays {:#}", self.get(kind, name).unwrap_or_default()),
        }
    }
}

fn workload(api_version: &str, kind: &str, spec: Value, image: &str) -> Value {
    let mut object = json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": image}]}},
        },
    });
    object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    object
}

fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().find(|it| it["type"] == kind).unwrap_or(&Value::Null)
}

fn rolled_out(object: &Value) -> bool {
    condition(object, "Progressing")["reason"] == "NewReplicaSetAvailable"
        && object["status"]["observedGeneration"] == object["metadata"]["generation"]
        && object["status"]["replicas"] == object["spec"]["replicas"]
}

#[tokio::test]
async fn a_deployment_comes_alive() {
    let cluster = cluster(ControllerOptions::default());
    cluster.create(workload("apps/v1", "Deployment", json!({"replicas": 3}), "web:1"));
    let live = cluster.until("Deployment", "web", rolled_out).await;
    assert_eq!(live["status"]["availableReplicas"], 3);
    assert_eq!(condition(&live, "Available")["status"], "True");
    assert_eq!(live["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "1");
    let pods = cluster.pods();
    assert_eq!(pods.len(), 3);
    assert!(
        pods.iter()
            .all(|pod| pod["status"]["phase"] == "Running" && pod["spec"]["nodeName"] == "sandbox-node")
    );
}

#[tokio::test]
async fn a_new_image_replaces_every_pod_and_a_rollback_finds_its_replica_set() {
    let cluster = cluster(ControllerOptions::default());
    cluster.create(workload("apps/v1", "Deployment", json!({"replicas": 4}), "web:1"));
    cluster.until("Deployment", "web", rolled_out).await;
    let image = |image: &'static str| {
        move |object: &mut Value| object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image)
    };
    cluster.change("Deployment", "web", image("web:2"));
    cluster.until("Deployment", "web", rolled_out).await;
    cluster.change("Deployment", "web", image("web:1"));
    let live = cluster.until("Deployment", "web", rolled_out).await;
    assert_eq!(live["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
    let sets = cluster.store.list(&GroupKind::new("apps", "ReplicaSet"), Some("default"));
    assert_eq!(sets.len(), 2, "the first ReplicaSet is used again");
    let running: Vec<_> =
        cluster.pods().into_iter().filter(|pod| pod["metadata"].get("deletionTimestamp").is_none()).collect();
    assert!(running.iter().all(|pod| pod["spec"]["containers"][0]["image"] == "web:1"));
}

#[tokio::test]
async fn a_broken_image_leaves_the_old_pods_running_and_misses_its_deadline() {
    let cluster = cluster(ControllerOptions {
        progress_deadline: Some(Duration::from_millis(50)),
        ..ControllerOptions::default()
    });
    cluster.create(workload("apps/v1", "Deployment", json!({"replicas": 2}), "web:1"));
    cluster.until("Deployment", "web", rolled_out).await;
    cluster.change("Deployment", "web", |object| {
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:broken");
    });
    let live = cluster
        .until("Deployment", "web", |object| {
            condition(object, "Progressing")["reason"] == "ProgressDeadlineExceeded"
        })
        .await;
    assert_eq!(live["status"]["availableReplicas"], 2);
    assert_eq!(condition(&live, "Available")["status"], "True");
    let pods = cluster.pods();
    let waiting = pods.iter().find(|pod| pod["spec"]["containers"][0]["image"] == "web:broken").unwrap();
    assert_eq!(waiting["status"]["containerStatuses"][0]["state"]["waiting"]["reason"], "ImagePullBackOff");
    cluster.change("Deployment", "web", |object| {
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:2");
    });
    cluster.until("Deployment", "web", rolled_out).await;
}

#[tokio::test]
async fn a_scaled_deployment_follows_and_a_settled_cluster_is_silent() {
    let cluster = cluster(ControllerOptions::default());
    cluster.create(workload(
        "apps/v1",
        "Deployment",
        json!({"replicas": 1, "strategy": {"type": "Recreate"}}),
        "web:1",
    ));
    cluster.until("Deployment", "web", rolled_out).await;
    cluster.change("Deployment", "web", |object| {
        object["spec"]["replicas"] = json!(3);
    });
    cluster
        .until("Deployment", "web", |object| rolled_out(object) && object["status"]["readyReplicas"] == 3)
        .await;
    cluster.change("Deployment", "web", |object| {
        object["spec"]["replicas"] = json!(0);
    });
    cluster
        .until("Deployment", "web", |object| {
            object["spec"]["replicas"] == 0
                && object["status"].get("replicas").is_none()
                && object["status"]["observedGeneration"] == object["metadata"]["generation"]
        })
        .await;
    let gone = async {
        let mut watch = cluster.store.watch(&GroupKind::new("", "Pod"));
        while !cluster.pods().is_empty() {
            watch.next().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
    // Everybody has had many turns to write again when nothing was left to do.
    for _ in 0..500 {
        tokio::task::yield_now().await;
    }
    let revision = cluster.store.revision();
    for _ in 0..500 {
        tokio::task::yield_now().await;
    }
    assert_eq!(cluster.store.revision(), revision);
}

#[tokio::test]
async fn a_pod_takes_its_time_to_become_ready() {
    let cluster = cluster(ControllerOptions {
        pod_ready_delay: Duration::from_millis(60),
        ..ControllerOptions::default()
    });
    let began = std::time::Instant::now();
    cluster.create(workload("apps/v1", "Deployment", json!({"replicas": 1}), "web:1"));
    cluster.until("Deployment", "web", rolled_out).await;
    assert!(began.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn a_stateful_set_numbers_its_pods_and_their_claims() {
    let cluster = cluster(ControllerOptions::default());
    let claims = json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]);
    let spec = json!({"replicas": 2, "serviceName": "web", "volumeClaimTemplates": claims});
    cluster.create(workload("apps/v1", "StatefulSet", spec, "web:1"));
    cluster.until("StatefulSet", "web", |set| set["status"]["availableReplicas"] == 2).await;
    assert!(cluster.get("Pod", "web-0").is_some() && cluster.get("Pod", "web-1").is_some());
    let claim = cluster
        .until("PersistentVolumeClaim", "data-web-1", |claim| claim["status"]["phase"] == "Bound")
        .await;
    assert_eq!(claim["status"]["capacity"], json!({"storage": "1Gi"}));
    let volume = claim["spec"]["volumeName"].as_str().unwrap();
    assert_eq!(cluster.get("PersistentVolume", volume).unwrap()["spec"]["claimRef"]["name"], "data-web-1");
    cluster.change("StatefulSet", "web", |set| {
        set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:2");
    });
    let set = cluster
        .until("StatefulSet", "web", |set| {
            set["status"]["updatedReplicas"] == 2
                && set["status"]["readyReplicas"] == 2
                && set["status"]["currentRevision"] == set["status"]["updateRevision"]
                && set["status"]["observedGeneration"] == 2
        })
        .await;
    assert_eq!(set["status"]["replicas"], 2);
    assert_eq!(cluster.get("Pod", "web-0").unwrap()["spec"]["containers"][0]["image"], "web:2");
}

#[tokio::test]
async fn a_daemon_set_has_a_pod_on_the_one_node() {
    let cluster = cluster(ControllerOptions::default());
    cluster.create(workload("apps/v1", "DaemonSet", json!({}), "web:1"));
    let ready = |set: &Value| {
        set["status"]["numberAvailable"] == 1
            && set["status"]["observedGeneration"] == set["metadata"]["generation"]
    };
    cluster.until("DaemonSet", "web", ready).await;
    cluster.change("DaemonSet", "web", |set| {
        set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("web:2");
    });
    cluster.until("DaemonSet", "web", ready).await;
    let pods: Vec<_> =
        cluster.pods().into_iter().filter(|pod| pod["metadata"].get("deletionTimestamp").is_none()).collect();
    assert_eq!(pods.len(), 1);
    assert_eq!(pods[0]["spec"]["containers"][0]["image"], "web:2");
}

fn job(image: &str, spec: Value) -> Value {
    let mut job = workload("batch/v1", "Job", spec, image);
    job["spec"].as_object_mut().unwrap().shift_remove("selector");
    job["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    job
}

#[tokio::test]
async fn a_job_completes_or_fails_as_its_tag_says() {
    let cluster = cluster(ControllerOptions::default());
    cluster.create(job("work:1", json!({"completions": 2, "parallelism": 2})));
    let done = cluster.until("Job", "web", |job| condition(job, "Complete")["status"] == "True").await;
    assert_eq!(done["status"]["succeeded"], 2);
    assert!(done["status"]["completionTime"].is_string());
    assert!(done["status"].get("active").is_none());
    let mut failing = job("work:fail", json!({"backoffLimit": 1}));
    failing["metadata"]["name"] = json!("bad");
    cluster.create(failing);
    let failed = cluster.until("Job", "bad", |job| condition(job, "Failed")["status"] == "True").await;
    assert_eq!(condition(&failed, "Failed")["reason"], "BackoffLimitExceeded");
    assert_eq!(failed["status"]["failed"], 2);
}

#[tokio::test]
async fn a_finished_job_goes_after_its_time_to_live() {
    let cluster = cluster(ControllerOptions::default());
    let mut watch = cluster.store.watch(&GroupKind::new("batch", "Job"));
    cluster.create(job("work:1", json!({"ttlSecondsAfterFinished": 0})));
    let gone = async {
        while cluster.get("Job", "web").is_some() {
            watch.next().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
}

#[tokio::test]
async fn balancers_get_an_address() {
    let cluster = cluster(ControllerOptions::default());
    cluster.create(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}));
    cluster
        .until("Service", "web", |service| service["status"]["loadBalancer"]["ingress"][0]["ip"].is_string())
        .await;
    cluster.create(json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web", "namespace": "default"}, "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}}));
    cluster
        .until("Ingress", "web", |ingress| ingress["status"]["loadBalancer"]["ingress"][0]["ip"].is_string())
        .await;
}

#[tokio::test]
async fn an_autoscaler_is_content_with_the_least() {
    let cluster = cluster(ControllerOptions::default());
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    cluster.create(json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web", "namespace": "default"}, "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 5}}));
    let autoscaler = cluster
        .until("HorizontalPodAutoscaler", "web", |it| condition(it, "AbleToScale")["status"] == "True")
        .await;
    assert_eq!(autoscaler["status"]["desiredReplicas"], 2);
}

#[tokio::test]
async fn a_disruption_budget_counts_its_pods() {
    let cluster = cluster(ControllerOptions::default());
    let budget = |name: &str, spec: Value| json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name, "namespace": "default"}, "spec": spec});
    let web = json!({"matchLabels": {"app": "web"}});
    cluster.create(budget("min", json!({"minAvailable": 2, "selector": web})));
    cluster.create(budget("max", json!({"maxUnavailable": "50%", "selector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "shop"]}]}})));
    cluster
        .create(budget("other", json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "other"}}})));
    cluster.create(workload("apps/v1", "Deployment", json!({"replicas": 3}), "web:1"));
    let allows = |budget: &Value, allowed: u64| {
        budget["status"]["disruptionsAllowed"] == allowed && budget["status"]["expectedPods"] == 3
    };
    cluster.until("PodDisruptionBudget", "min", |budget| allows(budget, 1)).await;
    let max = cluster.until("PodDisruptionBudget", "max", |budget| allows(budget, 2)).await;
    assert_eq!(condition(&max, "DisruptionAllowed")["reason"], "SufficientPods");
    let other =
        cluster.until("PodDisruptionBudget", "other", |budget| budget["status"]["expectedPods"] == 0).await;
    assert_eq!(condition(&other, "DisruptionAllowed")["reason"], "InsufficientPods");
}

#[tokio::test]
async fn a_deleted_pod_is_replaced() {
    let cluster = cluster(ControllerOptions::default());
    cluster.create(workload("apps/v1", "Deployment", json!({"replicas": 1}), "web:1"));
    cluster.until("Deployment", "web", rolled_out).await;
    let name = cluster.pods()[0]["metadata"]["name"].as_str().unwrap().to_owned();
    cluster.store.delete(&GroupKind::new("", "Pod"), "default", &name, Propagation::Background).unwrap();
    let mut watch = cluster.store.watch(&GroupKind::new("", "Pod"));
    let replaced = async {
        loop {
            let pod = watch.next().await.unwrap().object;
            if pod["metadata"]["name"] != name && pod["status"]["phase"] == "Running" {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), replaced).await.unwrap();
}
