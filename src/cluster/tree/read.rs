//! What is there: the metadata of every object in some namespaces.

use std::collections::BTreeSet;

use kube::{
    Api, Client,
    api::ListParams,
    core::{DynamicObject, PartialObjectMeta, TypeMeta},
};

use super::Member;
use crate::{
    cluster::{
        ClusterError, Timeouts, bounded,
        discovery::{KindInfo, Kinds},
    },
    object::{Gvk, Object, Scope},
};

/// Objects in one page of a listing.
const PAGE: u32 = 500;
/// From this many namespaces on, the whole cluster is listed at once.
const MANY_NAMESPACES: usize = 6;

/// What was found.
#[derive(Debug, Default)]
pub struct Inventory {
    /// The objects.
    pub members: Vec<Member>,
    /// The kinds that could not be listed, and why: their objects are missing.
    pub unread: Vec<String>,
}

/// Lists the objects of all kinds in some namespaces, and those that belong to the whole cluster. `is_left_out` names
/// kinds that are not asked for, `tracked_by` tells which application tracks an object.
///
/// # Errors
/// When the API server does not answer. What one may not list is no error but is named in [`Inventory::unread`].
pub async fn inventory(
    client: &Client,
    kinds: &Kinds,
    namespaces: &BTreeSet<String>,
    is_left_out: &(dyn Fn(&Gvk) -> bool + Sync),
    tracked_by: &(dyn Fn(&Object) -> Option<String> + Sync),
    timeouts: Timeouts,
) -> Result<Inventory, ClusterError> {
    let mut listings = Vec::new();
    for (gvk, info) in kinds.each_preferred().filter(|(gvk, info)| info.watchable && !is_left_out(gvk)) {
        let places: Vec<Option<&str>> = match info.scope {
            Scope::Namespaced if namespaces.len() < MANY_NAMESPACES => {
                namespaces.iter().map(|namespace| Some(namespace.as_str())).collect()
            }
            _ => vec![None],
        };
        listings.extend(places.into_iter().map(|place| list(client, gvk, info, place, tracked_by, timeouts)));
    }
    let mut inventory = Inventory::default();
    for listing in bounded(listings).await {
        match listing {
            Ok(members) => inventory.members.extend(members.into_iter().filter(|member| {
                let namespace = &member.key.namespace;
                namespace.is_empty() || namespaces.contains(namespace)
            })),
            // A kind that went away meanwhile, that cannot be listed, or that one may not list.
            Err(error @ ClusterError::Refused { code: 401 | 403..=405, .. }) => {
                inventory.unread.push(error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    inventory.unread.sort();
    inventory.unread.dedup();
    Ok(inventory)
}

async fn list(
    client: &Client,
    gvk: &Gvk,
    info: &KindInfo,
    namespace: Option<&str>,
    tracked_by: &(dyn Fn(&Object) -> Option<String> + Sync),
    timeouts: Timeouts,
) -> Result<Vec<Member>, ClusterError> {
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &info.resource),
        None => Api::all_with(client.clone(), &info.resource),
    };
    // Only a StatefulSet's own fields tell whose the volume claims are.
    let needs_body = gvk.group == "apps" && gvk.kind == "StatefulSet";
    let object = || info.resource.plural.clone();
    let mut parameters = ListParams::default().limit(PAGE);
    let mut found = Vec::new();
    loop {
        let page = async {
            if needs_body {
                let page = api.list(&parameters).await?;
                let next = page.metadata.continue_.clone();
                Ok((
                    page.items.into_iter().filter_map(|item| serde_json::to_value(item).ok()).collect(),
                    next,
                ))
            } else {
                let page = api.list_metadata(&parameters).await?;
                let next = page.metadata.continue_.clone();
                let value = |item: PartialObjectMeta<DynamicObject>| serde_json::to_value(item).ok();
                Ok((page.items.into_iter().filter_map(value).collect::<Vec<_>>(), next))
            }
        };
        let (items, next) = match tokio::time::timeout(timeouts.read, page).await {
            Ok(answer) => answer.map_err(|error| ClusterError::from_kube(error, "list", object(), false))?,
            Err(_) => {
                return Err(ClusterError::Timeout { action: "list", object: object(), limit: timeouts.read });
            }
        };
        for mut item in items {
            let types = TypeMeta { api_version: gvk.api_version(), kind: gvk.kind.clone() };
            if let Some(fields) = item.as_object_mut() {
                fields.insert("apiVersion".to_owned(), types.api_version.into());
                fields.insert("kind".to_owned(), types.kind.into());
            }
            if let Ok(object) = Object::from_value(item) {
                found.push(Member::of(&object, tracked_by(&object)));
            }
        }
        match next.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(found),
        }
    }
}
