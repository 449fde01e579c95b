//! The resources of a kustomization, in order, and found by any id that they have or had.
//!
//! The index is by name, made when it is first asked for and dropped when a step has changed ids; so a lookup costs what
//! the resources of that name cost, not what the tree does.

use std::collections::HashMap;

use super::{
    error::KustomizeError,
    resource::{Resource, describe, is_same},
    selector::Id,
};

/// An ordered list of resources.
#[derive(Default)]
pub(super) struct Resources {
    list: Vec<Resource>,
    by_name: Option<HashMap<String, Vec<usize>>>,
}

impl Resources {
    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn get(&self, at: usize) -> Option<&Resource> {
        self.list.get(at)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Resource> {
        self.list.iter().filter(|resource| !resource.is_deleted)
    }

    /// All resources, for a step that may change their ids.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Resource> {
        self.by_name = None;
        self.list.iter_mut().filter(|resource| !resource.is_deleted)
    }

    pub fn into_vec(self) -> Vec<Resource> {
        self.list
    }

    /// Changes one resource; whether it has stored or lost an id is seen afterwards.
    pub fn change<T>(&mut self, at: usize, change: impl FnOnce(&mut Resource) -> T) -> Option<T> {
        let resource = self.list.get_mut(at)?;
        let before = (resource.id().clone(), resource.previous_ids().len());
        let result = change(resource);
        if before != (resource.id().clone(), resource.previous_ids().len())
            && let Some(index) = &mut self.by_name
        {
            // Names are only added: a stale one costs a comparison, since every hit is compared in full.
            enter(index, at, resource);
        }
        Some(result)
    }

    /// Drops what patches have deleted.
    pub fn drop_deleted(&mut self) {
        if self.list.iter().any(|resource| resource.is_deleted) {
            self.list.retain(|resource| !resource.is_deleted);
            self.by_name = None;
        }
    }

    /// Keeps the resources that satisfy a condition.
    pub fn retain(&mut self, keep: impl FnMut(&Resource) -> bool) {
        self.list.retain(keep);
        self.by_name = None;
    }

    /// Adds a resource at the end.
    ///
    /// # Errors
    /// When there is one with the same current id.
    pub fn append(&mut self, resource: Resource) -> Result<(), KustomizeError> {
        let present = self
            .named(&resource.id().name)
            .into_iter()
            .filter_map(|at| self.get(at))
            .find(|present| is_same(present.id(), resource.id()));
        if let Some(present) = present {
            return Err(already_there(present, &resource));
        }
        let at = self.list.len();
        if let Some(index) = &mut self.by_name {
            enter(index, at, &resource);
        }
        self.list.push(resource);
        Ok(())
    }

    /// Puts a resource in the place of another.
    pub fn replace(&mut self, at: usize, resource: Resource) {
        if let Some(place) = self.list.get_mut(at) {
            *place = resource;
            self.by_name = None;
        }
    }

    /// Positions of the resources that have or had a name.
    pub fn named(&mut self, name: &str) -> Vec<usize> {
        let list = &self.list;
        let index = self.by_name.get_or_insert_with(|| {
            let mut index = HashMap::with_capacity(list.len());
            for (at, resource) in list.iter().enumerate() {
                enter(&mut index, at, resource);
            }
            index
        });
        let positions = index.get(name).map(Vec::as_slice).unwrap_or_default();
        positions
            .iter()
            .copied()
            .filter(|at| list.get(*at).is_some_and(|resource| !resource.is_deleted))
            .collect()
    }

    /// Positions of the resources that have or had an id.
    pub fn with_any_id(&mut self, id: &Id) -> Vec<usize> {
        let mut positions = self.named(&id.name);
        positions.retain(|at| {
            self.get(*at).is_some_and(|resource| resource.ids().any(|other| is_same(other, id)))
        });
        positions
    }

    /// Checks that no two resources have the same current id.
    ///
    /// # Errors
    /// When two have.
    pub fn check_unique(&self) -> Result<(), KustomizeError> {
        let mut seen: HashMap<(&crate::object::Gvk, &str, &str), &Resource> =
            HashMap::with_capacity(self.list.len());
        for resource in self.iter() {
            let id = resource.id();
            if let Some(present) = seen.insert((&id.gvk, &id.name, id.effective_namespace()), resource) {
                return Err(already_there(present, resource));
            }
        }
        Ok(())
    }
}

fn enter(index: &mut HashMap<String, Vec<usize>>, at: usize, resource: &Resource) {
    for id in resource.ids() {
        match index.get_mut(&id.name) {
            Some(positions) if positions.contains(&at) => {}
            Some(positions) => positions.push(at),
            None => {
                index.insert(id.name.clone(), vec![at]);
            }
        }
    }
}

fn already_there(present: &Resource, new: &Resource) -> KustomizeError {
    let from = |resource: &Resource| match &resource.file {
        Some(file) => format!("'{file}' line {}", resource.line),
        None => "a generator".to_owned(),
    };
    KustomizeError::invalid(format!(
        "{} is there twice: from {} and from {}",
        describe(new.id()),
        from(present),
        from(new)
    ))
}
