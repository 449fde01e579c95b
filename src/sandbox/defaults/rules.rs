//! The defaults themselves.

use serde_json::{Map, Value, json};

use crate::object::schema::TypeRef;

type Fields = Map<String, Value>;

/// Type, field, and the value (JSON) of the field where it is absent; sorted by type.
const CONSTANTS: &[(&str, &str, &str)] = &[
    ("ApiextensionsV1ServiceReference", "port", "443"),
    ("ApiregistrationV1ServiceReference", "port", "443"),
    ("CSIDriverSpec", "seLinuxMount", "false"),
    ("CSIDriverSpec", "volumeLifecycleModes", "[\"Persistent\"]"),
    ("CSIDriverSpec", "attachRequired", "true"),
    ("CSIDriverSpec", "requiresRepublish", "false"),
    ("CSIDriverSpec", "fsGroupPolicy", "\"ReadWriteOnceWithFSType\""),
    ("CSIDriverSpec", "podInfoOnMount", "false"),
    ("CSIDriverSpec", "storageCapacity", "false"),
    ("ConfigMapVolumeSource", "defaultMode", "420"),
    ("Container", "terminationMessagePath", "\"/dev/termination-log\""),
    ("Container", "terminationMessagePolicy", "\"File\""),
    ("CoreV1EndpointPort", "protocol", "\"TCP\""),
    ("CronJobSpec", "suspend", "false"),
    ("CronJobSpec", "failedJobsHistoryLimit", "1"),
    ("CronJobSpec", "concurrencyPolicy", "\"Allow\""),
    ("CronJobSpec", "successfulJobsHistoryLimit", "3"),
    ("CustomResourceDefinitionSpec", "conversion", "{\"strategy\":\"None\"}"),
    ("DaemonSetSpec", "revisionHistoryLimit", "10"),
    ("DaemonSetUpdateStrategy", "type", "\"RollingUpdate\""),
    ("DeploymentSpec", "revisionHistoryLimit", "10"),
    ("DeploymentSpec", "progressDeadlineSeconds", "600"),
    ("DeploymentSpec", "replicas", "1"),
    ("DeploymentStrategy", "type", "\"RollingUpdate\""),
    ("DownwardAPIVolumeSource", "defaultMode", "420"),
    ("EndpointPort", "protocol", "\"TCP\""),
    ("EndpointPort", "name", "\"\""),
    ("EphemeralContainer", "terminationMessagePath", "\"/dev/termination-log\""),
    ("EphemeralContainer", "terminationMessagePolicy", "\"File\""),
    ("GRPCAction", "service", "\"\""),
    ("HTTPGetAction", "scheme", "\"HTTP\""),
    ("HTTPGetAction", "path", "\"/\""),
    ("HostPathVolumeSource", "type", "\"\""),
    ("IngressClassParametersReference", "scope", "\"Cluster\""),
    ("MatchResources", "matchPolicy", "\"Equivalent\""),
    ("MatchResources", "namespaceSelector", "{}"),
    ("MatchResources", "objectSelector", "{}"),
    ("MutatingWebhook", "timeoutSeconds", "10"),
    ("MutatingWebhook", "reinvocationPolicy", "\"Never\""),
    ("MutatingWebhook", "matchPolicy", "\"Equivalent\""),
    ("MutatingWebhook", "namespaceSelector", "{}"),
    ("MutatingWebhook", "objectSelector", "{}"),
    ("MutatingWebhook", "failurePolicy", "\"Fail\""),
    ("NamedRuleWithOperations", "scope", "\"*\""),
    ("NamespaceStatus", "phase", "\"Active\""),
    ("NetworkPolicyPort", "protocol", "\"TCP\""),
    ("ObjectFieldSelector", "apiVersion", "\"v1\""),
    ("PersistentVolumeClaimSpec", "volumeMode", "\"Filesystem\""),
    ("PersistentVolumeClaimStatus", "phase", "\"Pending\""),
    ("PersistentVolumeSpec", "persistentVolumeReclaimPolicy", "\"Retain\""),
    ("PersistentVolumeSpec", "volumeMode", "\"Filesystem\""),
    ("PersistentVolumeStatus", "phase", "\"Pending\""),
    ("PodFailurePolicyOnPodConditionsPattern", "status", "\"True\""),
    ("PodSpec", "terminationGracePeriodSeconds", "30"),
    ("PodSpec", "restartPolicy", "\"Always\""),
    ("PodSpec", "schedulerName", "\"default-scheduler\""),
    ("PodSpec", "dnsPolicy", "\"ClusterFirst\""),
    ("PodSpec", "securityContext", "{}"),
    ("PriorityClass", "preemptionPolicy", "\"PreemptLowerPriority\""),
    ("Probe", "failureThreshold", "3"),
    ("Probe", "periodSeconds", "10"),
    ("Probe", "successThreshold", "1"),
    ("Probe", "timeoutSeconds", "1"),
    ("ProjectedVolumeSource", "defaultMode", "420"),
    ("ReplicaSetSpec", "replicas", "1"),
    ("RoleRef", "apiGroup", "\"rbac.authorization.k8s.io\""),
    ("RuleWithOperations", "scope", "\"*\""),
    ("Secret", "type", "\"Opaque\""),
    ("SecretVolumeSource", "defaultMode", "420"),
    ("ServiceAccountTokenProjection", "expirationSeconds", "3600"),
    ("ServiceReference", "port", "443"),
    ("ServiceSpec", "type", "\"ClusterIP\""),
    ("ServiceSpec", "sessionAffinity", "\"None\""),
    ("StatefulSetPersistentVolumeClaimRetentionPolicy", "whenDeleted", "\"Retain\""),
    ("StatefulSetPersistentVolumeClaimRetentionPolicy", "whenScaled", "\"Retain\""),
    ("StatefulSetSpec", "podManagementPolicy", "\"OrderedReady\""),
    ("StatefulSetSpec", "persistentVolumeClaimRetentionPolicy", "{}"),
    ("StatefulSetSpec", "revisionHistoryLimit", "10"),
    ("StatefulSetSpec", "replicas", "1"),
    ("StorageClass", "reclaimPolicy", "\"Delete\""),
    ("StorageClass", "volumeBindingMode", "\"Immediate\""),
    ("ValidatingAdmissionPolicySpec", "failurePolicy", "\"Fail\""),
    ("ValidatingWebhook", "timeoutSeconds", "10"),
    ("ValidatingWebhook", "objectSelector", "{}"),
    ("ValidatingWebhook", "matchPolicy", "\"Equivalent\""),
    ("ValidatingWebhook", "namespaceSelector", "{}"),
    ("ValidatingWebhook", "failurePolicy", "\"Fail\""),
];

/// Sets the defaults of a value and everything in it.
pub(super) fn set(value: &mut Value, schema: &TypeRef) {
    if schema.is_deduced() {
        return;
    }
    match value {
        Value::Object(map) => {
            if !schema.name().is_empty() {
                of_struct(map, schema);
            }
            for (name, value) in map.iter_mut() {
                set(value, &schema.field(name));
            }
        }
        Value::Array(items) => {
            let item_type = schema.items();
            items.iter_mut().for_each(|item| set(item, &item_type));
        }
        _ => {}
    }
}

fn of_struct(map: &mut Fields, schema: &TypeRef) {
    conditional(schema.name(), map);
    let first = CONSTANTS.partition_point(|(name, ..)| *name < schema.name());
    for (_, field, json) in CONSTANTS.iter().skip(first).take_while(|(name, ..)| *name == schema.name()) {
        if let Ok(value) = serde_json::from_str(json) {
            default(map, field, value);
        }
    }
    for field in schema.fields() {
        if let Some(value) = &field.default {
            default(map, &field.name, value.clone());
        }
    }
}

fn is_absent(map: &Fields, field: &str) -> bool {
    map.get(field).is_none_or(|value| value.is_null() || value == "")
}

fn default(map: &mut Fields, field: &str, value: Value) {
    if is_absent(map, field) {
        map.insert(field.to_owned(), value);
    }
}

fn text<'a>(map: &'a Fields, field: &str) -> &'a str {
    map.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn child<'a>(map: &'a mut Fields, field: &str) -> Option<&'a mut Fields> {
    map.get_mut(field).and_then(Value::as_object_mut)
}

/// The field as a mapping, made if it is absent.
fn ensure<'a>(map: &'a mut Fields, field: &str) -> Option<&'a mut Fields> {
    default(map, field, json!({}));
    child(map, field)
}

fn each<'a>(map: &'a mut Fields, field: &str) -> impl Iterator<Item = &'a mut Fields> {
    map.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Defaults that depend on other fields, before the constant ones.
fn conditional(type_name: &str, map: &mut Fields) {
    match type_name {
        "Pod" => pod(map),
        "PodSpec" => {
            let field =
                if is_absent(map, "serviceAccountName") { "serviceAccount" } else { "serviceAccountName" };
            let account = text(map, field).to_owned();
            if !account.is_empty() {
                map.insert("serviceAccountName".to_owned(), json!(account));
                map.insert("serviceAccount".to_owned(), json!(account));
            }
        }
        "Container" | "EphemeralContainer" => {
            let policy = pull_policy(text(map, "image"));
            default(map, "imagePullPolicy", json!(policy));
        }
        "Volume" if map.iter().all(|(name, value)| name == "name" || value.is_null()) => {
            map.insert("emptyDir".to_owned(), json!({}));
        }
        "ImageVolumeSource" => {
            let policy = pull_policy(text(map, "reference"));
            default(map, "pullPolicy", json!(policy));
        }
        "DeploymentStrategy" if matches!(text(map, "type"), "" | "RollingUpdate") => {
            if let Some(rolling) = ensure(map, "rollingUpdate") {
                default(rolling, "maxUnavailable", json!("25%"));
                default(rolling, "maxSurge", json!("25%"));
            }
        }
        "DaemonSetUpdateStrategy" if matches!(text(map, "type"), "" | "RollingUpdate") => {
            if let Some(rolling) = ensure(map, "rollingUpdate") {
                default(rolling, "maxUnavailable", json!(1));
                default(rolling, "maxSurge", json!(0));
            }
        }
        "StatefulSetUpdateStrategy" => {
            if text(map, "type").is_empty() {
                map.insert("type".to_owned(), json!("RollingUpdate"));
                ensure(map, "rollingUpdate");
            }
            if text(map, "type") == "RollingUpdate"
                && let Some(rolling) = child(map, "rollingUpdate")
            {
                default(rolling, "partition", json!(0));
            }
        }
        "StatefulSetSpec" => {
            for claim in each(map, "volumeClaimTemplates") {
                claim.insert("apiVersion".to_owned(), json!("v1"));
                claim.insert("kind".to_owned(), json!("PersistentVolumeClaim"));
            }
        }
        "Job" => {
            let labels = map.get("spec").and_then(|spec| spec.pointer("/template/metadata/labels")).cloned();
            if let (Some(labels), Some(metadata)) = (labels, child(map, "metadata")) {
                default(metadata, "labels", labels);
            }
            if let Some(spec) = child(map, "spec") {
                default(spec, "manualSelector", json!(false));
                job(spec);
            }
        }
        "HorizontalPodAutoscalerSpec" | "AutoscalingV2HorizontalPodAutoscalerSpec" => {
            autoscaler(type_name, map);
        }
        "HorizontalPodAutoscalerBehavior" => {
            let one = |kind, value| json!({"type": kind, "value": value, "periodSeconds": 15});
            if let Some(up) = ensure(map, "scaleUp") {
                default(up, "stabilizationWindowSeconds", json!(0));
                default(up, "selectPolicy", json!("Max"));
                default(up, "policies", json!([one("Pods", 4), one("Percent", 100)]));
            }
            if let Some(down) = ensure(map, "scaleDown") {
                default(down, "selectPolicy", json!("Max"));
                default(down, "policies", json!([one("Percent", 100)]));
            }
        }
        "ServiceSpec" => service(map),
        "NetworkPolicySpec" => {
            let egress = map.get("egress").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty());
            let types = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
            default(map, "policyTypes", types);
        }
        "RbacV1Subject" if matches!(text(map, "kind"), "User" | "Group") => {
            default(map, "apiGroup", json!("rbac.authorization.k8s.io"));
        }
        "CustomResourceDefinitionNames" => {
            let kind = text(map, "kind").to_owned();
            if !kind.is_empty() {
                default(map, "singular", json!(kind.to_lowercase()));
                default(map, "listKind", json!(format!("{kind}List")));
            }
        }
        "Namespace" => {
            if let Some(metadata) = child(map, "metadata") {
                let name = text(metadata, "name").to_owned();
                if let Some(labels) = ensure(metadata, "labels").filter(|_| !name.is_empty()) {
                    labels.insert("kubernetes.io/metadata.name".to_owned(), json!(name));
                }
            }
        }
        "LimitRangeItem" if text(map, "type") == "Container" => {
            fill_from(map, "default", "max");
            fill_from(map, "defaultRequest", "default");
            fill_from(map, "defaultRequest", "min");
        }
        _ => {}
    }
}

/// `Always` for the tag `latest`, named or implied.
fn pull_policy(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or_default();
    let latest = !image.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    if latest { "Always" } else { "IfNotPresent" }
}

/// Copies the entries of one resource list that another lacks into it.
fn fill_from(map: &mut Fields, target: &str, source: &str) {
    let Some(source) = map.get(source).and_then(Value::as_object).cloned() else {
        return;
    };
    if let Some(target) = ensure(map, target) {
        for (name, value) in source {
            default(target, &name, value);
        }
    }
}

fn pod(map: &mut Fields) {
    let Some(spec) = child(map, "spec") else { return };
    default(spec, "enableServiceLinks", json!(true));
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for field in ["containers", "initContainers"] {
        for container in each(spec, field) {
            if let Some(resources) = child(container, "resources") {
                fill_from(resources, "requests", "limits");
            }
            if host_network {
                for port in each(container, "ports") {
                    if let Some(number) = port.get("containerPort").cloned() {
                        default(port, "hostPort", number);
                    }
                }
            }
        }
    }
}

fn job(spec: &mut Fields) {
    if is_absent(spec, "completions") && is_absent(spec, "parallelism") {
        spec.insert("completions".to_owned(), json!(1));
    }
    default(spec, "parallelism", json!(1));
    let limit = if is_absent(spec, "backoffLimitPerIndex") { 6 } else { i32::MAX };
    default(spec, "backoffLimit", json!(limit));
    let replacement = if is_absent(spec, "podFailurePolicy") { "TerminatingOrFailed" } else { "Failed" };
    default(spec, "podReplacementPolicy", json!(replacement));
    default(spec, "completionMode", json!("NonIndexed"));
    default(spec, "suspend", json!(false));
}

fn autoscaler(type_name: &str, spec: &mut Fields) {
    default(spec, "minReplicas", json!(1));
    if type_name == "AutoscalingV2HorizontalPodAutoscalerSpec" {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        default(
            spec,
            "metrics",
            json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]),
        );
    }
}

fn service(spec: &mut Fields) {
    let affinity = text(spec, "sessionAffinity");
    if matches!(affinity, "" | "None") {
        spec.shift_remove("sessionAffinityConfig");
    } else if affinity == "ClientIP" {
        let timeout =
            spec.get("sessionAffinityConfig").and_then(|config| config.pointer("/clientIP/timeoutSeconds"));
        if timeout.is_none() {
            let config = json!({"clientIP": {"timeoutSeconds": 10800}});
            spec.insert("sessionAffinityConfig".to_owned(), config);
        }
    }
    let service_type = match text(spec, "type") {
        "" => "ClusterIP".to_owned(),
        other => other.to_owned(),
    };
    for port in each(spec, "ports") {
        default(port, "protocol", json!("TCP"));
        let number = port.get("port").cloned().unwrap_or_default();
        if port.get("targetPort").is_none_or(|target| *target == 0 || *target == "") {
            port.insert("targetPort".to_owned(), number);
        }
    }
    let external_addresses =
        spec.get("externalIPs").and_then(Value::as_array).is_some_and(|ips| !ips.is_empty());
    let external = matches!(service_type.as_str(), "NodePort" | "LoadBalancer")
        || (service_type == "ClusterIP" && external_addresses);
    if external {
        default(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if service_type != "ExternalName" {
        default(spec, "internalTrafficPolicy", json!("Cluster"));
    }
    if service_type == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::CONSTANTS;
    use crate::object::schema::{TypeRef, built_in, built_in_kinds};

    fn collect(schema: &TypeRef, types: &mut BTreeMap<String, BTreeSet<String>>) {
        if schema.is_deduced() {
            return;
        }
        if !schema.name().is_empty() {
            if types.contains_key(schema.name()) {
                return;
            }
            let fields = schema.fields().iter().map(|field| field.name.clone()).collect();
            types.insert(schema.name().to_owned(), fields);
        }
        if schema.is_list() {
            collect(&schema.items(), types);
        }
        if schema.is_map() {
            collect(&schema.field(""), types);
        }
        for field in schema.fields() {
            collect(&schema.field(&field.name), types);
        }
    }

    pub(in crate::sandbox::defaults) fn check() {
        let mut types = BTreeMap::new();
        for gvk in built_in_kinds() {
            collect(&built_in(gvk).unwrap(), &mut types);
        }
        assert!(CONSTANTS.is_sorted_by_key(|(name, ..)| *name));
        for (name, field, json) in CONSTANTS {
            let fields = types.get(*name).unwrap_or_else(|| panic!("no type {name}"));
            assert!(fields.contains(*field), "{name} has no {field}");
            serde_json::from_str::<serde_json::Value>(json).unwrap();
        }
        for name in [
            "DaemonSetUpdateStrategy",
            "StatefulSetUpdateStrategy",
            "AutoscalingV2HorizontalPodAutoscalerSpec",
            "HorizontalPodAutoscalerBehavior",
            "RbacV1Subject",
            "CustomResourceDefinitionNames",
            "LimitRangeItem",
            "ImageVolumeSource",
            "NetworkPolicySpec",
        ] {
            assert!(types.contains_key(name), "no type {name}");
        }
    }
}
