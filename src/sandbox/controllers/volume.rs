//! PersistentVolumeClaims are bound to a volume that is made for them.

use std::time::Duration;

use serde_json::{Value, json};

use super::parts::{MANAGER, is_terminating, key, set_spec, text, write_status};
use super::{Context, Memory};
use crate::object::GroupKind;
use crate::sandbox::status::ApiError;

pub(super) fn reconcile(
    context: &Context,
    _: &mut Memory,
    claim: &Value,
) -> Result<Option<Duration>, ApiError> {
    let is_static = claim.pointer("/spec/storageClassName") == Some(&json!(""))
        && text(claim, "/spec/volumeName").is_empty();
    if is_terminating(claim) || is_static || text(claim, "/status/phase") == "Bound" {
        return Ok(None);
    }
    let mut claim = claim.clone();
    let chosen = text(&claim, "/spec/volumeName").to_owned();
    let name =
        if chosen.is_empty() { format!("pvc-{}", text(&claim, "/metadata/uid")) } else { chosen.clone() };
    let volume = context.store.get(&GroupKind::new("", "PersistentVolume"), "", &name);
    let volume = match volume {
        Some(volume) => volume,
        None if chosen.is_empty() => context.store.create(new_volume(&claim, &name), MANAGER)?,
        None => return Ok(Some(Duration::from_secs(1))),
    };
    if chosen.is_empty() {
        set_spec(&mut claim, "volumeName", json!(name));
        claim = context.store.update(claim, MANAGER)?;
    }
    write_status(context, &volume, json!({"phase": "Bound"}), MANAGER)?;
    let capacity = volume.pointer("/spec/capacity").cloned().unwrap_or_default();
    let modes = claim.pointer("/spec/accessModes").cloned().unwrap_or_default();
    write_status(
        context,
        &claim,
        json!({"phase": "Bound", "accessModes": modes, "capacity": capacity}),
        MANAGER,
    )?;
    Ok(None)
}

fn new_volume(claim: &Value, name: &str) -> Value {
    let (namespace, claim_name) = key(claim);
    let field = |name: &str| claim.pointer("/spec").and_then(|spec| spec.get(name)).cloned();
    let mut volume = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": "sandbox"}},
        "spec": {
            "capacity": claim.pointer("/spec/resources/requests").cloned().unwrap_or_else(|| json!({})),
            "hostPath": {"path": format!("/sandbox/{name}")},
            "accessModes": field("accessModes").unwrap_or_else(|| json!(["ReadWriteOnce"])),
            "claimRef": {
                "kind": "PersistentVolumeClaim",
                "namespace": namespace,
                "name": claim_name,
                "uid": text(claim, "/metadata/uid"),
                "apiVersion": "v1",
            },
            "persistentVolumeReclaimPolicy": "Delete",
        },
    });
    for name in ["storageClassName", "volumeMode"] {
        if let Some(value) = field(name) {
            set_spec(&mut volume, name, value);
        }
    }
    volume
}
