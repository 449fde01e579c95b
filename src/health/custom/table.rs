//! Which rule judges which kind.

use super::{
    Degraded, HealthStatusCode, Healthy, Progressing,
    Rule::{self, Conditions, Judge, Observed, Optional, Word},
    Suspended, Unknown, Words, argo, cluster, crossplane, database, delivery, gateway, kruise, numaproj,
    platform, policy, promoter,
};
use crate::api::HealthStatusCode::Missing;

type Clauses = &'static [(&'static str, &'static str, HealthStatusCode)];

/// The condition that Kubernetes' own conventions recommend.
const READY: Clauses = &[("Ready", "False", Degraded), ("Ready", "True", Healthy)];

/// Kinds of 3scale: several conditions of failure, one of success.
const CAPABILITY: Clauses = &[
    ("Failed", "True", Degraded),
    ("Invalid", "True", Degraded),
    ("Orphan", "True", Degraded),
    ("Ready", "True", Healthy),
    ("Synced", "True", Healthy),
];

const KNOWN_STATE: &str = "status.state";

/// Kinds of Humio are there, or not, in another system.
const HUMIO: Words = Words {
    field: KNOWN_STATE,
    message: "status.message",
    words: &[("Exists", Healthy), ("NotFound", Missing), ("ConfigError", Degraded), ("Unknown", Unknown)],
    otherwise: Progressing,
};

const KEPTN: Words = Words {
    field: "status.status",
    message: "status.message",
    words: &[("Succeeded", Healthy), ("Failed", Degraded), ("Deprecated", Suspended)],
    otherwise: Progressing,
};

/// Runs of Astra have a state and, when they failed, an error.
const ASTRA_RUN: Words = Words {
    field: KNOWN_STATE,
    message: "status.error",
    words: &[("Completed", Healthy), ("Failed", Degraded), ("Error", Degraded)],
    otherwise: Progressing,
};

const PERCONA: Words = Words {
    field: KNOWN_STATE,
    message: "status.message",
    words: &[
        ("initializing", Progressing),
        ("stopping", Progressing),
        ("ready", Healthy),
        ("error", Degraded),
        ("paused", Suspended),
        ("", Unknown),
    ],
    otherwise: Unknown,
};

const CLICKHOUSE: Words = Words {
    field: "status.status",
    message: "status.error",
    words: &[("Completed", Healthy), ("Aborted", Degraded), ("Failed", Degraded)],
    otherwise: Progressing,
};

const CONFLUENT: Words = Words {
    field: "status.phase",
    message: "",
    words: &[("RUNNING", Healthy), ("PROVISIONING", Progressing)],
    otherwise: Degraded,
};

/// Argo's runs.
const ANALYSIS: Words = Words {
    field: "status.phase",
    message: "status.message",
    words: &[("Successful", Healthy), ("Failed", Degraded), ("Error", Degraded), ("Inconclusive", Unknown)],
    otherwise: Progressing,
};

const fn phase(words: &'static [(&'static str, HealthStatusCode)]) -> Rule {
    Word(Words { field: "status.phase", message: "status.message", words, otherwise: Progressing })
}

const fn word(
    field: &'static str,
    message: &'static str,
    words: &'static [(&'static str, HealthStatusCode)],
) -> Rule {
    Word(Words { field, message, words, otherwise: Progressing })
}

/// The rule of a kind, if there is one.
pub(super) fn rule(group: &str, kind: &str) -> Option<Rule> {
    let exact = TABLE.iter().find(|(of_group, kinds, _)| *of_group == group && kinds.contains(&kind));
    exact.map(|(_, _, rule)| *rule).or_else(|| of_group(group))
}

/// Rules for every kind of a group, or of all groups below a domain.
fn of_group(group: &str) -> Option<Rule> {
    const DOMAINS: &[(&str, Rule)] = &[
        (".cnrm.cloud.google.com", Judge(crossplane::config_connector)),
        (".crossplane.io", Judge(crossplane::any)),
        (".services.k8s.aws", Judge(crossplane::aws_controller)),
        (".upbound.io", Judge(crossplane::any)),
    ];
    match group {
        "grafana-org-operator.kubitus-project.gitlab.io" => Some(Conditions(READY)),
        "microgateway.airlock.com" => Some(Judge(gateway::airlock)),
        "operator.victoriametrics.com" => Some(Judge(platform::victoria_metrics)),
        _ => DOMAINS.iter().find(|(domain, _)| group.ends_with(domain)).map(|(_, rule)| *rule),
    }
}

/// Group, kinds, rule.
const TABLE: &[(&str, &[&str], Rule)] = &[
    (
        "acid.zalan.do",
        &["postgresql"],
        word(
            "status.PostgresClusterStatus",
            "",
            &[
                ("Running", Healthy),
                ("CreateFailed", Degraded),
                ("UpdateFailed", Degraded),
                ("SyncFailed", Degraded),
                ("Invalid", Degraded),
            ],
        ),
    ),
    (
        "addons.cluster.x-k8s.io",
        &["ClusterResourceSet"],
        Conditions(&[("ResourcesApplied", "False", Degraded), ("ResourcesApplied", "True", Healthy)]),
    ),
    ("apps.3scale.net", &["APIManager"], Judge(platform::api_manager)),
    ("apps.kruise.io", &["AdvancedCronJob"], Judge(kruise::advanced_cron_job)),
    ("apps.kruise.io", &["BroadcastJob"], Judge(kruise::broadcast_job)),
    ("apps.kruise.io", &["CloneSet"], Judge(kruise::clone_set)),
    ("apps.kruise.io", &["DaemonSet"], Judge(kruise::daemon_set)),
    ("apps.kruise.io", &["StatefulSet"], Judge(kruise::stateful_set)),
    ("apps.openshift.io", &["DeploymentConfig"], Judge(platform::deployment_config)),
    ("argoproj.io", &["AnalysisRun", "Experiment"], Word(ANALYSIS)),
    (
        "argoproj.io",
        &["ApplicationSet"],
        Conditions(&[
            ("ErrorOccurred", "True", Degraded),
            ("ResourcesUpToDate", "False", Degraded),
            ("RolloutProgressing", "True", Progressing),
            ("ResourcesUpToDate", "True", Healthy),
        ]),
    ),
    ("argoproj.io", &["CronWorkflow"], Judge(argo::cron_workflow)),
    ("argoproj.io", &["EventBus"], Judge(argo::event_bus)),
    ("argoproj.io", &["Rollout"], Judge(argo::rollout)),
    (
        "astra.netapp.io",
        &["AppVault"],
        word(
            KNOWN_STATE,
            "status.error",
            &[("available", Healthy), ("failed", Degraded), ("error", Degraded)],
        ),
    ),
    ("astra.netapp.io", &["Application"], Conditions(READY)),
    (
        "astra.netapp.io",
        &["Backup", "ExecHooksRun", "ResourceBackup", "ResticVolumeBackup", "Snapshot"],
        Word(ASTRA_RUN),
    ),
    ("astra.netapp.io", &["ExecHook", "Schedule"], Judge(platform::astra_standing)),
    ("beat.k8s.elastic.co", &["Beat"], Judge(database::beat)),
    (
        "bitnami.com",
        &["SealedSecret"],
        Conditions(&[("Synced", "False", Degraded), ("Synced", "True", Healthy)]),
    ),
    ("camel.apache.org", &["Integration"], Judge(platform::integration)),
    ("capabilities.3scale.net", &["DeveloperUser"], Judge(platform::developer_user)),
    (
        "capabilities.3scale.net",
        &["Tenant"],
        Conditions(&[("Failed", "True", Degraded), ("Ready", "False", Degraded), ("Ready", "True", Healthy)]),
    ),
    (
        "capabilities.3scale.net",
        &[
            "ActiveDoc",
            "Application",
            "ApplicationAuth",
            "Backend",
            "CustomPolicyDefinition",
            "DeveloperAccount",
            "OpenAPI",
            "Product",
            "ProxyConfigPromote",
        ],
        Conditions(CAPABILITY),
    ),
    ("cassandra.rook.io", &["Cluster"], Judge(database::cassandra)),
    ("cdi.kubevirt.io", &["DataVolume"], Judge(platform::data_volume)),
    ("ceph.rook.io", &["CephCluster"], Judge(database::ceph_cluster)),
    (
        "ceph.rook.io",
        &["CephObjectStore"],
        phase(&[("Ready", Healthy), ("Connected", Healthy), ("Failure", Degraded)]),
    ),
    (
        "cert-manager.io",
        &["Certificate"],
        Conditions(&[
            ("Issuing", "True", Progressing),
            ("Ready", "False", Degraded),
            ("Ready", "True", Healthy),
        ]),
    ),
    ("cert-manager.io", &["ClusterIssuer", "Issuer"], Conditions(READY)),
    ("certmanager.k8s.io", &["Certificate", "Issuer"], Conditions(READY)),
    ("clickhouse-keeper.altinity.com", &["ClickHouseKeeperInstallation"], Word(CLICKHOUSE)),
    ("clickhouse.altinity.com", &["ClickHouseInstallation"], Word(CLICKHOUSE)),
    ("cloudfront.aws.crossplane.io", &["Distribution"], Judge(crossplane::managed)),
    ("cluster.x-k8s.io", &["Cluster"], Judge(cluster::cluster)),
    ("cluster.x-k8s.io", &["Machine"], Judge(cluster::machine)),
    ("cluster.x-k8s.io", &["MachineDeployment"], Judge(cluster::machine_deployment)),
    ("cluster.x-k8s.io", &["MachineHealthCheck"], Judge(cluster::machine_health_check)),
    ("cluster.x-k8s.io", &["MachinePool"], Judge(cluster::machine_pool)),
    ("controlplane.cluster.x-k8s.io", &["AWSManagedControlPlane"], Judge(cluster::managed_control_plane)),
    (
        "coralogix.com",
        &["Alert", "RecordingRuleGroupSet"],
        Conditions(&[("RemoteSynced", "False", Degraded), ("RemoteSynced", "True", Healthy)]),
    ),
    ("core.gardener.cloud", &["Shoot"], Judge(cluster::shoot)),
    (
        "core.humio.com",
        &["HumioCluster"],
        word(
            KNOWN_STATE,
            "status.message",
            &[("Running", Healthy), ("ConfigError", Degraded), ("Unknown", Unknown)],
        ),
    ),
    (
        "core.humio.com",
        &["HumioAction", "HumioAlert", "HumioIngestToken", "HumioParser", "HumioRepository", "HumioView"],
        Word(HUMIO),
    ),
    (
        "core.spinkube.dev",
        &["SpinApp"],
        Conditions(&[
            ("Progressing", "True", Progressing),
            ("Available", "False", Degraded),
            ("Available", "True", Healthy),
        ]),
    ),
    (
        "datadoghq.com",
        &["DatadogMetric"],
        Conditions(&[("Error", "True", Degraded), ("Valid", "False", Degraded), ("Valid", "True", Healthy)]),
    ),
    ("db.atlasgo.io", &["AtlasMigration", "AtlasSchema"], Judge(platform::atlas)),
    ("elasticsearch.k8s.elastic.co", &["Elasticsearch"], Judge(database::elasticsearch)),
    (
        "external-secrets.io",
        &["ClusterExternalSecret"],
        Conditions(&[
            ("Ready", "True", Healthy),
            ("Ready", "False", Degraded),
            ("NotReady", "True", Degraded),
            ("PartiallyReady", "True", Degraded),
        ]),
    ),
    (
        "external-secrets.io",
        &["ClusterSecretStore", "ExternalSecret", "PushSecret", "SecretStore"],
        Conditions(READY),
    ),
    ("flagger.app", &["Canary"], Judge(delivery::canary)),
    ("flink.apache.org", &["FlinkDeployment"], Judge(platform::flink_deployment)),
    ("game.kruise.io", &["GameServer"], Judge(kruise::game_server)),
    ("game.kruise.io", &["GameServerSet"], Judge(kruise::game_server_set)),
    ("gateway.networking.k8s.io", &["BackendTLSPolicy"], Judge(gateway::backend_policy)),
    ("gateway.networking.k8s.io", &["GRPCRoute", "HTTPRoute"], Judge(gateway::route)),
    ("gateway.networking.k8s.io", &["Gateway"], Judge(gateway::gateway)),
    ("gateway.networking.k8s.io", &["GatewayClass"], Judge(gateway::gateway_class)),
    (
        "gateway.solo.io",
        &[
            "Gateway",
            "MatchableHttpGateway",
            "RouteOption",
            "RouteTable",
            "VirtualHostOption",
            "VirtualService",
        ],
        Judge(gateway::gloo),
    ),
    ("gloo.solo.io", &["Proxy", "Settings", "Upstream", "UpstreamGroup"], Judge(gateway::gloo)),
    ("grafana.integreatly.org", &["Grafana"], Judge(platform::grafana)),
    (
        "grafana.integreatly.org",
        &["GrafanaDashboard", "GrafanaDatasource", "GrafanaFolder"],
        Judge(platform::grafana_content),
    ),
    ("helm.toolkit.fluxcd.io", &["HelmRelease"], Judge(delivery::helm_release)),
    ("iam.aws.crossplane.io", &["Policy", "Role", "RolePolicyAttachment"], Judge(crossplane::managed)),
    (
        "iammanager.keikoproj.io",
        &["Iamrole"],
        word(
            KNOWN_STATE,
            "status.errorDescription",
            &[
                ("Ready", Healthy),
                ("Error", Degraded),
                ("CreateError", Degraded),
                ("UpdateError", Degraded),
                ("DeleteError", Degraded),
                ("PolicyNotAllowed", Degraded),
                ("RolesMaxLimitReached", Degraded),
                ("RoleNameNotAvailable", Degraded),
            ],
        ),
    ),
    (
        "image.toolkit.fluxcd.io",
        &["ImagePolicy", "ImageRepository", "ImageUpdateAutomation"],
        Judge(delivery::flux),
    ),
    ("install.istio.io", &["IstioOperator"], Judge(delivery::istio_operator)),
    ("jaegertracing.io", &["Jaeger"], phase(&[("Running", Healthy), ("Failed", Degraded)])),
    (
        "k8s.keycloak.org",
        &["Keycloak"],
        Conditions(&[("HasErrors", "True", Degraded), ("Ready", "True", Healthy)]),
    ),
    ("k8s.mariadb.com", &["Backup", "SqlJob"], Judge(database::mariadb_job)),
    ("k8s.mariadb.com", &["Database", "Grant", "MariaDB", "User"], Judge(database::mariadb)),
    ("kafka.banzaicloud.io", &["KafkaCluster"], Judge(database::koperator)),
    (
        "kafka.strimzi.io",
        &["Kafka", "KafkaBridge", "KafkaConnect", "KafkaConnector", "KafkaTopic", "KafkaUser"],
        Judge(database::strimzi),
    ),
    ("karpenter.k8s.aws", &["EC2NodeClass"], Observed(READY)),
    ("karpenter.sh", &["NodeClaim"], Judge(cluster::node_claim)),
    ("karpenter.sh", &["NodePool"], Observed(READY)),
    ("keda.sh", &["ScaledJob"], Judge(delivery::scaled_job)),
    ("keda.sh", &["ScaledObject"], Judge(delivery::scaled_object)),
    ("kiali.io", &["Kiali"], Judge(platform::ansible_operator)),
    ("kubernetes-client.io", &["ExternalSecret"], Judge(platform::legacy_external_secret)),
    ("kubevirt.io", &["VirtualMachine"], Judge(platform::virtual_machine)),
    ("kubevirt.io", &["VirtualMachineInstance"], Judge(platform::virtual_machine_instance)),
    ("kustomize.toolkit.fluxcd.io", &["Kustomization"], Judge(delivery::flux)),
    ("kyverno.io", &["Policy"], Judge(platform::kyverno_policy)),
    (
        "lifecycle.keptn.sh",
        &["KeptnAppVersion", "KeptnTask", "KeptnWorkloadInstance", "KeptnWorkloadVersion"],
        Word(KEPTN),
    ),
    ("lifecycle.keptn.sh", &["KeptnEvaluation"], Word(Words { field: "status.overallStatus", ..KEPTN })),
    ("logstash.k8s.elastic.co", &["Logstash"], Judge(database::logstash)),
    ("mariadb.mmontes.io", &["MariaDB"], Judge(database::mariadb)),
    ("metrics.keptn.sh", &["Analysis"], Judge(platform::keptn_analysis)),
    ("metrics.keptn.sh", &["KeptnMetric"], Judge(platform::keptn_metric)),
    (
        "minio.min.io",
        &["Tenant"],
        word(
            "status.currentState",
            "status.currentState",
            &[
                ("Initialized", Healthy),
                ("Statefulset not controlled by operator", Degraded),
                ("Another MinIO Tenant already exists in the namespace", Degraded),
                ("Tenant credentials are not set properly", Degraded),
                ("Different versions across MinIO Pools", Degraded),
                ("Pool Decommissioning Not Allowed", Degraded),
            ],
        ),
    ),
    ("monitoring.coreos.com", &["Prometheus"], Judge(platform::prometheus)),
    ("networking.gke.io", &["ManagedCertificate"], Judge(gateway::managed_certificate)),
    (
        "nmstate.io",
        &["NodeNetworkConfigurationPolicy"],
        Conditions(&[
            ("Degraded", "True", Degraded),
            ("Progressing", "True", Progressing),
            ("Available", "True", Healthy),
            ("Ignored", "True", Suspended),
        ]),
    ),
    ("notification.toolkit.fluxcd.io", &["Receiver"], Judge(delivery::flux)),
    (
        "numaflow.numaproj.io",
        &["InterStepBufferService", "MonoVertex", "Pipeline", "Vertex"],
        Judge(numaproj::numaflow),
    ),
    (
        "numaplane.numaproj.io",
        &["ISBServiceRollout", "MonoVertexRollout", "NumaflowControllerRollout", "PipelineRollout"],
        Judge(numaproj::numaplane),
    ),
    ("objectbucket.io", &["ObjectBucketClaim"], phase(&[("Bound", Healthy), ("Failed", Degraded)])),
    (
        "ocs.openshift.io",
        &["StorageCluster"],
        Conditions(&[
            ("VersionMismatch", "True", Degraded),
            ("Degraded", "True", Degraded),
            ("Progressing", "True", Progressing),
            ("Available", "True", Healthy),
        ]),
    ),
    ("onepassword.com", &["OnePasswordItem"], Conditions(READY)),
    ("openfaas.com", &["Function"], Judge(platform::function)),
    ("opentelemetry.io", &["OpenTelemetryCollector"], Judge(platform::telemetry_collector)),
    ("operator.knative.dev", &["KnativeEventing", "KnativeServing"], Judge(delivery::knative_operator)),
    ("operator.openshift.io", &["IngressController"], Judge(platform::ingress_controller)),
    ("operators.coreos.com", &["Subscription"], Judge(delivery::subscription)),
    ("pkg.crossplane.io", &["Provider"], Judge(crossplane::provider_package)),
    (
        "platform.confluent.io",
        &["Connector"],
        word(KNOWN_STATE, "", &[("CREATED", Healthy), ("ERROR", Degraded)]),
    ),
    (
        "platform.confluent.io",
        &["Connect", "ControlCenter", "Kafka", "KsqlDB", "SchemaRegistry", "Zookeeper"],
        Word(CONFLUENT),
    ),
    ("policy.open-cluster-management.io", &["CertificatePolicy"], Judge(policy::certificate)),
    ("policy.open-cluster-management.io", &["ConfigurationPolicy"], Judge(policy::configuration)),
    ("policy.open-cluster-management.io", &["OperatorPolicy"], Judge(policy::operator)),
    ("policy.open-cluster-management.io", &["Policy"], Judge(policy::policy)),
    ("postgresql.cnpg.io", &["Cluster"], Judge(database::cloud_native_postgres)),
    ("proclaim.dogmatiq.io", &["DNSSDServiceInstance"], Judge(platform::service_discovery)),
    ("projectcontour.io", &["ExtensionService", "HTTPProxy"], Judge(gateway::contour)),
    ("promoter.argoproj.io", &["ArgoCDCommitStatus"], Judge(promoter::application_checks)),
    ("promoter.argoproj.io", &["ChangeTransferPolicy"], Judge(promoter::change_transfer_policy)),
    ("promoter.argoproj.io", &["ClusterScmProvider", "GitRepository", "ScmProvider"], Judge(promoter::ready)),
    ("promoter.argoproj.io", &["CommitStatus"], Judge(promoter::commit_status)),
    (
        "promoter.argoproj.io",
        &["GitCommitStatus", "TimedCommitStatus", "WebRequestCommitStatus"],
        Judge(promoter::environment_checks),
    ),
    ("promoter.argoproj.io", &["PromotionStrategy"], Judge(promoter::promotion_strategy)),
    ("promoter.argoproj.io", &["PullRequest"], Judge(promoter::pull_request)),
    ("psmdb.percona.com", &["PerconaServerMongoDB"], Word(PERCONA)),
    ("pulumi.com", &["Stack"], Judge(platform::pulumi_stack)),
    ("pxc.percona.com", &["PerconaXtraDBCluster"], Word(PERCONA)),
    (
        "rabbitmq.com",
        &["Binding", "Exchange", "Permission", "Policy", "Queue", "Shovel", "User", "Vhost"],
        Judge(database::rabbitmq_object),
    ),
    ("rabbitmq.com", &["RabbitmqCluster"], Judge(database::rabbitmq_cluster)),
    ("rds.aws.crossplane.io", &["DBCluster", "DBInstance"], Judge(crossplane::managed)),
    ("rollouts.kruise.io", &["Rollout"], Judge(kruise::rollout)),
    ("route.openshift.io", &["Route"], Judge(gateway::openshift_route)),
    ("route53.aws.crossplane.io", &["ResourceRecordSet"], Judge(crossplane::managed)),
    ("s3.aws.crossplane.io", &["Bucket"], Judge(crossplane::managed)),
    ("services.cloud.sap.com", &["ServiceBinding", "ServiceInstance"], Judge(platform::sap_service)),
    ("serving.knative.dev", &["Service"], Optional(delivery::knative_service)),
    ("serving.kserve.io", &["InferenceService"], Judge(delivery::inference_service)),
    (
        "snapshot.storage.k8s.io",
        &["VolumeSnapshot", "VolumeSnapshotContent"],
        Judge(platform::volume_snapshot),
    ),
    ("solr.apache.org", &["SolrCloud"], Judge(database::solr)),
    (
        "source.toolkit.fluxcd.io",
        &["Bucket", "GitRepository", "HelmChart", "HelmRepository", "OCIRepository"],
        Judge(delivery::flux_source),
    ),
    ("sparkoperator.k8s.io", &["SparkApplication"], Judge(platform::spark_application)),
    (
        "spot.io",
        &["SpotDeployment"],
        phase(&[("Healthy", Healthy), ("Degraded", Degraded), ("Paused", Suspended)]),
    ),
    ("stacks.crossplane.io", &["ClusterStackInstall"], Judge(crossplane::stack_install)),
    (
        "tower.ansible.com",
        &["AnsibleJob"],
        word(
            "status.ansibleJobResult.status",
            "",
            &[("successful", Healthy), ("failed", Degraded), ("error", Degraded), ("canceled", Degraded)],
        ),
    ),
    ("trident.netapp.io", &["TridentBackendConfig"], Judge(platform::trident_backend)),
    (
        "trident.netapp.io",
        &["TridentOrchestrator"],
        word(
            "status.status",
            "status.message",
            &[("Installed", Healthy), ("Error", Degraded), ("Failed", Degraded)],
        ),
    ),
    ("work.karmada.io", &["ClusterResourceBinding", "ResourceBinding"], Judge(cluster::binding)),
    ("zookeeper.pravega.io", &["ZookeeperCluster"], Judge(database::zookeeper)),
];
