//! Open Cluster Management: policies that say whether what they ask for is so.

use super::{Degraded, HealthStatus, Healthy, Progressing, View, told};

fn compliance(view: View<'_>, explain: impl FnOnce() -> String) -> HealthStatus {
    match view.text("status.compliant") {
        "Compliant" => told(Healthy, format!("{} is compliant", view.kind())),
        "NonCompliant" => told(Degraded, explain()),
        "" => view.waiting(),
        other => told(Progressing, format!("{} is {other}", view.kind())),
    }
}

pub(super) fn certificate(view: View<'_>) -> HealthStatus {
    compliance(view, || {
        let messages = view
            .values("status.compliancyDetails")
            .filter(|detail| detail.count("nonCompliantCertificates") > 0);
        joined(messages.map(|detail| detail.text("message").trim()), "certificates are not compliant")
    })
}

pub(super) fn configuration(view: View<'_>) -> HealthStatus {
    if view.is_outdated("status.lastEvaluatedGeneration") {
        return view.unobserved();
    }
    compliance(view, || {
        let details = view
            .items("status.compliancyDetails")
            .filter(|detail| detail.text("Compliant") == "NonCompliant");
        let messages =
            details.flat_map(|detail| detail.items("conditions").map(|condition| condition.text("message")));
        joined(messages, "objects are not as the policy asks for")
    })
}

pub(super) fn operator(view: View<'_>) -> HealthStatus {
    if view.is_outdated("status.observedGeneration") {
        return view.unobserved();
    }
    let conditions = view.conditions();
    match conditions.get("Compliant") {
        Some(compliant) => compliance(view, || compliant.message.to_owned()),
        None => view.waiting(),
    }
}

/// A policy on the hub lists clusters, its copy on a cluster lists the templates that it is made of.
pub(super) fn policy(view: View<'_>) -> HealthStatus {
    if view.is("spec.disabled") {
        return told(Healthy, "Policy is disabled");
    }
    let placed = !view.is_empty("status.placement");
    if placed && view.is_empty("status.status") && view.text("status.compliant").is_empty() {
        return told(Healthy, "no cluster is selected by the placement of the policy");
    }
    compliance(view, || {
        let clusters =
            view.items("status.status").filter(|cluster| cluster.text("compliant") == "NonCompliant");
        let templates =
            view.items("status.details").filter(|detail| detail.text("compliant") == "NonCompliant");
        let names = clusters
            .map(|cluster| cluster.text("clustername"))
            .chain(templates.map(|detail| detail.text("templateMeta.name")));
        format!("not compliant: {}", joined(names, "some templates"))
    })
}

fn joined<'a>(texts: impl Iterator<Item = &'a str>, otherwise: &str) -> String {
    let texts: Vec<&str> = texts.filter(|text| !text.is_empty()).collect();
    if texts.is_empty() { otherwise.to_owned() } else { texts.join(", ") }
}
