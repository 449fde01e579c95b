use super::*;

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn config(entries: &[(&str, &str)]) -> RawSettings {
    RawSettings { config: map(entries), ..RawSettings::default() }
}

fn good(raw: &RawSettings) -> Settings {
    let (settings, problems) = Settings::read(raw, &Settings::default());
    assert_eq!(problems, []);
    settings
}

fn secret(secret_type: &str, entries: &[(&str, &str)]) -> RawSecret {
    let data = entries.iter().map(|(key, value)| ((*key).to_owned(), Masked::new(value.as_bytes().to_vec())));
    RawSecret {
        name: "a-secret".to_owned(),
        labels: map(&[(names::LABEL_SECRET_TYPE, secret_type), ("env", "prod")]),
        annotations: BTreeMap::new(),
        data: data.collect(),
    }
}

#[test]
fn without_settings_the_defaults_hold() {
    let settings = good(&RawSettings::default());
    assert_eq!(settings.reconciliation.timeout, Duration::from_secs(120));
    assert_eq!(settings.reconciliation.jitter, Duration::from_secs(60));
    assert_eq!(settings.tracking_method, TrackingMethod::Annotation);
    assert_eq!(settings.controller.status_processors, 20);
    assert!(settings.ignored.is_empty());
}

#[test]
fn written_values_win() {
    let mut raw = config(&[
        ("timeout.reconciliation", "30s"),
        ("timeout.reconciliation.jitter", "0"),
        ("application.resourceTrackingMethod", "annotation+label"),
        ("installationID", "blue"),
        ("kustomize.buildOptions", "--enable-helm  --load-restrictor LoadRestrictionsNone"),
    ]);
    raw.command_parameters = map(&[
        ("controller.sync.timeout.seconds", "600"),
        ("controller.self.heal.backoff.cap.seconds", "10"),
        ("application.namespaces", "team-*"),
        ("controller.metrics.application.labels", "team, tier"),
    ]);
    let settings = good(&raw);
    assert_eq!(settings.reconciliation.timeout, Duration::from_secs(30));
    assert_eq!(settings.reconciliation.jitter, Duration::ZERO);
    assert_eq!(settings.tracking_method, TrackingMethod::AnnotationAndLabel);
    assert_eq!(settings.installation_id, "blue");
    assert_eq!(settings.kustomize_build_options.len(), 3);
    assert_eq!(settings.controller.sync_timeout, Some(Duration::from_secs(600)));
    assert!(settings.application_namespaces.matches("team-a"));
    assert_eq!(settings.metrics_application_labels, ["team", "tier"]);
}

#[test]
fn a_bad_value_keeps_the_last_good_one_and_names_its_place() {
    let last_good = good(&config(&[("timeout.reconciliation", "30s")]));
    let raw = config(&[("timeout.reconciliation", "soon"), ("application.resourceTrackingMethod", "magic")]);
    let (settings, problems) = Settings::read(&raw, &last_good);
    assert_eq!(settings.reconciliation.timeout, Duration::from_secs(30));
    assert_eq!(settings.tracking_method, TrackingMethod::Annotation);
    let messages: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(messages.len(), 2);
    assert!(
        messages[0].starts_with("ConfigMap 'argocd-cm', key 'timeout.reconciliation': 'soon'"),
        "{messages:?}"
    );
    assert!(messages[1].contains("'magic' is not one of"), "{messages:?}");
}

#[test]
fn a_bad_line_is_named() {
    let text = "- kinds: [Pod]\n- kinds: [\n- oops: }\n";
    let (_, problems) = Settings::read(&config(&[("resource.exclusions", text)]), &Settings::default());
    assert_eq!(problems.len(), 1);
    assert!(problems[0].line.is_some_and(|line| line >= 2), "{:?}", problems[0]);
}

#[test]
fn excluded_kinds_are_left_alone() {
    let settings = good(&config(&[(
        "resource.exclusions",
        "- apiGroups: ['*.cilium.io', cilium.io]\n  kinds: [CiliumIdentity]\n  clusters: ['*']\n- apiGroups: ['']\n  kinds: [Endpoints]\n  clusters: ['https://prod*']",
    )]));
    let filter = &settings.resource_filter;
    assert!(filter.excludes("cilium.io", "CiliumIdentity", "https://a"));
    assert!(!filter.excludes("cilium.io", "CiliumNode", "https://a"));
    assert!(filter.excludes("", "Endpoints", "https://prod-1"));
    assert!(!filter.excludes("", "Endpoints", "https://dev"));
    assert!(
        filter.excludes("", "Event", "https://a")
            && filter.excludes("metrics.k8s.io", "PodMetrics", "https://a")
    );
}

#[test]
fn with_inclusions_only_included_kinds_remain_in_the_clusters_concerned() {
    let settings = good(&config(&[(
        "resource.inclusions",
        "- apiGroups: [apps]\n  kinds: ['*']\n  clusters: [https://a]",
    )]));
    let filter = &settings.resource_filter;
    assert!(!filter.excludes("apps", "Deployment", "https://a"));
    assert!(filter.excludes("", "ConfigMap", "https://a"));
    assert!(!filter.excludes("", "ConfigMap", "https://b"));
}

#[test]
fn ignored_fields_come_from_both_forms_and_the_split_form_wins() {
    let settings = good(&config(&[
        (
            "resource.customizations",
            "apps/Deployment:\n  ignoreDifferences: |\n    jsonPointers: [/spec/replicas]\n  health.lua: x\n'*/*':\n  ignoreDifferences: |\n    managedFieldsManagers: [hpa]\n",
        ),
        ("resource.customizations.ignoreDifferences.apps_Deployment", "jqPathExpressions: [.spec.paused]"),
        ("resource.customizations.ignoreDifferences.ConfigMap", "jsonPointers:\n- /data/a\n"),
        ("resource.customizations.ignoreResourceUpdates.all", "jsonPointers: [/status]"),
    ]));
    let rules: Vec<_> =
        settings.ignore_differences.iter().map(|r| (r.group.as_str(), r.kind.as_str())).collect();
    assert_eq!(rules, [("", "ConfigMap"), ("*", "*"), ("apps", "Deployment")]);
    assert_eq!(settings.ignore_differences[2].jq_path_expressions, [".spec.paused"]);
    assert!(settings.ignore_differences[2].json_pointers.is_empty());
    assert_eq!(settings.ignore_resource_updates[0].kind, "*");
}

#[test]
fn a_rule_that_cannot_be_read_keeps_its_last_good_text() {
    let key = "resource.customizations.ignoreDifferences.ConfigMap";
    let last_good = good(&config(&[(key, "jsonPointers: [/data/a]")]));
    let (settings, problems) = Settings::read(&config(&[(key, "jsonPointers: /data/a")]), &last_good);
    assert_eq!(settings.ignore_differences, last_good.ignore_differences);
    assert!(problems[0].to_string().contains("field 'jsonPointers'"), "{}", problems[0]);
}

#[test]
fn status_is_left_out_unless_it_is_switched_off() {
    let of = |text: &str| good(&config(&[("resource.compareoptions", text)])).compare_options;
    assert_eq!(of("ignoreResourceStatusField: off").ignore_status, IgnoreStatus::None);
    assert_eq!(of("ignoreResourceStatusField: crd").ignore_status, IgnoreStatus::CustomResourceDefinitions);
    assert_eq!(of("ignoreAggregatedRoles: true").ignore_status, IgnoreStatus::All);
    assert!(of("ignoreAggregatedRoles: true").ignore_aggregated_roles);
}

#[test]
fn keys_without_effect_are_listed() {
    let settings = good(&config(&[
        ("timeout.reconciliation", "30s"),
        ("oidc.config", "name: x"),
        ("resource.customizations.health.apps_Deployment", "return {}"),
        ("timeout.reconcilation", "30s"),
    ]));
    let listed: Vec<_> = settings.ignored.iter().map(|key| (key.key.as_str(), key.is_known)).collect();
    assert_eq!(
        listed,
        [
            ("oidc.config", true),
            ("resource.customizations.health.apps_Deployment", true),
            ("timeout.reconcilation", false),
        ]
    );
}

#[test]
fn a_cluster_secret_is_read_and_never_printed() {
    let json =
        r#"{"bearerToken":"hunter2","tlsClientConfig":{"caData":"cGVt"},"proxyUrl":"http://u:hunter2@p"}"#;
    let raw = RawSettings {
        secrets: vec![secret(
            "cluster",
            &[("server", "https://prod:6443/"), ("name", "prod"), ("config", json)],
        )],
        ..RawSettings::default()
    };
    let settings = good(&raw);
    let cluster = &settings.clusters[0];
    assert_eq!((cluster.name.as_str(), cluster.server.as_str()), ("prod", "https://prod:6443"));
    assert_eq!(cluster.bearer_token.as_ref().unwrap().reveal(), "hunter2");
    assert_eq!(cluster.certificate_authorities.as_deref(), Some(b"pem".as_slice()));
    assert_eq!(cluster.labels, map(&[("env", "prod")]));
    assert!(!format!("{settings:?}{raw:?}").contains("hunter2"));
}

#[test]
fn a_broken_cluster_secret_is_left_out_and_its_contents_stay_secret() {
    let raw = RawSettings {
        secrets: vec![secret(
            "cluster",
            &[("server", "https://a"), ("config", r#"{"bearerToken":hunter2}"#)],
        )],
        ..RawSettings::default()
    };
    let (settings, problems) = Settings::read(&raw, &Settings::default());
    assert!(settings.clusters.is_empty());
    let text = problems[0].to_string();
    assert!(text.contains("Secret 'a-secret', key 'config'") && !text.contains("hunter2"), "{text}");
}

#[test]
fn repository_secrets_are_handed_on() {
    let raw = RawSettings {
        secrets: vec![secret("repository", &[]), secret("repo-creds", &[]), secret("scm-creds", &[])],
        ..RawSettings::default()
    };
    assert_eq!(good(&raw).repository_secrets.len(), 2);
}
