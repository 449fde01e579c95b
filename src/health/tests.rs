//! Health of Kubernetes' own kinds, and the roll-up.

use serde_json::{Value, json};

use super::*;
use crate::object::ObjectKey;

fn object(api_version: &str, kind: &str, mut rest: Value) -> Object {
    let fields = rest.as_object_mut().unwrap();
    fields.insert("apiVersion".to_owned(), api_version.into());
    fields.insert("kind".to_owned(), kind.into());
    let metadata = fields.entry("metadata").or_insert(json!({}));
    metadata.as_object_mut().unwrap().entry("name").or_insert("a".into());
    Object::from_value(rest).unwrap()
}

fn judged(api_version: &str, kind: &str, rest: Value) -> (HealthStatusCode, String) {
    let health = assess(&object(api_version, kind, rest)).unwrap().unwrap();
    (health.status, health.message)
}

fn check(api_version: &str, kind: &str, rows: &[(Value, HealthStatusCode, &str)]) {
    for (rest, status, message) in rows {
        let (found, text) = judged(api_version, kind, rest.clone());
        assert_eq!((found, text.as_str()), (*status, *message), "{rest}");
    }
}

use HealthStatusCode::{Degraded, Healthy, Missing, Progressing, Suspended, Unknown};

#[test]
fn a_deletion_that_has_begun_is_progress_unless_the_object_is_a_hook() {
    let deleting = |finalizers: Value| json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers } });
    let pending = (Progressing, "Pending deletion".to_owned());
    assert_eq!(judged("v1", "ConfigMap", deleting(json!([]))), pending);
    assert_eq!(judged("v1", "Service", deleting(json!(["x/y"]))), pending);
    let hook = json!(["argocd.argoproj.io/hook-finalizer"]);
    assert_eq!(judged("v1", "Service", deleting(hook.clone())).0, Healthy);
    assert_eq!(assess(&object("v1", "ConfigMap", deleting(hook))), Ok(None));
}

#[test]
fn kinds_that_neither_run_nor_fail_have_no_health() {
    for (api_version, kind) in [
        ("v1", "ConfigMap"),
        ("v1", "Secret"),
        ("v1", "Namespace"),
        ("v1", "ServiceAccount"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole"),
        ("networking.k8s.io/v1", "NetworkPolicy"),
        ("argoproj.io/v1alpha1", "Application"),
        ("argoproj.io/v1alpha1", "AppProject"),
        ("e.io/v1", "Deployment"),
    ] {
        assert_eq!(assess(&object(api_version, kind, json!({}))), Ok(None), "{kind}");
    }
}

#[test]
fn deployment() {
    let at = |spec: Value, status: Value| json!({ "metadata": { "generation": 2 }, "spec": spec, "status": status });
    let observed = |more: Value| {
        let mut status = json!({ "observedGeneration": 2 });
        status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        status
    };
    let exceeded = json!({ "conditions": [{ "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded" }] });
    check(
        "apps/v1",
        "Deployment",
        &[
            (at(json!({ "paused": true }), json!({})), Suspended, "Deployment is paused"),
            (
                at(json!({}), json!({ "observedGeneration": 1 })),
                Progressing,
                "Waiting for rollout to finish: observed deployment generation less than desired generation",
            ),
            (at(json!({}), observed(exceeded)), Degraded, "Deployment \"a\" exceeded its progress deadline"),
            (
                at(json!({ "replicas": 3 }), observed(json!({ "updatedReplicas": 1 }))),
                Progressing,
                "Waiting for rollout to finish: 1 out of 3 new replicas have been updated...",
            ),
            (
                at(json!({ "replicas": 3 }), observed(json!({ "updatedReplicas": 3, "replicas": 5 }))),
                Progressing,
                "Waiting for rollout to finish: 2 old replicas are pending termination...",
            ),
            (
                at(
                    json!({ "replicas": 3 }),
                    observed(json!({ "updatedReplicas": 3, "replicas": 3, "availableReplicas": 2 })),
                ),
                Progressing,
                "Waiting for rollout to finish: 2 of 3 updated replicas are available...",
            ),
            (
                at(
                    json!({ "replicas": 3 }),
                    observed(json!({ "updatedReplicas": 3, "replicas": 3, "availableReplicas": 3 })),
                ),
                Healthy,
                "",
            ),
            (at(json!({ "replicas": 0 }), observed(json!({}))), Healthy, ""),
        ],
    );
}

#[test]
fn stateful_set() {
    let at = |spec: Value, status: Value| json!({ "metadata": { "generation": 2 }, "spec": spec, "status": status });
    let rolling = |partition: i64| json!({ "replicas": 3, "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": partition } } });
    check(
        "apps/v1",
        "StatefulSet",
        &[
            (at(json!({}), json!({})), Progressing, "Waiting for statefulset spec update to be observed..."),
            (
                at(json!({}), json!({ "observedGeneration": 1 })),
                Progressing,
                "Waiting for statefulset spec update to be observed...",
            ),
            (
                at(json!({ "replicas": 3 }), json!({ "observedGeneration": 2, "readyReplicas": 1 })),
                Progressing,
                "Waiting for 2 pods to be ready...",
            ),
            (
                at(rolling(1), json!({ "observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 1 })),
                Progressing,
                "Waiting for partitioned roll out to finish: 1 out of 2 new pods have been updated...",
            ),
            (
                at(rolling(1), json!({ "observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 2 })),
                Healthy,
                "partitioned roll out complete: 2 new pods have been updated...",
            ),
            (
                at(
                    json!({ "updateStrategy": { "type": "OnDelete" } }),
                    json!({ "observedGeneration": 2, "readyReplicas": 3 }),
                ),
                Healthy,
                "statefulset has 3 ready pods",
            ),
            (
                at(
                    json!({}),
                    json!({ "observedGeneration": 2, "updatedReplicas": 1, "updateRevision": "b", "currentRevision": "a" }),
                ),
                Progressing,
                "waiting for statefulset rolling update to complete 1 pods at revision b...",
            ),
            (
                at(
                    json!({}),
                    json!({ "observedGeneration": 2, "currentReplicas": 3, "updateRevision": "b", "currentRevision": "b" }),
                ),
                Healthy,
                "statefulset rolling update complete 3 pods at revision b...",
            ),
        ],
    );
}

#[test]
fn daemon_set_and_replica_set() {
    let at = |spec: Value, status: Value| json!({ "metadata": { "generation": 2 }, "spec": spec, "status": status });
    check(
        "apps/v1",
        "DaemonSet",
        &[
            (
                at(json!({}), json!({ "observedGeneration": 1 })),
                Progressing,
                "Waiting for rollout to finish: observed daemon set generation less than desired generation",
            ),
            (
                at(
                    json!({ "updateStrategy": { "type": "OnDelete" } }),
                    json!({ "observedGeneration": 2, "updatedNumberScheduled": 1, "desiredNumberScheduled": 3 }),
                ),
                Healthy,
                "daemon set 1 out of 3 new pods have been updated",
            ),
            (
                at(
                    json!({}),
                    json!({ "observedGeneration": 2, "updatedNumberScheduled": 1, "desiredNumberScheduled": 3 }),
                ),
                Progressing,
                "Waiting for daemon set \"a\" rollout to finish: 1 out of 3 new pods have been updated...",
            ),
            (
                at(
                    json!({}),
                    json!({ "observedGeneration": 2, "updatedNumberScheduled": 3, "desiredNumberScheduled": 3, "numberAvailable": 2 }),
                ),
                Progressing,
                "Waiting for daemon set \"a\" rollout to finish: 2 of 3 updated pods are available...",
            ),
            (
                at(
                    json!({}),
                    json!({ "observedGeneration": 2, "updatedNumberScheduled": 3, "desiredNumberScheduled": 3, "numberAvailable": 3 }),
                ),
                Healthy,
                "",
            ),
        ],
    );
    check(
        "apps/v1",
        "ReplicaSet",
        &[
            (
                at(json!({}), json!({ "observedGeneration": 1 })),
                Progressing,
                "Waiting for rollout to finish: observed replica set generation less than desired generation",
            ),
            (
                at(
                    json!({}),
                    json!({ "observedGeneration": 2, "conditions": [{ "type": "ReplicaFailure", "status": "True", "message": "quota" }] }),
                ),
                Degraded,
                "quota",
            ),
            (
                at(json!({ "replicas": 2 }), json!({ "observedGeneration": 2, "availableReplicas": 1 })),
                Progressing,
                "Waiting for rollout to finish: 1 out of 2 new replicas are available...",
            ),
            (
                at(json!({ "replicas": 2 }), json!({ "observedGeneration": 2, "availableReplicas": 2 })),
                Healthy,
                "",
            ),
        ],
    );
}

#[test]
fn pod() {
    let at = |policy: &str, status: Value| json!({ "spec": { "restartPolicy": policy }, "status": status });
    let waiting = |reason: &str| {
        json!({ "phase": "Pending", "containerStatuses": [
        { "name": "a", "state": { "waiting": { "reason": reason, "message": "m1" } } },
        { "name": "b", "state": { "waiting": { "reason": reason, "message": "m2" } } } ] })
    };
    let ready = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
    let restarted = json!({ "phase": "Running", "containerStatuses": [{ "name": "a", "lastState": { "terminated": { "exitCode": 1 } } }] });
    let failed = |terminated: Value| json!({ "phase": "Failed", "containerStatuses": [{ "name": "a", "state": { "terminated": terminated } }] });
    check(
        "v1",
        "Pod",
        &[
            (at("Always", waiting("ErrImagePull")), Degraded, "m1, m2"),
            (at("Always", waiting("CrashLoopBackOff")), Degraded, "m1, m2"),
            (at("Always", waiting("CreateContainerConfigError")), Degraded, "m1, m2"),
            (at("Always", waiting("ContainerCreating")), Progressing, ""),
            (at("Never", waiting("ImagePullBackOff")), Progressing, ""),
            (at("Always", json!({ "phase": "Succeeded", "message": "done" })), Healthy, "done"),
            (at("Never", json!({ "phase": "Failed", "message": "evicted" })), Degraded, "evicted"),
            (at("Never", failed(json!({ "message": "boom", "exitCode": 1 }))), Degraded, "boom"),
            (at("Never", failed(json!({ "reason": "OOMKilled", "exitCode": 137 }))), Degraded, "OOMKilled"),
            (
                at("Never", failed(json!({ "exitCode": 7 }))),
                Degraded,
                "container \"a\" failed with exit code 7",
            ),
            (at("Always", ready.clone()), Healthy, ""),
            (at("Always", restarted.clone()), Degraded, ""),
            (at("Always", json!({ "phase": "Running" })), Progressing, ""),
            (at("Never", ready.clone()), Progressing, ""),
            (at("OnFailure", ready.clone()), Progressing, ""),
            (at("Always", json!({ "phase": "Unknown" })), Unknown, ""),
        ],
    );
    let mut annotated = at("Never", ready);
    annotated["metadata"] = json!({ "annotations": { "argocd.argoproj.io/ignore-restart-policy": "true" } });
    assert_eq!(judged("v1", "Pod", annotated.clone()).0, Healthy);
    annotated["metadata"]["annotations"]["argocd.argoproj.io/hook"] = "PreSync".into();
    assert_eq!(judged("v1", "Pod", annotated).0, Progressing, "a hook keeps its own policy");
}

#[test]
fn job_and_cron_job() {
    let at = |conditions: Value| json!({ "status": { "conditions": conditions } });
    let condition = |kind: &str, status: &str| json!({ "type": kind, "status": status, "message": kind });
    check(
        "batch/v1",
        "Job",
        &[
            (at(json!([])), Progressing, ""),
            (at(json!([condition("Failed", "True")])), Degraded, "Failed"),
            (at(json!([condition("Complete", "True")])), Healthy, "Complete"),
            (at(json!([condition("Suspended", "True")])), Suspended, "Suspended"),
            (at(json!([condition("Suspended", "False")])), Healthy, "Suspended"),
        ],
    );
    let status = |status: Value| json!({ "spec": {}, "status": status });
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z");
    for (rest, expected) in [
        (json!({ "spec": { "suspend": true } }), Healthy),
        (json!({ "spec": {} }), Progressing),
        (status(json!({})), Healthy),
        (status(json!({ "lastScheduleTime": early })), Healthy),
        (status(json!({ "lastScheduleTime": late, "lastSuccessfulTime": early, "active": [{}] })), Healthy),
        (status(json!({ "lastScheduleTime": late, "lastSuccessfulTime": early })), Degraded),
        (status(json!({ "lastScheduleTime": early, "lastSuccessfulTime": late })), Healthy),
    ] {
        assert_eq!(judged("batch/v1", "CronJob", rest.clone()).0, expected, "{rest}");
    }
    assert_eq!(
        judged("batch/v1", "CronJob", json!({ "spec": { "suspend": true } })).1,
        "CronJob is Suspended"
    );
}

#[test]
fn claims_services_and_ingresses() {
    for (phase, expected) in [("Lost", Degraded), ("Pending", Progressing), ("Bound", Healthy), ("", Unknown)]
    {
        assert_eq!(
            judged("v1", "PersistentVolumeClaim", json!({ "status": { "phase": phase } })).0,
            expected
        );
    }
    let addressed = json!({ "loadBalancer": { "ingress": [{ "ip": "10.0.0.1" }] } });
    for (kind, status, expected) in [
        ("ClusterIP", json!({}), Healthy),
        ("LoadBalancer", json!({}), Progressing),
        ("LoadBalancer", addressed.clone(), Healthy),
    ] {
        assert_eq!(
            judged("v1", "Service", json!({ "spec": { "type": kind }, "status": status })).0,
            expected
        );
    }
    for api_version in ["networking.k8s.io/v1", "extensions/v1beta1"] {
        assert_eq!(judged(api_version, "Ingress", json!({})).0, Progressing);
        assert_eq!(judged(api_version, "Ingress", json!({ "status": addressed })).0, Healthy);
    }
}

#[test]
fn horizontal_pod_autoscaler() {
    let able =
        json!({ "type": "AbleToScale", "status": "True", "reason": "SucceededGetScale", "message": "able" });
    let broken = json!({ "type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric", "message": "no metrics" });
    let v2 = |conditions: Value| json!({ "status": { "conditions": conditions } });
    let v1 = |conditions: Value| json!({ "metadata": { "annotations": { "autoscaling.alpha.kubernetes.io/conditions": conditions.to_string() } } });
    for (version, of) in [("autoscaling/v2", &v2 as &dyn Fn(Value) -> Value), ("autoscaling/v1", &v1)] {
        assert_eq!(
            judged(version, "HorizontalPodAutoscaler", of(json!([able]))),
            (Healthy, "able".to_owned())
        );
        assert_eq!(
            judged(version, "HorizontalPodAutoscaler", of(json!([able, broken]))),
            (Degraded, "no metrics".to_owned())
        );
        assert_eq!(
            judged(version, "HorizontalPodAutoscaler", of(json!([]))),
            (Progressing, "Waiting to Autoscale".to_owned())
        );
    }
    let error = assess(&object("autoscaling/v2beta1", "HorizontalPodAutoscaler", json!({}))).unwrap_err();
    assert!(error.to_string().contains("unsupported"), "{error}");
}

#[test]
fn api_services_definitions_budgets_and_workflows() {
    let of = |conditions: Value| json!({ "status": { "conditions": conditions } });
    let condition = |kind: &str, status: &str, reason: &str| json!({ "type": kind, "status": status, "reason": reason, "message": "m" });
    let rows = |api_version: &str, kind: &str, rows: &[(Value, HealthStatusCode)]| {
        for (conditions, expected) in rows {
            assert_eq!(judged(api_version, kind, of(conditions.clone())).0, *expected, "{kind} {conditions}");
        }
    };
    check(
        "apiregistration.k8s.io/v1",
        "APIService",
        &[
            (of(json!([condition("Available", "True", "Passed")])), Healthy, "Passed: m"),
            (of(json!([condition("Available", "False", "Down")])), Progressing, "Down: m"),
            (of(json!([])), Progressing, "Waiting to be processed"),
        ],
    );
    let established = condition("Established", "True", "");
    rows(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        &[
            (json!([]), Progressing),
            (json!([established, condition("Terminating", "True", "")]), Progressing),
            (json!([established, condition("NamesAccepted", "False", "")]), Degraded),
            (json!([established, condition("NonStructuralSchema", "True", "")]), Degraded),
            (json!([established]), Healthy),
            (json!([condition("Established", "False", "Installing")]), Progressing),
            (json!([condition("Established", "False", "Other")]), Degraded),
            (json!([condition("NamesAccepted", "True", "")]), Degraded),
        ],
    );
    rows(
        "policy/v1",
        "PodDisruptionBudget",
        &[
            (json!([]), Progressing),
            (json!([condition("DisruptionAllowed", "False", "SyncFailed")]), Degraded),
            (json!([condition("DisruptionAllowed", "False", "InsufficientPods")]), Healthy),
            (json!([condition("DisruptionAllowed", "True", "SufficientPods")]), Healthy),
        ],
    );
    for (phase, expected) in [
        ("", Progressing),
        ("Pending", Progressing),
        ("Running", Progressing),
        ("Succeeded", Healthy),
        ("Failed", Degraded),
        ("Error", Degraded),
        ("Other", Unknown),
    ] {
        assert_eq!(
            judged("argoproj.io/v1alpha1", "Workflow", json!({ "status": { "phase": phase } })).0,
            expected
        );
    }
}

#[test]
fn a_field_of_the_wrong_type_is_named_and_its_value_is_not() {
    let error =
        assess(&object("apps/v1", "Deployment", json!({ "spec": { "replicas": "canary" } }))).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("spec.replicas") && text.contains("apps/Deployment:/a") && !text.contains("canary"),
        "{text}"
    );
    for rest in [
        json!({ "status": 7 }),
        json!({ "status": { "conditions": 1 } }),
        json!({ "status": { "conditions": ["x"] } }),
        json!({ "spec": [] }),
    ] {
        for (api_version, kind) in [
            ("apps/v1", "Deployment"),
            ("v1", "Pod"),
            ("batch/v1", "Job"),
            ("apps/v1", "ReplicaSet"),
            ("policy/v1", "PodDisruptionBudget"),
        ] {
            let _ = assess(&object(api_version, kind, rest.clone()));
        }
    }
    assert!(assess(&object("apps/v1beta1", "Deployment", json!({}))).is_err());
}

fn rolled(parts: &[(&str, Option<Object>, Option<HealthStatusCode>)]) -> (HealthStatusCode, String) {
    let keys: Vec<ObjectKey> = parts
        .iter()
        .map(|(name, ..)| {
            let kind =
                if name.starts_with("app") { ("argoproj.io", "Application") } else { ("apps", "Deployment") };
            ObjectKey::new(kind.0, kind.1, "n", *name)
        })
        .collect();
    let healths: Vec<Option<HealthStatus>> =
        parts.iter().map(|(.., code)| code.map(|code| HealthStatus::new(code, ""))).collect();
    let parts = parts.iter().zip(&keys).zip(&healths).map(|(((_, live, _), key), health)| Part {
        key,
        live: live.as_ref(),
        health: health.as_ref(),
    });
    let itself = ObjectKey::new("argoproj.io", "Application", "n", "app-itself");
    let health = roll_up(parts, Some(&itself));
    (health.status, health.message)
}

#[test]
fn an_application_is_as_healthy_as_its_worst_object() {
    let live = || Some(object("v1", "ConfigMap", json!({})));
    assert_eq!(rolled(&[]), (Healthy, String::new()));
    assert_eq!(rolled(&[("a", live(), None), ("b", live(), Some(Healthy))]), (Healthy, String::new()));
    assert_eq!(
        rolled(&[
            ("a", live(), Some(Progressing)),
            ("b", live(), Some(Degraded)),
            ("c", live(), Some(Suspended))
        ]),
        (Degraded, "Caused by apps/Deployment:n/b".to_owned())
    );
    let five: Vec<_> = ["e", "d", "c", "b", "a"].map(|name| (name, live(), Some(Progressing))).into();
    assert_eq!(
        rolled(&five),
        (
            Progressing,
            "Caused by apps/Deployment:n/a, apps/Deployment:n/b, apps/Deployment:n/c and 2 more".to_owned()
        )
    );
}

#[test]
fn what_is_missing_does_not_worsen_an_application_unless_nothing_is_there() {
    let live = || Some(object("v1", "ConfigMap", json!({})));
    assert_eq!(rolled(&[("a", None, Some(Missing)), ("b", live(), None)]).0, Healthy);
    assert_eq!(rolled(&[("a", None, Some(Missing)), ("b", None, Some(Missing))]).0, Missing);
}

#[test]
fn some_objects_do_not_count() {
    let ignored = object(
        "v1",
        "ConfigMap",
        json!({ "metadata": { "annotations": { "argocd.argoproj.io/ignore-healthcheck": "true" } } }),
    );
    let live = || Some(object("v1", "ConfigMap", json!({})));
    assert_eq!(rolled(&[("a", Some(ignored), Some(Degraded))]).0, Healthy);
    assert_eq!(
        rolled(&[("app-child", live(), Some(Missing)), ("app-other", live(), Some(Unknown))]).0,
        Healthy
    );
    assert_eq!(rolled(&[("app-child", live(), Some(Degraded))]).0, Degraded);
    assert_eq!(rolled(&[("app-itself", live(), Some(Degraded))]).0, Healthy);
}

#[test]
fn spark_may_scale_its_executors_between_the_bounds_of_its_configuration() {
    let running = |executors: usize, spec: Value| {
        let states: serde_json::Map<String, Value> =
            (0..executors).map(|number| (number.to_string(), "RUNNING".into())).collect();
        let status = json!({ "applicationState": { "state": "RUNNING" }, "executorState": states });
        judged("sparkoperator.k8s.io/v1beta2", "SparkApplication", json!({ "spec": spec, "status": status }))
            .0
    };
    let of = |name: &str| {
        json!({ "executor": { "instances": 4 }, "sparkConf": {
            format!("{name}.enabled"): "true", format!("{name}.minExecutors"): "1", format!("{name}.maxExecutors"): 2,
        } })
    };
    for name in ["spark.dynamicAllocation", "spark.streaming.dynamicAllocation"] {
        assert_eq!(
            [0, 1, 2, 3].map(|count| running(count, of(name))),
            [Progressing, Healthy, Healthy, Progressing]
        );
    }
    let fixed = json!({ "executor": { "instances": 2 }, "sparkConf": { "spark.dynamicAllocation.enabled": "false" } });
    assert_eq!([1, 2].map(|count| running(count, fixed.clone())), [Progressing, Healthy]);
}
