//! Against an API server: what it makes of an applied object is not drift, whatever it adds, and every change of a
//! declared value is.

use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};

use super::*;
use crate::{object::yaml, sandbox::Sandbox};

/// Objects as people write them: defaults left out, quantities in any form, empty values here and there.
const MANIFESTS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default, creationTimestamp: null, labels: {app: web}}
spec:
  replicas: 2
  strategy: {}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {creationTimestamp: null, labels: {app: web}}
    spec:
      containers:
      - name: app
        image: example.com/app:1
        args: [--verbose, --port=80]
        env:
        - {name: A, value: "1"}
        - {name: EMPTY, value: ""}
        - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        ports: [{containerPort: 80}, {containerPort: 81, name: metrics}]
        resources: {requests: {cpu: 1000m, memory: 1024Mi}, limits: {cpu: 2, memory: 2Gi}}
        readinessProbe: {httpGet: {path: /, port: 80}}
        volumeMounts: [{name: config, mountPath: /etc/config}, {name: scratch, mountPath: /tmp}]
      - {name: sidecar, image: example.com/sidecar:1, tty: false}
      volumes:
      - {name: config, configMap: {name: web}}
      - {name: scratch, emptyDir: {}}
      tolerations: []
      affinity: null
status: {}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  selector: {app: web}
  ports: [{port: 80, name: http}, {port: 53, protocol: UDP, name: dns}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: default}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: "example.com/db:1"}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: report, namespace: default}
spec:
  schedule: "0 * * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: report, image: "example.com/report:1"}]}}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web, namespace: default}
data: {a: "1", b: ""}
---
apiVersion: v1
kind: Secret
metadata: {name: web, namespace: default}
stringData: {password: hunter2}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: web, namespace: default}
rules: [{apiGroups: [""], resources: [pods], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: web, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: web}
subjects: [{kind: ServiceAccount, name: web, namespace: default}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: default}
spec:
  rules:
  - host: web.example.com
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: default}
spec: {podSelector: {}, ingress: [{ports: [{port: 80}]}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: default}
spec:
  maxReplicas: 3
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: default}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: default}
imagePullSecrets: [{name: pull}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: default}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1024Mi}}}
"#;

fn manifests() -> Vec<Object> {
    let documents = yaml::parse(MANIFESTS.as_bytes(), &yaml::Options::default()).unwrap();
    documents.into_iter().map(|document| object(document.value)).collect()
}

fn api(client: &Client, desired: &Object) -> Api<DynamicObject> {
    let gvk = desired.gvk();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(&gvk.group, &gvk.version, &gvk.kind));
    Api::namespaced_with(client.clone(), desired.namespace(), &resource)
}

async fn apply(client: &Client, desired: &Object, dry_run: bool) -> Object {
    let api = api(client, desired);
    let mut params = PatchParams::apply(MANAGER).force();
    params.dry_run = dry_run;
    let applied = api.patch(desired.name(), &params, &Patch::Apply(desired.value())).await.unwrap();
    object(serde_json::to_value(applied).unwrap())
}

/// What an apply would make of the object, and the very object that this was found out on: controllers write too.
async fn predict(client: &Client, desired: &Object) -> (Object, Object) {
    for _ in 0..100 {
        let live = api(client, desired).get(desired.name()).await.unwrap();
        let live = object(serde_json::to_value(live).unwrap());
        let predicted = apply(client, desired, true).await;
        if predicted.resource_version() == live.resource_version() {
            return (predicted, live);
        }
    }
    panic!("{} does not come to rest", desired.key());
}

#[tokio::test]
async fn what_the_api_server_makes_of_an_object_is_not_drift() {
    let sandbox = Sandbox::builder().build();
    let client = sandbox.client();
    let mut asked = Vec::new();
    for desired in manifests() {
        let live = apply(&client, &desired, false).await;
        if local(&desired, &live, &no_rules(), MANAGER) != Local::Same {
            asked.push(format!("{}: {:?}", desired.key(), local(&desired, &live, &no_rules(), MANAGER)));
            let (predicted, live) = predict(&client, &desired).await;
            assert_eq!(settle(&predicted, &live, &no_rules()), Settled::Same, "{}", desired.key());
        }
    }
    // Only where a default stands inside of a list that is declared as a whole, or next to a field reference.
    let kinds: Vec<&str> = asked.iter().filter_map(|text| text.split(':').next()).collect();
    assert_eq!(
        kinds,
        ["apps/Deployment", "apps/StatefulSet", "networking.k8s.io/NetworkPolicy"],
        "{asked:#?}"
    );
}

#[tokio::test]
async fn every_change_of_a_declared_value_is_drift_for_the_api_server_too() {
    let sandbox = Sandbox::builder().build();
    let client = sandbox.client();
    for desired in manifests() {
        let live = apply(&client, &desired, false).await;
        for pointer in leaves(desired.value(), String::new()) {
            let mut changed = desired.clone().into_value();
            let place = changed.pointer_mut(&pointer).unwrap();
            *place = match &*place {
                Value::String(text) => Value::from(format!("{text}x")),
                Value::Number(number) => Value::from(number.as_i64().unwrap() + 1),
                other => Value::from(!other.as_bool().unwrap()),
            };
            let Ok(changed) = Object::from_value(changed) else {
                continue;
            };
            assert!(
                local(&changed, &live, &no_rules(), MANAGER) != Local::Same,
                "{pointer} of {} was changed and not seen",
                desired.key()
            );
        }
    }
}

/// Pointers to the declared values that count: not the identity.
fn leaves(value: &Value, pointer: String) -> Vec<String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| leaves(value, format!("{pointer}/{}", name.replace('/', "~1"))))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(index, item)| leaves(item, format!("{pointer}/{index}")))
            .collect(),
        Value::Null => Vec::new(),
        _ if ["/metadata/namespace", "/kind"].contains(&pointer.as_str()) => Vec::new(),
        _ => vec![pointer],
    }
}
