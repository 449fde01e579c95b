//! What comes back from the API server for what was sent.
#![allow(clippy::needless_pass_by_value, reason = "json! values are made to be passed on")]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{apply_defaults, unknown_fields};
use crate::object::fields::tests::any_value;

fn stored(object: Value) -> Value {
    let mut object = object;
    apply_defaults(&mut object);
    object
}

fn of(api_version: &str, kind: &str, rest: Value) -> Value {
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}});
    object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    stored(object)
}

#[test]
fn a_deployment_comes_back_as_the_server_writes_it() {
    let sent = of(
        "apps/v1",
        "Deployment",
        json!({"spec": {
            "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{
                "name": "main",
                "image": "registry:5000/x",
                "ports": [{"containerPort": 80}],
                "livenessProbe": {"httpGet": {"port": 80}},
                "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                "resources": {"limits": {"cpu": "1000m", "memory": "0.5Gi"}},
            }], "volumes": [{"name": "c", "configMap": {"name": "c"}}, {"name": "e"}]}},
            "selector": {"matchLabels": {"app": "x"}},
        }}),
    );
    let expected = r#"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"x"},"spec":{"replicas":1,"selector":{"matchLabels":{"app":"x"}},"template":{"metadata":{"labels":{"app":"x"}},"spec":{"volumes":[{"name":"c","configMap":{"name":"c","defaultMode":420}},{"name":"e","emptyDir":{}}],"containers":[{"name":"main","image":"registry:5000/x","ports":[{"containerPort":80,"protocol":"TCP"}],"env":[{"name":"IP","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"status.podIP"}}}],"resources":{"limits":{"cpu":"1","memory":"512Mi"}},"livenessProbe":{"httpGet":{"path":"/","port":80,"scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"Always"}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","securityContext":{},"schedulerName":"default-scheduler"}},"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":"25%","maxSurge":"25%"}},"revisionHistoryLimit":10,"progressDeadlineSeconds":600},"status":{}}"#;
    assert_eq!(sent.to_string(), expected);
}

#[test]
fn the_pull_policy_follows_the_tag() {
    let policy = |image: &str| {
        let pod = of("v1", "Pod", json!({"spec": {"containers": [{"name": "a", "image": image}]}}));
        pod["spec"]["containers"][0]["imagePullPolicy"].clone()
    };
    for (image, expected) in [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.27", "IfNotPresent"),
        ("host:5000/nginx", "Always"),
        ("nginx@sha256:0123", "IfNotPresent"),
        ("nginx:latest@sha256:0123", "IfNotPresent"),
    ] {
        assert_eq!(policy(image), expected, "{image}");
    }
}

#[test]
fn only_a_pod_and_not_a_template_gets_requests_from_limits() {
    let containers = json!([{"name": "a", "resources": {"limits": {"cpu": "1"}}}]);
    let pod = of("v1", "Pod", json!({"spec": {"containers": containers}}));
    assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"], json!({"cpu": "1"}));
    assert_eq!(pod["spec"]["enableServiceLinks"], true);
    let set = of("apps/v1", "DaemonSet", json!({"spec": {"template": {"spec": {"containers": containers}}}}));
    assert!(set["spec"]["template"]["spec"]["containers"][0]["resources"].get("requests").is_none());
}

#[test]
fn a_service_gets_target_ports_and_traffic_policies() {
    let service = of(
        "v1",
        "Service",
        json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 80}, {"port": 53, "protocol": "UDP", "targetPort": "dns"}]}}),
    );
    let spec = &service["spec"];
    assert_eq!(spec["ports"][0], json!({"protocol": "TCP", "port": 80, "targetPort": 80}));
    assert_eq!(spec["ports"][1]["targetPort"], "dns");
    assert_eq!(spec["sessionAffinity"], "None");
    assert_eq!(spec["externalTrafficPolicy"], "Cluster");
    assert_eq!(spec["internalTrafficPolicy"], "Cluster");
    assert_eq!(spec["allocateLoadBalancerNodePorts"], true);
    let external =
        of("v1", "Service", json!({"spec": {"type": "ExternalName", "externalName": "x.example"}}));
    assert!(external["spec"].get("internalTrafficPolicy").is_none());
}

#[test]
fn empty_values_go_where_the_type_leaves_them_out_and_zeros_stay_where_they_mean_something() {
    let object = of(
        "apps/v1",
        "Deployment",
        json!({
            "metadata": {"name": "x", "labels": {}, "annotations": null},
            "spec": {"replicas": 0, "paused": false, "minReadySeconds": 0, "template": {"spec": {"containers": [{"name": "a", "args": [], "workingDir": ""}]}}},
        }),
    );
    assert!(object["metadata"].get("labels").is_none());
    assert!(object["metadata"].get("annotations").is_none());
    assert_eq!(object["spec"]["replicas"], 0);
    assert!(object["spec"].get("paused").is_none());
    let container = &object["spec"]["template"]["spec"]["containers"][0];
    assert!(container.get("args").is_none() && container.get("workingDir").is_none());
    assert_eq!(container["resources"], json!({}));
}

#[test]
fn workload_kinds_get_their_own_defaults() {
    let set = of(
        "apps/v1",
        "StatefulSet",
        json!({"spec": {"volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {}}]}}),
    );
    assert_eq!(
        set["spec"]["updateStrategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
    );
    assert_eq!(
        set["spec"]["persistentVolumeClaimRetentionPolicy"],
        json!({"whenDeleted": "Retain", "whenScaled": "Retain"})
    );
    assert_eq!(set["spec"]["volumeClaimTemplates"][0]["kind"], "PersistentVolumeClaim");
    assert_eq!(set["spec"]["volumeClaimTemplates"][0]["spec"]["volumeMode"], "Filesystem");
    let set = of("apps/v1", "DaemonSet", json!({"spec": {}}));
    assert_eq!(set["spec"]["updateStrategy"]["rollingUpdate"], json!({"maxUnavailable": 1, "maxSurge": 0}));
    let job = of(
        "batch/v1",
        "Job",
        json!({"spec": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {}}}}),
    );
    assert_eq!(job["metadata"]["labels"], json!({"a": "b"}));
    for (field, value) in [
        ("completions", json!(1)),
        ("parallelism", json!(1)),
        ("backoffLimit", json!(6)),
        ("completionMode", json!("NonIndexed")),
        ("suspend", json!(false)),
    ] {
        assert_eq!(job["spec"][field], value, "{field}");
    }
    let cron = of(
        "batch/v1",
        "CronJob",
        json!({"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": {}}}}}}),
    );
    assert_eq!(cron["spec"]["concurrencyPolicy"], "Allow");
    assert!(cron["spec"]["jobTemplate"]["spec"].get("backoffLimit").is_none(), "a template is no Job");
    assert_eq!(cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["dnsPolicy"], "ClusterFirst");
}

#[test]
fn configuration_kinds_get_theirs() {
    let binding = of(
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}]}),
    );
    assert_eq!(binding["roleRef"]["apiGroup"], "rbac.authorization.k8s.io");
    assert_eq!(binding["subjects"][0]["apiGroup"], "rbac.authorization.k8s.io");
    assert!(binding["subjects"][1].get("apiGroup").is_none());
    let policy = of(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        json!({"spec": {"podSelector": {}, "egress": [{"ports": [{"port": 1}]}]}}),
    );
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(policy["spec"]["egress"][0]["ports"][0]["protocol"], "TCP");
    assert_eq!(of("v1", "Secret", json!({}))["type"], "Opaque");
    assert_eq!(
        of("v1", "Namespace", json!({}))["metadata"]["labels"],
        json!({"kubernetes.io/metadata.name": "x"})
    );
    let hook = of(
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
        json!({"webhooks": [{"name": "h", "clientConfig": {"service": {"name": "s", "namespace": "n"}}, "rules": [{"operations": ["*"]}]}]}),
    );
    assert_eq!(hook["webhooks"][0]["failurePolicy"], "Fail");
    assert_eq!(hook["webhooks"][0]["clientConfig"]["service"]["port"], 443);
    assert_eq!(hook["webhooks"][0]["rules"][0]["scope"], "*");
    let scaler = of(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        json!({"spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d"}, "behavior": {"scaleUp": {"stabilizationWindowSeconds": 5}}}}),
    );
    assert_eq!(scaler["spec"]["minReplicas"], 1);
    assert_eq!(scaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
    assert_eq!(scaler["spec"]["behavior"]["scaleUp"]["selectPolicy"], "Max");
    assert_eq!(
        scaler["spec"]["behavior"]["scaleDown"]["policies"],
        json!([{"type": "Percent", "value": 100, "periodSeconds": 15}])
    );
    let claim = of(
        "v1",
        "PersistentVolumeClaim",
        json!({"spec": {"resources": {"requests": {"storage": "1024Mi"}}}}),
    );
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "1Gi");
    assert_eq!(claim["spec"]["volumeMode"], "Filesystem");
}

#[test]
fn unknown_fields_are_named_and_dropped() {
    let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [{"nam": "a"}], "x": 1}});
    let mut unknown = unknown_fields(&object);
    unknown.sort();
    assert_eq!(unknown, ["spec.containers[0].nam", "spec.x"]);
    assert!(stored(object)["spec"].get("x").is_none());
}

#[test]
fn a_kind_that_is_not_built_in_stays_as_it_is() {
    let object = json!({"apiVersion": "example.org/v1", "kind": "Pod", "spec": {"empty": {}, "null": null}});
    assert_eq!(stored(object.clone()), object);
}

#[test]
fn every_rule_names_a_type_and_a_field_that_exist() {
    super::rules::tests::check();
}

proptest! {
    #[test]
    fn what_was_stored_is_stored_unchanged(value in any_value(), kind in prop::sample::select(vec!["Pod", "Service", "ConfigMap", "PersistentVolumeClaim"])) {
        let mut value = if value.is_object() { value } else { json!({}) };
        value["apiVersion"] = json!("v1");
        value["kind"] = json!(kind);
        let once = stored(value);
        prop_assert_eq!(stored(once.clone()), once);
    }
}
