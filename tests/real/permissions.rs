//! The agent with exactly the permissions of `deploy/agent`: what it can do with them, and what it says of the rest.

use std::path::PathBuf;

use serde_json::{Value, json};
use skiff::object::yaml;

use crate::{
    process::{self, Process},
    world::{World, refusals, until},
};

/// The objects of `deploy/agent`, as Skiff itself renders them, moved into a world's namespace.
async fn deployment(world: &World) -> Vec<Value> {
    let folder = process::manifest_directory().join("deploy/agent");
    let rendered = world_render(folder.to_str().unwrap()).await;
    let mut objects: Vec<Value> = yaml::parse(rendered.as_bytes(), &yaml::Options::default())
        .unwrap()
        .into_iter()
        .map(|document| document.value)
        .collect();
    for object in &mut objects {
        let is_cluster_wide = object["metadata"].get("namespace").is_none();
        match object["kind"].as_str().unwrap() {
            "Namespace" => object["metadata"]["name"] = json!(world.argocd),
            "ClusterRole" | "ClusterRoleBinding" => {
                object["metadata"]["name"] = json!(world.unique("skiff-agent"));
            }
            _ => assert!(!is_cluster_wide, "{object}"),
        }
        if !is_cluster_wide {
            object["metadata"]["namespace"] = json!(world.argocd);
        }
        if let Some(subject) = object.pointer_mut("/subjects/0") {
            subject["namespace"] = json!(world.argocd);
        }
        if object["kind"] == "ClusterRoleBinding" {
            object["roleRef"]["name"] = json!(world.unique("skiff-agent"));
        }
    }
    objects
}

async fn world_render(folder: &str) -> String {
    process::run(process::skiff(&["render", folder])).await.expect(0, &["ClusterRole", "skiff-agent"]).out
}

/// A world whose agent runs as the ServiceAccount of `deploy/agent`.
async fn world_with_agent() -> (World, Process) {
    let world = World::new().await;
    for object in deployment(&world).await {
        world.apply(object).await;
    }
    let agent = world.start_agent_as("agent-0", &kubeconfig(&world).await);
    agent.until_ready().await;
    (world, agent)
}

async fn kubeconfig(world: &World) -> PathBuf {
    let token = world.token(&world.argocd, "skiff-agent").await;
    world.write_kubeconfig("agent.kubeconfig", json!({ "token": token }))
}

const EVERYTHING: &str = r"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {key: one}
---
apiVersion: v1
kind: Secret
metadata: {name: password}
stringData: {password: a-password}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1'}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: database}
spec:
  serviceName: database
  selector: {matchLabels: {app: database}}
  template:
    metadata: {labels: {app: database}}
    spec: {containers: [{name: database, image: 'database:1'}]}
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: logs}
spec:
  selector: {matchLabels: {app: logs}}
  template:
    metadata: {labels: {app: logs}}
    spec: {containers: [{name: logs, image: 'logs:1'}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: migrate, image: 'migrate:1'}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: report}
spec:
  schedule: '0 4 * * *'
  jobTemplate:
    spec:
      template:
        spec: {restartPolicy: Never, containers: [{name: report, image: 'report:1'}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  rules:
    - http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: database}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: database}
  maxReplicas: 3
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
";

#[tokio::test(flavor = "multi_thread")]
async fn with_exactly_its_cluster_role_the_agent_deploys_all_ordinary_kinds() {
    let (world, agent) = world_with_agent().await;
    // The controllers that would judge a HorizontalPodAutoscaler are not there, so its health is left out.
    let everything = EVERYTHING.replace(
        "metadata: {name: database}\nspec:\n  scaleTargetRef",
        "metadata: {name: database, annotations: {argocd.argoproj.io/ignore-healthcheck: 'true'}}\nspec:\n  scaleTargetRef",
    );
    let revision = world.commit(&[("everything/all.yaml", Some(&everything))]);
    let mut application = world.automated("everything", "everything");
    let elsewhere = world.unique("made-by-the-agent");
    application["spec"]["destination"]["namespace"] = json!(elsewhere);
    application["spec"]["syncPolicy"]["syncOptions"] = json!(["CreateNamespace=true"]);
    application["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
    world.apply(application).await;
    world.until_synced("everything", &revision).await;
    assert_eq!(refusals(&agent), Vec::<String>::new());

    // Drift, prune and deletion need no more.
    world.patch("v1", "ConfigMap", &elsewhere, "settings", json!({ "data": { "key": "by hand" } })).await;
    until("the drift is put back", || async {
        let settings = world.get("v1", "ConfigMap", &elsewhere, "settings").await.unwrap();
        if settings["data"]["key"] == "one" { Ok(()) } else { Err(settings.to_string()) }
    })
    .await;
    let name = world.unique("everything");
    world.delete("argoproj.io/v1alpha1", "Application", &world.argocd, &name).await;
    until("everything is deleted", || async {
        let left = world.list("apps/v1", "Deployment", &elsewhere).await;
        let application = world.read_application("everything").await;
        if left.is_empty() && application.is_none() {
            Ok(())
        } else {
            Err(format!("{left:?} {application:?}"))
        }
    })
    .await;
    assert_eq!(refusals(&agent), Vec::<String>::new());
    world.delete("v1", "Namespace", "", &elsewhere).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_beyond_its_permissions_is_named_and_stops_its_application_alone() {
    let (world, _agent) = world_with_agent().await;
    let beyond =
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: reader}\nrules: []\n";
    let revision = world.commit(&[
        ("beyond/role.yaml", Some(beyond)),
        ("beyond/settings.yaml", Some(&process::config_map("beyond", "one"))),
        ("ordinary/settings.yaml", Some(&process::config_map("ordinary", "one"))),
    ]);
    world.apply(world.automated("beyond", "beyond")).await;
    let told = world
        .until_application("beyond", "names what it may not read", |application| {
            let conditions = application["status"]["conditions"].to_string();
            conditions.contains("roles") && conditions.contains("orbidden")
        })
        .await;
    assert_eq!(told["status"]["sync"]["status"], "Unknown", "{told:#}");
    world.apply(world.automated("ordinary", "ordinary")).await;
    world.until_synced("ordinary", &revision).await;
    assert_eq!(world.value("beyond").await, None, "an object of the refused sync was written");

    // The permission is given, and nothing else is needed.
    let granted = world.unique("granted");
    let verbs = ["get", "list", "watch", "create", "update", "patch", "delete"];
    let rules =
        json!([{ "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": verbs }]);
    let group = "rbac.authorization.k8s.io";
    world
        .apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": { "name": granted }, "rules": rules,
        }))
        .await;
    world
        .apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": { "name": granted },
            "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": granted },
            "subjects": [{ "kind": "ServiceAccount", "name": "skiff-agent", "namespace": world.argocd }],
        }))
        .await;
    world.until_synced("beyond", &revision).await;
    assert_eq!(world.value("beyond").await.as_deref(), Some("one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_read_but_not_written_is_refused_before_anything_is_written() {
    let (world, _agent) = world_with_agent().await;
    let reader = world.unique("reader");
    world
        .apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": { "name": reader },
            "rules": [{ "apiGroups": ["scheduling.k8s.io"], "resources": ["priorityclasses"], "verbs": ["get", "list", "watch"] }],
        }))
        .await;
    world
        .apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": { "name": reader },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": reader },
            "subjects": [{ "kind": "ServiceAccount", "name": "skiff-agent", "namespace": world.argocd }],
        }))
        .await;
    let class = world.unique("urgent");
    let priority = format!(
        "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {{name: {class}}}\nvalue: 10\n"
    );
    world.commit(&[
        ("app/class.yaml", Some(&priority)),
        ("app/settings.yaml", Some(&process::config_map("settings", "one"))),
    ]);
    world.apply(world.automated("app", "app")).await;
    let failed = world
        .until_application("app", "says that the write is forbidden", |application| {
            let operation = application["status"]["operationState"].to_string();
            operation.contains("forbidden") && operation.contains("priorityclasses")
        })
        .await;
    assert_ne!(failed["status"]["operationState"]["phase"], "Succeeded");
    assert_eq!(world.value("settings").await, None, "an object of the refused sync was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deployment_runs_under_restricted_pod_security() {
    let world = World::new().await;
    for object in deployment(&world).await {
        world.apply(object).await;
    }
    until("the Deployment is available", || async {
        let deployment = world.get("apps/v1", "Deployment", &world.argocd, "skiff-agent").await.unwrap();
        if deployment["status"]["availableReplicas"] == 1 {
            Ok(())
        } else {
            Err(deployment["status"].to_string())
        }
    })
    .await;
    // The namespace does refuse what is not restricted.
    let said = world.kubectl(&["run", "loose", "--image=loose", "--namespace", &world.argocd]).await;
    said.expect(1, &["violates PodSecurity"]);
}
