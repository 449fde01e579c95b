//! What the server itself writes into objects of certain kinds: allocated addresses, initial status, folded fields.

use base64::Engine as _;
use serde_json::{Value, json};

use super::crd;
use super::kinds::Resource;
use super::store::{State, now, random_suffix, text};

/// What happens on reading any body of a kind, before managed fields are counted.
pub fn decode(resource: &Resource, object: &mut Value) {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Secret") => fold_string_data(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => crd::default_crd(object),
        ("", "Namespace") => {
            let name = text(object, "/metadata/name").to_owned();
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
                && !name.is_empty()
            {
                let labels = metadata.entry("labels").or_insert_with(|| json!({}));
                if let Some(labels) = labels.as_object_mut() {
                    labels.insert("kubernetes.io/metadata.name".to_owned(), Value::from(name));
                }
            }
        }
        _ => {}
    }
}

fn fold_string_data(object: &mut Value) {
    let Some(map) = object.as_object_mut() else { return };
    let Some(Value::Object(plain)) = map.shift_remove("stringData") else {
        return;
    };
    let data = map.entry("data").or_insert_with(|| json!({}));
    let Some(data) = data.as_object_mut() else { return };
    for (key, value) in plain {
        let encoded = base64::engine::general_purpose::STANDARD.encode(value.as_str().unwrap_or_default());
        data.insert(key, Value::from(encoded));
    }
}

fn set(object: &mut Value, parent: &str, field: &str, value: Value) {
    let Some(map) = object.as_object_mut() else { return };
    let parent = map.entry(parent).or_insert_with(|| json!({}));
    if let Some(parent) = parent.as_object_mut() {
        parent.insert(field.to_owned(), value);
    }
}

fn add_finalizer(object: &mut Value, finalizer: &str) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let finalizers = metadata.entry("finalizers").or_insert_with(|| json!([]));
    if let Some(finalizers) = finalizers.as_array_mut()
        && !finalizers.iter().any(|known| known == finalizer)
    {
        finalizers.push(Value::from(finalizer));
    }
}

/// What the server adds to a new object after managed fields are counted.
pub fn create(state: &mut State, resource: &Resource, object: &mut Value) {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Namespace") => {
            let own = object.pointer("/spec/finalizers").and_then(Value::as_array).cloned();
            let mut finalizers = own.unwrap_or_default();
            if !finalizers.iter().any(|finalizer| finalizer == "kubernetes") {
                finalizers.push(json!("kubernetes"));
            }
            set(object, "spec", "finalizers", Value::Array(finalizers));
            set(object, "status", "phase", json!("Active"));
        }
        ("", "Pod") => {
            admit_pod(object);
            let class = quality_of_service(object);
            set(object, "status", "phase", json!("Pending"));
            set(object, "status", "qosClass", json!(class));
        }
        ("", "PersistentVolume") => {
            add_finalizer(object, "kubernetes.io/pv-protection");
            set(object, "status", "phase", json!("Pending"));
        }
        ("", "PersistentVolumeClaim") => {
            add_finalizer(object, "kubernetes.io/pvc-protection");
            set(object, "status", "phase", json!("Pending"));
        }
        ("", "Service") => {
            name_families(object);
            allocate_addresses(state, object);
            set(object, "status", "loadBalancer", json!({}));
        }
        ("batch", "Job") => label_job(object),
        ("apps", "Deployment" | "ReplicaSet") => set_status(object, json!({})),
        ("apps", "DaemonSet") => set_status(
            object,
            json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0}),
        ),
        ("apps", "StatefulSet") => set_status(object, json!({"availableReplicas": 0, "replicas": 0})),
        ("batch", "CronJob") | ("", "ResourceQuota") => set_status(object, json!({})),
        ("networking.k8s.io", "Ingress") => set_status(object, json!({"loadBalancer": {}})),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            let versions = object.pointer("/spec/versions").and_then(Value::as_array);
            let stored: Vec<Value> = versions
                .into_iter()
                .flatten()
                .filter(|version| version.get("storage") == Some(&Value::Bool(true)))
                .filter_map(|version| version.get("name").cloned())
                .collect();
            let names = json!({"kind": "", "plural": ""});
            set_status(object, json!({"conditions": null, "acceptedNames": names, "storedVersions": stored}));
        }
        _ => {}
    }
}

fn set_status(object: &mut Value, status: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert("status".to_owned(), status);
    }
}

/// What an update keeps from the live object when the client leaves it out.
pub fn carry(resource: &Resource, live: &Value, object: &mut Value) {
    let fields: &[&str] = match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Service") if text(object, "/spec/type") != "ExternalName" => {
            &["clusterIP", "clusterIPs", "ipFamilies"]
        }
        ("", "PersistentVolumeClaim") => &["volumeName"],
        ("", "Namespace") => &["finalizers"],
        ("", "Pod") => &["nodeName"],
        ("batch", "Job") => &["selector"],
        _ => return,
    };
    for field in fields {
        let absent = match object.pointer("/spec").and_then(|spec| spec.get(field)) {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            Some(_) => false,
        };
        if absent && let Some(value) = live.pointer("/spec").and_then(|spec| spec.get(field)) {
            set(object, "spec", field, value.clone());
        }
    }
    if resource.kind == "Job" && resource.group == "batch" {
        let labels = live.pointer("/spec/template/metadata/labels").and_then(Value::as_object).cloned();
        for (key, value) in labels.unwrap_or_default() {
            if is_job_label(&key)
                && let Some(template) = object.pointer_mut("/spec/template")
            {
                set_template_label(template, &key, value);
            }
        }
    }
    if resource.kind == "Service" && resource.group.is_empty() {
        carry_node_ports(live, object);
    }
}

fn is_job_label(key: &str) -> bool {
    matches!(
        key,
        "controller-uid" | "job-name" | "batch.kubernetes.io/controller-uid" | "batch.kubernetes.io/job-name"
    )
}

fn carry_node_ports(live: &Value, object: &mut Value) {
    if text(object, "/spec/type") == "ClusterIP" || text(object, "/spec/type").is_empty() {
        return;
    }
    let known = live.pointer("/spec/ports").and_then(Value::as_array).cloned().unwrap_or_default();
    let identity = |port: &Value| (port.get("port").cloned(), text(port, "/protocol").to_owned());
    let ports = object.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        let old =
            known.iter().find(|old| identity(old) == identity(port)).and_then(|old| old.get("nodePort"));
        if port.get("nodePort").is_none()
            && let (Some(map), Some(old)) = (port.as_object_mut(), old)
        {
            map.insert("nodePort".to_owned(), old.clone());
        }
    }
}

/// What the server adds to an update after managed fields are counted.
pub fn update(state: &mut State, resource: &Resource, live: &Value, object: &mut Value) {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Service") => {
            drop_fields_of_other_type(live, object);
            allocate_addresses(state, object);
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            let stored = crd::stored_versions(object);
            set(object, "status", "storedVersions", Value::Array(stored));
        }
        _ => {}
    }
}

/// The annotation in which a DaemonSet counts the changes of its template, a field of older versions.
pub fn template_generation(resource: &Resource, live: Option<&Value>, object: &mut Value) {
    const NAME: &str = "deprecated.daemonset.template.generation";
    if resource.kind != "DaemonSet" {
        return;
    }
    let count = match live {
        None => 1,
        Some(live) => {
            let known = live.pointer("/metadata/annotations").and_then(|all| all.get(NAME));
            let known = known.and_then(Value::as_str).and_then(|text| text.parse::<u64>().ok()).unwrap_or(1);
            let same = live.pointer("/spec/template") == object.pointer("/spec/template");
            if same { known } else { known + 1 }
        }
    };
    if let Some(metadata) = object.get_mut("metadata") {
        set(metadata, "annotations", NAME, Value::from(count.to_string()));
    }
}

/// What a Service had for its old type goes with it, unless the client has set it anew.
fn drop_fields_of_other_type(live: &Value, object: &mut Value) {
    let old = text(live, "/spec/type");
    let new = text(object, "/spec/type").to_owned();
    let outside = |kind: &str| matches!(kind, "NodePort" | "LoadBalancer");
    let same = |object: &Value, field: &str| {
        let pointer = format!("/spec/{field}");
        object.pointer(&pointer) == live.pointer(&pointer)
    };
    let mut gone: Vec<&str> = Vec::new();
    if outside(old) && !outside(&new) {
        gone.push("externalTrafficPolicy");
        gone.push("allocateLoadBalancerNodePorts");
        let known = live.pointer("/spec/ports").and_then(Value::as_array).cloned().unwrap_or_default();
        let ports = object.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
        for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
            if known.iter().any(|old| old.get("nodePort") == port.get("nodePort")) {
                port.shift_remove("nodePort");
            }
        }
    }
    if old != "ExternalName" && new == "ExternalName" {
        gone.extend(["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"]);
    }
    for field in gone {
        if same(object, field)
            && let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
        {
            spec.shift_remove(field);
        }
    }
}

/// What the admission plugins of a cluster add to every Pod.
fn admit_pod(pod: &mut Value) {
    const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    let mounts_token = pod.pointer("/spec/automountServiceAccountToken") != Some(&Value::Bool(false));
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return };
    for field in ["serviceAccountName", "serviceAccount"] {
        spec.entry(field).or_insert_with(|| json!("default"));
    }
    spec.entry("priority").or_insert_with(|| json!(0));
    spec.entry("preemptionPolicy").or_insert_with(|| json!("PreemptLowerPriority"));
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    for condition in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let Some(tolerations) = tolerations.as_array_mut() else { break };
        let known = tolerations.iter().any(|known| {
            let key = text(known, "/key");
            (key == condition || key.is_empty() && text(known, "/operator") == "Exists")
                && matches!(text(known, "/effect"), "" | "NoExecute")
        });
        if !known {
            tolerations.push(json!({
                "key": condition, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300,
            }));
        }
    }
    if !mounts_token {
        return;
    }
    let name = format!("kube-api-access-{}", random_suffix());
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
            let Some(mounts) = mounts.as_array_mut() else { continue };
            if !mounts.iter().any(|mount| text(mount, "/mountPath") == MOUNT) {
                mounts.push(json!({"name": name, "readOnly": true, "mountPath": MOUNT}));
                mounted = true;
            }
        }
    }
    let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
    if let Some(volumes) = volumes.as_array_mut().filter(|_| mounted) {
        volumes.push(json!({
            "name": name,
            "projected": {
                "sources": [
                    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                    {"downwardAPI": {"items": [
                        {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
                    ]}},
                ],
                "defaultMode": 420,
            },
        }));
    }
}

/// A headless Service without selector has somebody else's addresses, of either family.
fn name_families(object: &mut Value) {
    let selector = object.pointer("/spec/selector").and_then(Value::as_object);
    let selects = selector.is_some_and(|labels| !labels.is_empty());
    let headless = text(object, "/spec/clusterIP") == "None";
    if headless && !selects && object.pointer("/spec/ipFamilyPolicy").is_none() {
        set(object, "spec", "ipFamilies", json!(["IPv4", "IPv6"]));
        set(object, "spec", "ipFamilyPolicy", json!("RequireDualStack"));
    }
}

/// Cluster addresses and node ports for a Service that has none yet.
fn allocate_addresses(state: &mut State, object: &mut Value) {
    let kind = text(object, "/spec/type").to_owned();
    if kind == "ExternalName" {
        return;
    }
    let mut address = text(object, "/spec/clusterIP").to_owned();
    if address.is_empty() {
        address = state.allocate_address();
        set(object, "spec", "clusterIP", Value::from(address.as_str()));
    }
    set(object, "spec", "clusterIPs", json!([address]));
    if object.pointer("/spec/ipFamilies").is_none() {
        set(object, "spec", "ipFamilies", json!(["IPv4"]));
    }
    if object.pointer("/spec/ipFamilyPolicy").is_none() {
        set(object, "spec", "ipFamilyPolicy", json!("SingleStack"));
    }
    if !matches!(kind.as_str(), "NodePort" | "LoadBalancer")
        || object.pointer("/spec/allocateLoadBalancerNodePorts") == Some(&Value::Bool(false))
    {
        return;
    }
    let ports = object.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        if !port.contains_key("nodePort") {
            port.insert("nodePort".to_owned(), Value::from(state.allocate_node_port()));
        }
    }
}

fn set_template_label(template: &mut Value, key: &str, value: Value) {
    let Some(template) = template.as_object_mut() else {
        return;
    };
    let metadata = template.entry("metadata").or_insert_with(|| json!({}));
    set(metadata, "labels", key, value);
}

/// A Job without a manual selector selects its pods by its own uid.
fn label_job(object: &mut Value) {
    set_status(object, json!({}));
    if object.pointer("/spec/manualSelector") == Some(&Value::Bool(true)) {
        return;
    }
    let uid = text(object, "/metadata/uid").to_owned();
    let name = text(object, "/metadata/name").to_owned();
    set(object, "spec", "selector", json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}));
    if let Some(template) = object.pointer_mut("/spec/template") {
        for (key, value) in [
            ("batch.kubernetes.io/controller-uid", &uid),
            ("batch.kubernetes.io/job-name", &name),
            ("controller-uid", &uid),
            ("job-name", &name),
        ] {
            set_template_label(template, key, Value::from(value.as_str()));
        }
    }
    let labels = object.pointer("/spec/template/metadata/labels").cloned();
    if object.pointer("/metadata/labels").is_none()
        && let (Some(labels), Some(metadata)) =
            (labels, object.get_mut("metadata").and_then(Value::as_object_mut))
    {
        metadata.insert("labels".to_owned(), labels);
    }
}

fn quality_of_service(pod: &Value) -> &'static str {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array).cloned().unwrap_or_default();
    let amounts = |container: &Value, side: &str| {
        container
            .pointer(&format!("/resources/{side}"))
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
    };
    let guaranteed = !containers.is_empty()
        && containers.iter().all(|container| {
            let (limits, requests) = (amounts(container, "limits"), amounts(container, "requests"));
            ["cpu", "memory"]
                .iter()
                .all(|name| limits.contains_key(*name) && limits.get(*name) == requests.get(*name))
        });
    let none =
        containers.iter().all(|c| amounts(c, "limits").is_empty() && amounts(c, "requests").is_empty());
    if guaranteed {
        "Guaranteed"
    } else if none {
        "BestEffort"
    } else {
        "Burstable"
    }
}

/// The status that a CRD gets from the server, `None` when it already has it.
pub fn crd_status(object: &Value, established: bool, conflict: Option<&crd::NameConflict>) -> Option<Value> {
    let status = crd::status_of(object, established, conflict, &now());
    let shape = |status: &Value| {
        let conditions = status.pointer("/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        let states: Vec<(String, String)> =
            conditions.iter().map(|c| (text(c, "/type").to_owned(), text(c, "/status").to_owned())).collect();
        (states, status.get("acceptedNames").cloned(), status.get("storedVersions").cloned())
    };
    let known = object.get("status").cloned().unwrap_or_default();
    (shape(&known) != shape(&status)).then_some(status)
}
