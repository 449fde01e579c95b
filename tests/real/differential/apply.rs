//! Random applies, updates and patches by several managers: object and managed fields must come out alike.
//!
//! The seed is printed; `SKIFF_TEST_SEED` repeats a run, and where `CI` is set it is always the same. A failing sequence is shrunk to the steps that matter.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use serde_json::{Map, Value, json};

use super::play::{Server, plain};
use super::sequence::Request;
use super::{known, normal, sandbox};

/// Sequences of each kind.
const CASES: u32 = 100;

/// Names of fields and what they may be.
type Fields = Vec<(&'static str, BoxedStrategy<Value>)>;

/// A kind, where its objects are, and what may be in them.
struct Subject {
    kind: &'static str,
    api_version: String,
    path: String,
    /// What every object has.
    base: Value,
    contents: BoxedStrategy<Value>,
}

#[derive(Debug, Clone)]
enum Verb {
    Apply { force: bool },
    Update,
    Merge,
}

#[derive(Debug, Clone)]
struct Step {
    verb: Verb,
    manager: &'static str,
    contents: Value,
}

/// A mapping that has some of these fields.
fn some(fields: Fields) -> BoxedStrategy<Value> {
    let mut built = Just(Map::new()).boxed();
    for (name, value) in fields {
        built = (built, proptest::option::of(value))
            .prop_map(move |(mut map, value)| {
                if let Some(value) = value {
                    map.insert(name.to_owned(), value);
                }
                map
            })
            .boxed();
    }
    built.prop_map(Value::Object).boxed()
}

/// Some of these, in any order.
fn any_of(values: Vec<Value>) -> BoxedStrategy<Value> {
    let count = values.len();
    subsequence(values, 0..=count).prop_shuffle().prop_map(Value::Array).boxed()
}

/// One of these.
fn one_of(values: Vec<Value>) -> BoxedStrategy<Value> {
    proptest::sample::select(values).boxed()
}

/// Items of a keyed list: each is there or not, with some fields.
fn keyed(items: Vec<(Value, Fields)>) -> BoxedStrategy<Value> {
    let mut built = Just(Vec::new()).boxed();
    for (key, fields) in items {
        built = (built, proptest::option::of(some(fields)))
            .prop_map(move |(mut list, item): (Vec<Value>, Option<Value>)| {
                if let Some(item) = item {
                    let mut whole = key.clone();
                    json_patch::merge(&mut whole, &item);
                    list.push(whole);
                }
                list
            })
            .boxed();
    }
    built.prop_shuffle().prop_map(Value::Array).boxed()
}

fn words() -> BoxedStrategy<Value> {
    one_of(vec![json!("1"), json!("2"), json!("")])
}

fn metadata() -> BoxedStrategy<Value> {
    some(vec![
        ("labels", some(vec![("a", words()), ("b", words())])),
        ("annotations", some(vec![("note", words())])),
        ("finalizers", any_of(vec![json!("example.com/a"), json!("example.com/b"), json!("example.com/c")])),
    ])
}

fn with_metadata(fields: Fields) -> BoxedStrategy<Value> {
    let mut all: Fields = vec![("metadata", metadata())];
    all.extend(fields);
    some(all)
}

fn config_map(namespace: &str) -> Subject {
    let data = some(vec![("x", words()), ("y", words()), ("z", words())]);
    Subject {
        kind: "ConfigMap",
        api_version: "v1".to_owned(),
        path: format!("/api/v1/namespaces/{namespace}/configmaps"),
        base: json!({}),
        contents: with_metadata(vec![
            ("data", data),
            ("binaryData", some(vec![("w", one_of(vec![json!("AA=="), json!("AQ==")]))])),
        ]),
    }
}

fn service(namespace: &str) -> Subject {
    let port = || -> Fields { vec![("targetPort", one_of(vec![json!(8080), json!("http")]))] };
    let ports = keyed(vec![
        (json!({"port": 80, "name": "a"}), port()),
        (json!({"port": 81, "name": "b", "protocol": "TCP"}), port()),
        (json!({"port": 53, "name": "c", "protocol": "UDP"}), port()),
    ]);
    Subject {
        kind: "Service",
        api_version: "v1".to_owned(),
        path: format!("/api/v1/namespaces/{namespace}/services"),
        base: json!({"spec": {"clusterIP": "None", "selector": {"app": "web"}}}),
        contents: with_metadata(vec![(
            "spec",
            some(vec![
                ("ports", ports),
                ("publishNotReadyAddresses", one_of(vec![json!(true), json!(false)])),
                ("sessionAffinity", one_of(vec![json!("None"), json!("ClientIP")])),
            ]),
        )]),
    }
}

fn deployment(namespace: &str) -> Subject {
    let variables = || {
        keyed(vec![
            (json!({"name": "A"}), vec![("value", words())]),
            (json!({"name": "B"}), vec![("value", words())]),
        ])
    };
    let container = || -> Fields {
        vec![
            ("env", variables()),
            ("args", any_of(vec![json!("x"), json!("y")])),
            (
                "ports",
                keyed(vec![
                    (json!({"containerPort": 80}), vec![("name", one_of(vec![json!("http")]))]),
                    (json!({"containerPort": 80, "protocol": "UDP"}), vec![]),
                ]),
            ),
            (
                "resources",
                some(vec![(
                    "limits",
                    some(vec![("cpu", one_of(vec![json!("1"), json!("1000m"), json!(2)]))]),
                )]),
            ),
        ]
    };
    let containers = keyed(vec![
        (json!({"name": "web", "image": "example/web:1"}), container()),
        (json!({"name": "side", "image": "example/side:1"}), container()),
    ]);
    let pod = some(vec![
        ("containers", containers),
        ("nodeSelector", some(vec![("disk", words())])),
        (
            "tolerations",
            any_of(vec![
                json!({"key": "a", "operator": "Exists"}),
                json!({"key": "b", "operator": "Exists"}),
            ]),
        ),
    ]);
    let app = json!({"app": "web"});
    Subject {
        kind: "Deployment",
        api_version: "apps/v1".to_owned(),
        path: format!("/apis/apps/v1/namespaces/{namespace}/deployments"),
        base: json!({"spec": {
            "paused": true,
            "selector": {"matchLabels": app},
            "template": {"metadata": {"labels": app}, "spec": {"containers": [{"name": "main", "image": "example/main:1"}]}},
        }}),
        contents: with_metadata(vec![(
            "spec",
            some(vec![
                ("replicas", one_of(vec![json!(0), json!(1)])),
                ("minReadySeconds", one_of(vec![json!(0), json!(5)])),
                ("template", some(vec![("spec", pod)])),
            ]),
        )]),
    }
}

fn widget(namespace: &str) -> Subject {
    let items = || {
        keyed(vec![
            (json!({"name": "x"}), vec![("value", words())]),
            (json!({"name": "y"}), vec![("value", words()), ("kind", words())]),
        ])
    };
    let ports = keyed(vec![
        (json!({"port": 1}), vec![("name", words())]),
        (json!({"port": 2, "protocol": "TCP"}), vec![("name", words())]),
        (json!({"port": 2, "protocol": "UDP"}), vec![]),
    ]);
    let letters = || any_of(vec![json!("a"), json!("b"), json!("c")]);
    let group = format!("{namespace}.example.com");
    Subject {
        kind: "Widget",
        api_version: format!("{group}/v1"),
        path: format!("/apis/{group}/v1/namespaces/{namespace}/widgets"),
        base: json!({"spec": {"size": 1}}),
        contents: with_metadata(vec![(
            "spec",
            some(vec![
                ("size", one_of(vec![json!(1), json!(2)])),
                ("set", letters()),
                ("plain", letters()),
                ("atomic", letters()),
                ("items", items()),
                ("ports", ports),
                ("whole", some(vec![("a", words()), ("b", words())])),
                ("labels", some(vec![("a", words()), ("b", words())])),
                ("free", some(vec![("a", words()), ("list", letters())])),
                ("deep", some(vec![("level", words())])),
            ]),
        )]),
    }
}

/// The definition of [`widget`]: every type of list and map, and defaults.
fn definition(namespace: &str) -> Value {
    let text = json!({"type": "string"});
    let list = |extra: Value| {
        let mut list = json!({"type": "array", "items": {"type": "string"}});
        json_patch::merge(&mut list, &extra);
        list
    };
    let group = format!("{namespace}.example.com");
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {
                    "size": {"type": "integer"},
                    "set": list(json!({"x-kubernetes-list-type": "set"})),
                    "atomic": list(json!({"x-kubernetes-list-type": "atomic"})),
                    "plain": list(json!({})),
                    "items": {
                        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                        "items": {"type": "object", "required": ["name"], "properties": {
                            "name": text, "value": text, "kind": {"type": "string", "default": "plain"}}},
                    },
                    "ports": {
                        "type": "array", "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["port", "protocol"],
                        "items": {"type": "object", "required": ["port"], "properties": {
                            "port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}, "name": text}},
                    },
                    "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": text, "b": text}},
                    "labels": {"type": "object", "additionalProperties": text},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "deep": {"type": "object", "properties": {"level": {"type": "string", "default": "low"}}},
                }}},
            }}}],
        },
    })
}

fn steps(subject: &Subject) -> impl Strategy<Value = Vec<Step>> + use<> {
    let verb = prop_oneof![
        4 => any::<bool>().prop_map(|force| Verb::Apply { force }),
        1 => Just(Verb::Update),
        2 => Just(Verb::Merge),
    ];
    let manager = proptest::sample::select(vec!["one", "two", "three"]);
    let step = (verb, manager, subject.contents.clone()).prop_map(|(verb, manager, contents)| Step {
        verb,
        manager,
        contents,
    });
    proptest::collection::vec(step, 2..8)
}

impl Subject {
    /// The request of a step; the first one makes the object.
    async fn request(&self, server: &Server, name: &str, step: &Step, first: bool) -> Request {
        let mut body = if first { self.base.clone() } else { json!({}) };
        json_patch::merge(&mut body, &step.contents);
        let path = format!("{}/{name}", self.path);
        let manager = step.manager;
        let identity = json!({"apiVersion": self.api_version, "kind": self.kind, "metadata": {"name": name}});
        match step.verb {
            Verb::Apply { force } => {
                json_patch::merge(&mut body, &identity);
                let path = format!("{path}?fieldManager={manager}&force={force}");
                let mut request = plain("PATCH", &path, Some(&body));
                request.content_type = Some("application/apply-patch+yaml".to_owned());
                request
            }
            _ if first => {
                json_patch::merge(&mut body, &identity);
                plain("POST", &format!("{}?fieldManager={manager}", self.path), Some(&body))
            }
            Verb::Update => {
                let mut live = server.send(&plain("GET", &path, None)).await.body;
                json_patch::merge(&mut live, &body);
                // Controllers write meanwhile; only custom resources must say which version they replace.
                if let Some(metadata) = live["metadata"].as_object_mut().filter(|_| self.kind != "Widget") {
                    metadata.shift_remove("resourceVersion");
                }
                plain("PUT", &format!("{path}?fieldManager={manager}"), Some(&live))
            }
            Verb::Merge => {
                let mut request = plain("PATCH", &format!("{path}?fieldManager={manager}"), Some(&body));
                request.content_type = Some("application/merge-patch+json".to_owned());
                request
            }
        }
    }

    /// Plays steps on both servers; the first difference is an error.
    async fn compare(
        &self,
        ours: &Server,
        theirs: &Server,
        name: &str,
        steps: &[Step],
    ) -> Result<(), String> {
        for (index, step) in steps.iter().enumerate() {
            let mut answers = Vec::new();
            for server in [ours, theirs] {
                let request = self.request(server, name, step, index == 0).await;
                answers.push(normal::normal(&server.send(&request).await, false));
            }
            let place = format!("property: {}", self.kind);
            let differences = normal::differences(&answers[0], &answers[1]);
            let unknown = differences
                .iter()
                .find(|(at, ..)| !known::DIFFERENCES.iter().any(|known| known.covers(&place, at)));
            if let Some((at, sandbox, real)) = unknown {
                return Err(format!("{name} step {index} {at}\n    sandbox {sandbox}\n    real    {real}"));
            }
            let made = answers[0]["code"] == 200 || answers[0]["code"] == 201;
            if answers[0]["code"] != answers[1]["code"] || index == 0 && !made {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn seed() -> [u8; 32] {
    let number: u64 = match std::env::var("SKIFF_TEST_SEED") {
        Ok(seed) => seed.parse().expect("SKIFF_TEST_SEED is a number"),
        // The same commit gets the same answer.
        Err(_) if std::env::var_os("CI").is_some() => 1,
        Err(_) => fastrand::u64(..),
    };
    eprintln!("the seed of the property test of server-side apply: SKIFF_TEST_SEED={number}");
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    seed
}

/// Random writers get the same objects and the same managed fields from both.
#[tokio::test(flavor = "multi_thread")]
async fn random_writers_share_objects_as_on_a_kube_apiserver() {
    let cluster = crate::control_plane::shared_async().await;
    let _place = crate::worlds::Place::take(false).await;
    let seed = seed();
    let run = format!("p{:05x}", fastrand::u32(..1 << 20));
    let subjects: [fn(&str) -> Subject; 4] = [config_map, service, deployment, widget];
    let mut tasks = Vec::new();
    for (index, subject) in subjects.into_iter().enumerate() {
        let namespace = format!("{run}-{index}");
        let real = Server { client: cluster.client().await, sandbox: None };
        let (sandbox, socket) = sandbox().await;
        for server in [&sandbox, &real] {
            server.open(&namespace).await.unwrap();
            if index == 3 {
                let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
                let made = server.send(&plain("POST", path, Some(&definition(&namespace)))).await;
                assert_eq!(made.code, 201, "{:#}", made.body);
                let list = plain("GET", &subject(&namespace).path, None);
                server.until(&list, 200).await;
            }
        }
        let handle = tokio::runtime::Handle::current();
        tasks.push(tokio::task::spawn_blocking(move || {
            let _socket = socket;
            let subject = subject(&namespace);
            let config = Config {
                cases: CASES,
                max_shrink_iters: 100,
                failure_persistence: None,
                ..Config::default()
            };
            let mut runner =
                TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
            let count = Cell::new(0);
            let result = runner.run(&steps(&subject), |steps| {
                count.set(count.get() + 1);
                let name = format!("o{}", count.get());
                handle.block_on(subject.compare(&sandbox, &real, &name, &steps)).map_err(TestCaseError::fail)
            });
            match result {
                Ok(()) => None,
                Err(TestError::Fail(why, steps)) => Some(format!("{}: {why}\n{steps:#?}", subject.kind)),
                Err(other) => Some(other.to_string()),
            }
        }));
    }
    let mut failures = Vec::new();
    for task in tasks {
        failures.extend(task.await.unwrap());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
