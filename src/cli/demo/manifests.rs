//! The project's own `manifests/`, built into the binary, and how they are told where they are used.

use crate::cli::embedded::{EmbeddedFile, embedded};

/// The files of `manifests/`, but for the storefront: it needs an ingress controller and a metrics server to be healthy,
/// which not every cluster has.
pub(super) const MANIFESTS: &[EmbeddedFile] = embedded![
    "manifests",
    "applications/infrastructure-dev.yaml",
    "applications/infrastructure-production.yaml",
    "applications/infrastructure-staging.yaml",
    "applications/order-service-dev.yaml",
    "applications/order-service-production.yaml",
    "applications/order-service-staging.yaml",
    "applications/projects.yaml",
    "apps/order-service/base/deployment.yaml",
    "apps/order-service/base/kustomization.yaml",
    "apps/order-service/base/service-account.yaml",
    "apps/order-service/base/service.yaml",
    "apps/order-service/overlays/dev/kustomization.yaml",
    "apps/order-service/overlays/production/kustomization.yaml",
    "apps/order-service/overlays/production/pod-disruption-budget.yaml",
    "apps/order-service/overlays/production/spread.yaml",
    "apps/order-service/overlays/staging/debug-service.yaml",
    "apps/order-service/overlays/staging/kustomization.yaml",
    "infrastructure/base/kustomization.yaml",
    "infrastructure/base/limit-range.yaml",
    "infrastructure/base/network-policy.yaml",
    "infrastructure/overlays/dev/kustomization.yaml",
    "infrastructure/overlays/production/kustomization.yaml",
    "infrastructure/overlays/staging/kustomization.yaml",
    "projects/infrastructure.yaml",
    "projects/order-service.yaml",
    "root-app.yaml",
];

/// The one manifest that is applied by hand.
pub(super) const ROOT_APPLICATION: &str = "root-app.yaml";

const REPOSITORY_IN_MANIFESTS: &str = "https://git.example.com/shop/manifests.git";
const AGENT_NAMESPACE_IN_MANIFESTS: &str = "namespace: argocd";
const ENVIRONMENT_NAMESPACES_IN_MANIFESTS: &str = "namespace: shop-";

/// What manifests are told of the place where they are used.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The URL of the Git repository.
    pub(super) repository: String,
    /// The namespace of the agent and the Applications.
    pub(super) agent_namespace: String,
    /// What the environments' namespaces begin with, before the environment's name.
    pub(super) namespace_prefix: String,
}

impl Place {
    /// The namespace of an environment.
    pub(super) fn namespace(&self, environment: &str) -> String {
        format!("{}{environment}", self.namespace_prefix)
    }

    /// A manifest's text for this place.
    pub(super) fn adapt(&self, text: &str) -> String {
        text.replace(REPOSITORY_IN_MANIFESTS, &self.repository)
            .replace(AGENT_NAMESPACE_IN_MANIFESTS, &format!("namespace: {}", self.agent_namespace))
            .replace(ENVIRONMENT_NAMESPACES_IN_MANIFESTS, &format!("namespace: {}", self.namespace_prefix))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::embedded::on_disk;

    #[test]
    fn every_file_of_manifests_is_in_the_table() {
        let in_table: BTreeSet<String> = MANIFESTS.iter().map(|manifest| manifest.path.to_owned()).collect();
        let mut on_disk = on_disk("manifests", &[""]);
        on_disk.retain(|path| !path.contains("storefront"));
        assert_eq!(in_table, on_disk);
    }

    #[test]
    fn an_adapted_manifest_names_no_other_place() {
        let place = Place {
            repository: "file:///here".to_owned(),
            agent_namespace: "demo".to_owned(),
            namespace_prefix: "demo-".to_owned(),
        };
        let adapted: String = MANIFESTS.iter().map(|manifest| place.adapt(manifest.text)).collect();
        for foreign in ["example.com", "argocd\n", "shop-dev", "shop-staging", "shop-production"] {
            assert!(!adapted.contains(foreign), "{foreign}");
        }
        for own in ["repoURL: file:///here\n", "namespace: demo\n", "namespace: demo-production\n"] {
            assert!(adapted.contains(own), "{own}");
        }
    }
}
