use super::*;
use crate::{compare::IgnoreStatus, render::kustomize::LoadRestrictor};

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
        name: format!("a-{secret_type}"),
        labels: map(&[(names::LABEL_SECRET_TYPE, secret_type)]),
        data: data.collect(),
    }
}

#[test]
fn without_settings_the_defaults_hold() {
    let settings = good(&RawSettings::default());
    assert_eq!(settings.reconciliation.timeout, Duration::from_secs(120));
    assert_eq!(settings.reconciliation.jitter, Duration::from_secs(60));
    assert_eq!(settings.tracking_method, TrackingMethod::Annotation);
    assert_eq!(settings.self_heal_backoff.first, Duration::from_secs(2));
    assert!(settings.ignored.is_empty());
}

#[test]
fn written_values_win() {
    let mut raw = config(&[
        ("timeout.reconciliation", "30s"),
        ("timeout.reconciliation.jitter", "0"),
        ("application.resourceTrackingMethod", "annotation+label"),
        ("installationID", "blue"),
        ("kustomize.buildOptions", "--load-restrictor  LoadRestrictionsNone"),
    ]);
    raw.command_parameters =
        map(&[("controller.self.heal.backoff.cap.seconds", "10"), ("application.namespaces", "team-*")]);
    let settings = good(&raw);
    assert_eq!(settings.reconciliation.timeout, Duration::from_secs(30));
    assert_eq!(settings.reconciliation.jitter, Duration::ZERO);
    assert_eq!(settings.tracking_method, TrackingMethod::AnnotationAndLabel);
    assert_eq!(settings.installation_id, "blue");
    assert_eq!(settings.kustomize.load_restrictor, LoadRestrictor::None);
    assert_eq!(settings.self_heal_backoff.longest, Duration::from_secs(10));
    assert!(settings.application_namespaces.matches("team-a"));
    assert_eq!(settings.ignored, []);
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
            "apps/Deployment:\n  ignoreDifferences: |\n    jsonPointers: [/spec/replicas]\n  actions: x\nbatch/*:\n  ignoreDifferences: |\n    managedFieldsManagers: [hpa]\n",
        ),
        ("resource.customizations.ignoreDifferences.apps_Deployment", "jqPathExpressions: [.spec.paused]"),
        ("resource.customizations.ignoreDifferences.ConfigMap", "jsonPointers:\n- /data/a\n"),
        ("resource.customizations.ignoreDifferences.all", "jsonPointers: [/metadata/labels]"),
    ]));
    let rules: Vec<_> =
        settings.ignore_differences.iter().map(|r| (r.group.as_str(), r.kind.as_str())).collect();
    assert_eq!(rules, [("", "ConfigMap"), ("*", "*"), ("apps", "Deployment"), ("batch", "*")]);
    assert_eq!(settings.ignore_differences[2].jq_path_expressions, [".spec.paused"]);
    assert!(settings.ignore_differences[2].json_pointers.is_empty());
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

fn ignored(settings: &Settings) -> Vec<String> {
    settings.ignored.iter().map(ToString::to_string).collect()
}

#[test]
fn keys_without_effect_are_listed() {
    let mut raw = config(&[
        ("timeout.reconciliation", "30s"),
        ("oidc.config", "name: x"),
        ("resource.customizations.actions.apps_Deployment", "discovery.lua: x"),
        ("timeout.reconcilation", "30s"),
        ("timeout.hard.reconciliation", "1h"),
    ]);
    raw.command_parameters =
        map(&[("controller.sync.timeout.seconds", "600"), ("reposerver.log.level", "debug")]);
    let not_yet = |config_map, key| format!("ConfigMap '{config_map}', key '{key}': is not acted on yet");
    assert_eq!(
        ignored(&good(&raw)),
        [
            not_yet("argocd-cm", "oidc.config"),
            not_yet("argocd-cm", "resource.customizations.actions.apps_Deployment"),
            not_yet("argocd-cm", "timeout.hard.reconciliation"),
            "ConfigMap 'argocd-cm', key 'timeout.reconcilation': is not known: check its spelling".to_owned(),
            not_yet("argocd-cmd-params-cm", "reposerver.log.level"),
        ]
    );
}

#[test]
fn parts_of_a_value_without_effect_are_listed() {
    let settings = good(&config(&[
        ("kustomize.buildOptions", "--enable-helm --load-restrictor LoadRestrictionsNone"),
        (
            "resource.compareoptions",
            "ignoreAggregatedRoles: true\nignoreDifferencesOnResourceUpdates: true\n",
        ),
        (
            "resource.customizations",
            "apps/Deployment:\n  actions: x\n  ignoreDifferences: |\n    jsonPointers: [/spec/replicas]\n",
        ),
    ]));
    let places: Vec<_> = settings.ignored.iter().map(|ignored| ignored.place.as_str()).collect();
    assert_eq!(
        places,
        [
            "ConfigMap 'argocd-cm', key 'kustomize.buildOptions', '--enable-helm'",
            "ConfigMap 'argocd-cm', key 'resource.compareoptions', 'ignoreDifferencesOnResourceUpdates'",
            "ConfigMap 'argocd-cm', key 'resource.customizations', 'apps/Deployment: actions'",
        ]
    );
}

#[test]
fn secrets_without_effect_are_listed_and_their_contents_stay_secret() {
    let secrets = vec![
        secret("cluster", &[("server", "https://prod:6443"), ("config", r#"{"bearerToken":"hunter2"}"#)]),
        secret("repository", &[("url", "https://example.com/r.git"), ("password", "hunter2")]),
        secret("scm-creds", &[("token", "hunter2")]),
    ];
    let own = secret("cluster", &[("server", "https://kubernetes.default.svc"), ("config", "hunter2")]);
    let own = good(&RawSettings { secrets: vec![own], ..RawSettings::default() });
    assert_eq!(own.cluster_labels["argocd.argoproj.io/secret-type"], "cluster");
    assert_eq!(
        ignored(&own),
        ["Secret 'a-cluster': only its labels are used, for the metric argocd_cluster_labels"]
    );
    let settings = good(&RawSettings { secrets, ..RawSettings::default() });
    assert_eq!(
        ignored(&settings),
        [
            "Secret 'a-cluster': other clusters are not supported yet: Skiff manages the cluster that it runs in",
            "Secret 'a-scm-creds' of type 'scm-creds': is not acted on yet",
        ]
    );
    assert!(!format!("{settings:?}").contains("hunter2"));
}

fn scripts(settings: &Settings) -> Vec<(&str, &str, bool)> {
    let scripts = settings.health_scripts.iter();
    scripts.map(|(kind, script)| (kind, &*script.source, script.open_libraries)).collect()
}

#[test]
fn health_scripts_come_from_both_forms_and_the_split_form_wins() {
    let settings = good(&config(&[
        (
            "resource.customizations",
            "apps/Deployment:\n  health.lua: |\n    return {}\n  health.lua.useOpenLibs: true\n'*.example.com/*':\n  health.lua: return nil\ncert-manager.io/Certificate:\n  health.lua: return 1\n",
        ),
        ("resource.customizations.health.cert-manager.io_Certificate", "return { status = 'Healthy' }"),
        ("resource.customizations.useOpenLibs.cert-manager.io_Certificate", "true"),
        ("resource.customizations.health.ConfigMap", "return { status = 'Degraded' }"),
    ]));
    assert_eq!(settings.ignored, []);
    assert_eq!(
        scripts(&settings),
        [
            ("ConfigMap", "return { status = 'Degraded' }", false),
            ("apps/Deployment", "return {}\n", true),
            ("cert-manager.io/Certificate", "return { status = 'Healthy' }", true),
            ("*.example.com/*", "return nil", false),
        ]
    );
}

#[test]
fn a_script_that_is_no_lua_is_named_with_its_line_and_the_last_good_one_holds() {
    let key = "resource.customizations.health.apps_Deployment";
    let fine = good(&config(&[(key, "return {}")]));
    let (settings, problems) = Settings::read(&config(&[(key, "local a = 1\nreturn {")]), &fine);
    assert_eq!(scripts(&settings), [("apps/Deployment", "return {}", false)]);
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with(&format!("ConfigMap 'argocd-cm', key '{key}', line 2: ")), "{told:?}");
    assert!(told[0].ends_with("the last good script still holds"), "{told:?}");

    let map =
        "apps/Deployment:\n  health.lua: |\n    local a =\n    return {\n  health.lua.useOpenLibs: maybe\n";
    let (settings, problems) =
        Settings::read(&config(&[("resource.customizations", map)]), &Settings::default());
    assert_eq!(
        scripts(&settings).len(),
        1,
        "a broken script is kept: its objects are Unknown, with the same text"
    );
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(
        told[0].contains("'apps/Deployment', field 'health.lua.useOpenLibs' must be true or false"),
        "{told:?}"
    );
    assert!(told[1].contains("'apps/Deployment', field 'health.lua', line 2: "), "{told:?}");
    assert!(
        told[1].ends_with("the health of every apps/Deployment is Unknown until it is mended"),
        "{told:?}"
    );
}

/// A value of a key that is not what holds without it.
fn sample(key: &str) -> &'static str {
    match key {
        "application.instanceLabelKey" => "example.com/instance",
        "application.namespaces" => "team-*",
        "application.resourceTrackingMethod" => "label",
        "controller.self.heal.backoff.cap.seconds"
        | "controller.self.heal.backoff.factor"
        | "controller.self.heal.backoff.timeout.seconds"
        | "controller.sync.timeout.seconds"
        | "controller.repo.server.timeout.seconds"
        | "application.sync.pruneGuard.minimum"
        | "application.sync.pruneGuard.percent" => "7",
        "application.sync.pruneGuard.enabled" => "false",
        "globalProjects" => "- projectName: global",
        "installationID" => "blue",
        "kustomize.buildOptions" => "--load-restrictor LoadRestrictionsNone",
        "resource.compareoptions" => "ignoreAggregatedRoles: true",
        "resource.customizations" => {
            "apps/Deployment:\n  ignoreDifferences: 'jsonPointers: [/spec/replicas]'"
        }
        "resource.exclusions" | "resource.inclusions" => "- kinds: [Pod]",
        "timeout.reconciliation" | "timeout.reconciliation.jitter" => "7s",
        other => panic!("'{other}' is said to be acted on: give an example of its value"),
    }
}

#[test]
fn every_key_that_is_acted_on_changes_the_settings() {
    let default = format!("{:?}", Settings::default());
    let read = |raw: &RawSettings| {
        let settings = good(raw);
        assert_eq!(settings.ignored, []);
        format!("{settings:?}")
    };
    for key in ignored::CONFIG_ACTED_ON {
        assert_ne!(read(&config(&[(key, sample(key))])), default, "{key}");
    }
    for key in ignored::PARAMETERS_ACTED_ON {
        let raw = RawSettings { command_parameters: map(&[(key, sample(key))]), ..RawSettings::default() };
        assert_ne!(read(&raw), default, "{key}");
    }
}

#[test]
fn repository_secrets_are_handed_on() {
    let raw = RawSettings {
        secrets: vec![secret("repository", &[]), secret("repo-creds", &[]), secret("scm-creds", &[])],
        ..RawSettings::default()
    };
    assert_eq!(good(&raw).repository_secrets.len(), 2);
}
