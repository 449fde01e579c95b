//! Alerts and the dashboard of `deploy/`: that Prometheus takes the rules and fires them, and that the agent exports what
//! they ask for.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use skiff::object::{GroupKind, yaml};

use crate::world::{
    PATIENCE, Process, World, config_map, get, has_program, manifest_directory, parse, run, skiff, until,
};

/// The rule files below `deploy/`, each with its test beside it in `tests/`.
const RULES: [&str; 4] = [
    "prometheus/applications.yaml",
    "prometheus/skiff.yaml",
    "shadow/prometheus/shadow.yaml",
    "tekton/prometheus/tekton.yaml",
];

fn deploy(path: &str) -> PathBuf {
    manifest_directory().join("deploy").join(path)
}

fn read(path: &Path) -> Value {
    parse(&fs::read_to_string(path).unwrap())
}

/// The test of a rule file.
fn test_of(rules: &str) -> PathBuf {
    let rules = deploy(rules);
    rules.parent().unwrap().join("tests").join(rules.file_name().unwrap())
}

/// All alerting rules of a PrometheusRule.
fn alerts(rule: &Value) -> Vec<Value> {
    let groups = rule["spec"]["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).cloned().collect()
}

/// Writes the part of a PrometheusRule that Prometheus itself reads.
fn write_rules(rule: &Value, path: &Path) {
    fs::write(path, yaml::to_string(&rule["spec"])).unwrap();
}

fn promtool(arguments: &[&str]) -> Command {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[tokio::test]
async fn the_rules_pass_their_unit_tests() {
    if !has_program("promtool", &["--version"]) {
        return;
    }
    for rules in RULES {
        let folder = tempfile::tempdir().unwrap();
        let stem = deploy(rules).file_stem().unwrap().to_str().unwrap().to_owned();
        let extracted = folder.path().join(format!("{stem}.rules.yaml"));
        write_rules(&read(&deploy(rules)), &extracted);
        let test = folder.path().join("test.yaml");
        fs::copy(test_of(rules), &test).unwrap();
        run(promtool(&["check", "rules", extracted.to_str().unwrap()])).await.expect(0, &["SUCCESS"]);
        run(promtool(&["test", "rules", test.to_str().unwrap()])).await.expect(0, &["SUCCESS"]);
    }
}

#[test]
fn every_alert_is_tested_firing_and_silent() {
    for rules in RULES {
        let mut seen: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
        for test in read(&test_of(rules))["tests"].as_array().unwrap() {
            for case in test["alert_rule_test"].as_array().unwrap() {
                let fires = case["exp_alerts"].as_array().is_some_and(|alerts| !alerts.is_empty());
                seen.entry(case["alertname"].as_str().unwrap().to_owned()).or_default().insert(fires);
            }
        }
        for alert in alerts(&read(&deploy(rules))) {
            let name = alert["alert"].as_str().unwrap();
            let tested = seen.get(name).unwrap_or_else(|| panic!("{name} has no test"));
            assert_eq!(tested.len(), 2, "{name} is to be seen firing and silent");
            for field in ["/annotations/summary", "/annotations/description", "/labels/severity"] {
                assert!(alert.pointer(field).is_some(), "{name} has no {field}");
            }
        }
    }
}

/// Each metric that an expression names, with the labels that it is selected by.
fn asked_for(expression: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut asked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut rest = expression;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '_') {
        let from = &rest[at..];
        let end = from.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(from.len());
        let (name, after) = from.split_at(end);
        rest = after;
        let is_metric = ["argocd_", "skiff_", "process_", "workqueue_"].iter().any(|it| name.starts_with(it));
        if let Some(selector) = after.strip_prefix('{') {
            let (inside, after) = selector.split_once('}').unwrap();
            let labels = inside.split(',').filter_map(|part| part.split(['=', '!']).next());
            let labels = labels.map(|label| label.trim().to_owned()).filter(|label| !label.is_empty());
            if is_metric {
                asked.entry(name.to_owned()).or_default().extend(labels);
            }
            rest = after;
        } else if is_metric {
            asked.entry(name.to_owned()).or_default();
        }
    }
    asked
}

#[test]
fn expressions_are_read_as_prometheus_reads_them() {
    let asked = asked_for(
        "sum by (a) (rate(skiff_x_total{b=\"argocd_no\", c!~\"d\"}[5m])) / argocd_y and on (e) workqueue_z{}",
    );
    let names: Vec<_> = asked.keys().map(String::as_str).collect();
    assert_eq!(names, ["argocd_y", "skiff_x_total", "workqueue_z"]);
    assert_eq!(asked["skiff_x_total"], BTreeSet::from(["b".to_owned(), "c".to_owned()]));
}

/// Each metric of a page with the labels of all its series.
fn exported(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut exported: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let end = line.find(['{', ' ']).unwrap_or(line.len());
        let labels = line[end..].strip_prefix('{').and_then(|rest| rest.rsplit_once('}'));
        let labels = labels.map_or("", |(labels, _)| labels).split("\",");
        let labels = labels.filter_map(|pair| pair.split_once('=')).map(|(label, _)| label.to_owned());
        exported.entry(line[..end].to_owned()).or_default().extend(labels);
    }
    exported
}

/// Starts the agent with the arguments of its Deployment.
fn start_agent(world: &World) -> Process {
    let deployment = read(&deploy("agent/deployment.yaml"));
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let mut arguments: Vec<String> =
        container["args"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect();
    let of_this_test = [
        ("--kubeconfig", world.path("kubeconfig")),
        ("--cache", world.path("cache")),
        ("--metrics-address", PathBuf::from("127.0.0.1:0")),
        ("--poll-interval", PathBuf::from("0.05")),
    ];
    for (name, value) in of_this_test {
        arguments.extend([name.to_owned(), value.to_str().unwrap().to_owned()]);
    }
    Process::start(skiff(&arguments.iter().map(String::as_str).collect::<Vec<_>>()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_exports_what_alerts_and_dashboard_ask_for() {
    let world = World::new().await;
    let agent = start_agent(&world);
    agent.until_ready().await;
    // A fleet with something of everything: synced, drifted and healed, held up, and one whose repository fails.
    let many: Vec<(String, String)> =
        (0..8).map(|n| (format!("many/{n}.yaml"), config_map(&format!("many-{n}"), "1"))).collect();
    let mut files: Vec<(&str, &str)> =
        many.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let one = config_map("one", "1");
    files.push(("one/a.yaml", &one));
    world.commit(&files);
    let automated = |name: &str, path: &str| {
        let mut application = world.application(name, path);
        application["spec"]["syncPolicy"] = json!({ "automated": { "prune": true, "selfHeal": true } });
        application
    };
    for name in ["one", "many"] {
        world.apply(automated(name, name)).await;
        world
            .until_application(name, "is synced", |it| it["status"]["operationState"]["phase"] == "Succeeded")
            .await;
    }
    let mut nobody = automated("nobody", "one");
    nobody["spec"]["source"]["repoURL"] = json!("http://127.0.0.1:1/nobody.git");
    world.apply(nobody).await;
    let trusted = rcgen::generate_simple_self_signed(["git.example.com".to_owned()]).unwrap();
    world
        .apply(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "argocd-tls-certs-cm", "namespace": "argocd" },
            "data": { "git.example.com": trusted.cert.pem() },
        }))
        .await;
    world.apply(parse(&config_map("one", "2").replace("metadata:", "metadata:\n  namespace: shop"))).await;
    let most: Vec<&str> = many.iter().skip(1).map(|(path, _)| path.as_str()).collect();
    world.remove(&most);

    let mut asked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for rules in RULES {
        for alert in alerts(&read(&deploy(rules))) {
            for (name, labels) in asked_for(alert["expr"].as_str().unwrap()) {
                asked.entry(name).or_default().extend(labels);
            }
        }
    }
    let dashboard: Value = serde_json::from_slice(&fs::read(deploy("grafana/skiff.json")).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 10);
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap()) {
        for (name, labels) in asked_for(target["expr"].as_str().unwrap()) {
            asked.entry(name).or_default().extend(labels);
        }
    }
    assert!(asked.len() > 20, "{asked:?}");
    // A fetch fails only where a server breaks off after it has listed; the metrics' own tests show that it is counted.
    let fetch_failures = asked.remove("argocd_git_fetch_fail_total");
    assert_eq!(fetch_failures, Some(BTreeSet::new()));
    // Only an agent in shadow mode has it; the tests of that show it.
    let shadow = asked.remove("skiff_shadow_applications");
    assert_eq!(shadow, Some(BTreeSet::from(["verdict".to_owned()])));
    until("all of it is exported", || async {
        let exported = exported(&agent.page("/metrics").await.1);
        let missing: Vec<_> = asked
            .iter()
            .filter(|(name, labels)| !exported.get(*name).is_some_and(|has| has.is_superset(labels)))
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} is missing")) }
    })
    .await;
}

/// A port that nobody listens on a moment ago.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A Prometheus that scrapes an agent and evaluates our rules, with waiting times of seconds.
async fn start_prometheus(folder: &Path, agent: SocketAddr) -> (Process, SocketAddr) {
    let mut rule = read(&deploy(RULES[0]));
    for group in rule["spec"]["groups"].as_array_mut().unwrap() {
        for alert in group["rules"].as_array_mut().unwrap() {
            if alert.get("for").is_some() {
                alert["for"] = json!("1s");
            }
        }
    }
    write_rules(&rule, &folder.join("rules.yaml"));
    let configuration = json!({
        "global": { "scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms" },
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{
            "job_name": "skiff", "honor_labels": true, "static_configs": [{ "targets": [agent.to_string()] }],
        }],
    });
    fs::write(folder.join("prometheus.yaml"), yaml::to_string(&configuration)).unwrap();
    for _ in 0..5 {
        let address: SocketAddr = ([127, 0, 0, 1], free_port()).into();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", folder.join("prometheus.yaml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut prometheus = Process::start(command);
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            if get(address, "/-/ready").await.is_ok_and(|(status, _)| status == 200) {
                return (prometheus, address);
            }
            if prometheus.end(std::time::Duration::ZERO).await.is_some() {
                break;
            }
        }
    }
    panic!("prometheus does not begin");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_fires_when_an_application_drifts_and_ceases_when_it_is_healed() {
    if !has_program("prometheus", &["--version"]) {
        return;
    }
    let world = World::new().await;
    world.commit(&[("app/a.yaml", &config_map("a", "1"))]);
    let agent = start_agent(&world);
    let (_prometheus, address) = start_prometheus(&world.path("."), agent.address().await).await;
    world.apply(world.application("orders", "app")).await;
    let synced = ["app", "sync", "orders", "--timeout", "30"];
    world.skiff(&synced).await.expect(0, &[]);
    let firing = || async {
        let (_, text) = get(address, "/api/v1/alerts").await.unwrap();
        let alerts: Vec<String> = text
            .split("\"alertname\":\"")
            .skip(1)
            .filter(|it| it.contains("\"state\":\"firing\""))
            .map(|it| it.split('"').next().unwrap().to_owned())
            .collect();
        (alerts, text)
    };
    let is_out_of_sync = |alerts: &[String]| alerts.iter().any(|it| it == "ArgoCDApplicationOutOfSync");
    world.apply(parse(&config_map("a", "2").replace("metadata:", "metadata:\n  namespace: shop"))).await;
    until("the alert fires", || async {
        let (alerts, text) = firing().await;
        if is_out_of_sync(&alerts) { Ok(()) } else { Err(text) }
    })
    .await;
    // The heal.
    world.skiff(&synced).await.expect(0, &["Succeeded"]);
    until("the alert ceases", || async {
        let (alerts, text) = firing().await;
        if is_out_of_sync(&alerts) { Err(text) } else { Ok(()) }
    })
    .await;
    let healed = world.sandbox.store().get(&GroupKind::new("", "ConfigMap"), "shop", "a").unwrap();
    assert_eq!(healed["data"]["key"], "1");
}
