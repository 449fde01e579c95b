//! The Kustomize tree of `deploy/`, as far as it is installed.

use crate::cli::embedded::{EmbeddedFile, embedded};

/// Every file that a kustomization of `deploy/install` reads.
pub(super) const FILES: &[EmbeddedFile] = embedded![
    "deploy",
    "agent/cluster-role-binding.yaml",
    "agent/cluster-role.yaml",
    "agent/deployment.yaml",
    "agent/kustomization.yaml",
    "agent/namespace.yaml",
    "agent/network-policy.yaml",
    "agent/pod-disruption-budget.yaml",
    "agent/role-binding.yaml",
    "agent/role.yaml",
    "agent/service-account.yaml",
    "agent/service.yaml",
    "components/cluster-wide/cluster-role-binding.yaml",
    "components/cluster-wide/cluster-role.yaml",
    "components/cluster-wide/kustomization.yaml",
    "components/high-availability/kustomization.yaml",
    "components/high-availability/spread.yaml",
    "components/namespaced/kustomization.yaml",
    "components/namespaced/namespaced.yaml",
    "components/namespaced/without-cluster-role-binding.yaml",
    "components/namespaced/without-cluster-role.yaml",
    "components/namespaced/without-namespace.yaml",
    "crds/application-crd.yaml",
    "crds/appproject-crd.yaml",
    "crds/kustomization.yaml",
    "grafana/kustomization.yaml",
    "grafana/skiff.json",
    "namespace/kustomization.yaml",
    "namespace/role-binding.yaml",
    "namespace/role.yaml",
    "prometheus/applications.yaml",
    "prometheus/kustomization.yaml",
    "prometheus/service-monitor.yaml",
    "prometheus/skiff.yaml",
    "shadow/cluster-role-binding.yaml",
    "shadow/cluster-role.yaml",
    "shadow/deployment.yaml",
    "shadow/kustomization.yaml",
    "shadow/network-policy.yaml",
    "shadow/prometheus/kustomization.yaml",
    "shadow/prometheus/service-monitor.yaml",
    "shadow/prometheus/shadow.yaml",
    "shadow/role-binding.yaml",
    "shadow/role.yaml",
    "shadow/service-account.yaml",
    "shadow/service.yaml",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::embedded::on_disk;

    #[test]
    fn every_file_that_is_installed_is_in_the_table() {
        let folders = ["agent", "components", "crds", "grafana", "namespace", "prometheus", "shadow"];
        let mut on_disk = on_disk("deploy", &folders);
        on_disk.retain(|path| !path.contains("/tests/"));
        let in_table: BTreeSet<String> = FILES.iter().map(|file| file.path.to_owned()).collect();
        assert_eq!(in_table, on_disk);
    }
}
