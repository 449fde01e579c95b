//! The order of work: what a kustomization does with the resources that it names.
//!
//! ```text
//! resources ▶ configurations ▶ generators ▶ components ▶ transformers ▶ validators ▶ vars
//!     │                                          │
//!     └ a base: the same, from nothing           └ the same, on what is there so far
//! ```
//!
//! An [`Accumulator`] is what one layer hands to the next above it. Steps that need the whole tree (hashes, name
//! references, vars, sorting) are no part of this: they come once, in [`super::build`].

use std::rc::Rc;

use serde_json::Value;

use super::{
    Options,
    error::KustomizeError,
    fieldspec::Configuration,
    generator::{self, Kind},
    kustomization::{self, COMPONENT, Kustomization},
    load::{Entry, Loader, Root},
    manifest::Manifest,
    plugin::{Generated, Plugins, inline_manifests},
    resource::{Provenance, Resource},
    resources::Resources,
    schema::{self, Schema},
    steps::{self, FieldStep},
    transform::Transformer,
    vars::Vars,
};
use crate::files::{Files, RepoPath};

/// What a layer has gathered.
#[derive(Default)]
pub(super) struct Accumulator {
    pub resources: Resources,
    /// Field specs, once they differ from the defaults.
    configuration: Option<Rc<Configuration>>,
    /// Whether another layer has brought field specs, be they the defaults.
    has_layers: bool,
    pub vars: Vars,
}

impl Accumulator {
    /// The field specs of this layer and those below.
    pub fn configuration(&self) -> &Configuration {
        self.configuration.as_deref().unwrap_or_else(|| Configuration::defaults())
    }

    /// Adds the field specs of a layer's files.
    ///
    /// Where no other layer has brought any, those of the files and the defaults are merged into nothing in the order of
    /// their kinds: then one that names a kind pushes out the default of the same path, for all kinds, as in kustomize.
    fn configure(&mut self, own: &Configuration) -> Result<(), KustomizeError> {
        let is_first = self.configuration.is_none() && !self.has_layers;
        let mut merged = if is_first { Configuration::default() } else { self.configuration().clone() };
        merged.merge(&Configuration::of_layer(own)?)?;
        self.configuration = Some(Rc::new(merged));
        Ok(())
    }

    fn extend(&mut self, configuration: &Configuration) -> Result<(), KustomizeError> {
        let mut merged = self.configuration().clone();
        merged.merge(configuration)?;
        self.configuration = Some(Rc::new(merged));
        Ok(())
    }

    /// Takes in what a base has gathered.
    fn merge(&mut self, base: Self) -> Result<(), KustomizeError> {
        self.has_layers = true;
        match (&self.configuration, &base.configuration) {
            (_, None) => {}
            (None, Some(_)) => self.configuration.clone_from(&base.configuration),
            (Some(_), Some(configuration)) => self.extend(configuration)?,
        }
        if self.resources.len() == 0 {
            self.resources = base.resources;
        } else {
            base.resources.into_vec().into_iter().try_for_each(|resource| self.resources.append(resource))?;
        }
        self.vars.merge(base.vars)
    }
}

/// Which records `buildMetadata` of the top kustomization asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BuildMetadata {
    pub origin: bool,
    pub transformations: bool,
    pub managed_by: bool,
    /// Whether records are kept at all: any option makes kustomize do so, be they put out or not.
    pub is_recorded: bool,
}

/// A build under way.
pub(super) struct Build<'a> {
    pub loader: Loader<'a>,
    options: &'a Options,
    top: RepoPath,
    /// What `openapi` asked for, once it has been met.
    schema: Option<OpenApi>,
    /// Whether kustomize has read its built-in schema by now.
    is_built_in_read: bool,
    pub metadata: BuildMetadata,
    pub warnings: Vec<String>,
    layers: usize,
}

/// The schema that strategic merge goes by.
#[derive(Clone)]
enum OpenApi {
    BuiltIn,
    File(Rc<Schema>),
}

/// What sort of kustomization an entry must lead to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Base,
    Component,
}

impl<'a> Build<'a> {
    pub fn new(files: &'a Files, options: &'a Options) -> Self {
        Self {
            loader: Loader::new(files, options),
            options,
            top: RepoPath::root(),
            schema: None,
            is_built_in_read: false,
            metadata: BuildMetadata::default(),
            warnings: Vec::new(),
            layers: 0,
        }
    }

    /// Accumulates the kustomization that was asked for; gives it back with what it made.
    pub fn top(&mut self, directory: &RepoPath) -> Result<(Kustomization, Accumulator), KustomizeError> {
        let root = self.loader.top(directory)?;
        self.top = root.directory.clone();
        let value = match &self.options.overlay {
            Some(edited) => Rc::new(edited.clone()),
            None => self.loader.kustomization(&root)?,
        };
        let kustomization = self.load(&root, &value)?;
        self.metadata.is_recorded = !kustomization.build_metadata.is_empty();
        for name in &kustomization.build_metadata {
            match name.as_str() {
                "originAnnotations" => self.metadata.origin = true,
                "transformerAnnotations" => self.metadata.transformations = true,
                "managedByLabel" => self.metadata.managed_by = true,
                other => self.warnings.push(format!(
                    "'{}': buildMetadata has the unknown option '{other}', which has no effect",
                    root.file
                )),
            }
        }
        let mut accumulator = Accumulator::default();
        self.accumulate(&root, &kustomization, &mut accumulator)?;
        Ok((kustomization, accumulator))
    }

    fn load(&mut self, root: &Root, value: &Value) -> Result<Kustomization, KustomizeError> {
        self.loader.budget().check()?;
        self.layers += 1;
        if self.layers > self.options.limits.kustomizations {
            return Err(KustomizeError::Limit {
                limit: format!("{} kustomizations in one build", self.options.limits.kustomizations),
            });
        }
        if kustomization::is_empty(value) {
            return Err(KustomizeError::invalid(format!(
                "'{}' is empty: it has no field to build from",
                root.file
            )));
        }
        let kustomization = Kustomization::from_value(value, &root.file, &mut self.warnings)
            .map_err(|error| self.loader.located(error))?;
        self.use_openapi(root, &kustomization)?;
        Ok(kustomization)
    }

    /// The first `openapi` that is met counts for the whole build. It stands in the place of the built-in schema, or beside it
    /// where something has needed that before: an odd thing that kustomize does.
    fn use_openapi(&mut self, root: &Root, kustomization: &Kustomization) -> Result<(), KustomizeError> {
        let get =
            |name: &str| kustomization.openapi.get(name).map(String::as_str).filter(|text| !text.is_empty());
        let fail = |error: KustomizeError| error.within(&root.file, "openapi");
        let schema = match (get("path"), get("version")) {
            (None, None) => return Ok(()),
            (Some(_), Some(_)) => {
                return Err(fail(KustomizeError::invalid("'path' and 'version' cannot both be set")));
            }
            (None, Some("v1.21.2")) => OpenApi::BuiltIn,
            (None, Some(version)) => {
                return Err(fail(KustomizeError::invalid(format!(
                    "version '{version}' is not built in: v1.21.2 is the only one, others must be given as a path"
                ))));
            }
            (Some(path), None) => {
                let (_, value) = self.loader.configuration(root, path).map_err(fail)?;
                let schema = Schema::from_openapi(&value).map_err(|error| fail(error.into()))?;
                let is_second = self.is_built_in_read;
                OpenApi::File(Rc::new(if is_second {
                    Schema::built_in().extended_by(&schema)
                } else {
                    schema
                }))
            }
        };
        self.schema.get_or_insert(schema);
        Ok(())
    }

    fn schema(&self) -> &Schema {
        match &self.schema {
            Some(OpenApi::File(schema)) => schema,
            Some(OpenApi::BuiltIn) | None => Schema::built_in(),
        }
    }

    /// All that one kustomization does.
    fn accumulate(
        &mut self,
        root: &Rc<Root>,
        kustomization: &Kustomization,
        accumulator: &mut Accumulator,
    ) -> Result<(), KustomizeError> {
        let mut missing = Ok(());
        for entry in &kustomization.resources {
            let added = self
                .add_entry(root, entry, accumulator)
                .map_err(|error| error.within(&root.file, format!("resources entry '{}'", short(entry))));
            match added {
                // The others are looked at all the same: who fetches remotes wants to know of all of them.
                Err(error) if error.is_of_remotes() => missing = Err(error),
                added => added?,
            }
        }
        missing?;
        self.configure(root, kustomization, accumulator)?;
        self.generate(root, kustomization, accumulator)?;
        for entry in &kustomization.components {
            self.add_directory(root, entry, Expected::Component, accumulator)
                .map_err(|error| error.within(&root.file, format!("components entry '{entry}'")))?;
        }
        for transformer in self.transformers(root, kustomization, accumulator)? {
            let (place, transformer) = transformer;
            self.is_built_in_read |= transformer.step.is_merge();
            transformer
                .run(&mut accumulator.resources, self.schema(), self.loader.budget())
                .map_err(|error| error.within(&root.file, place))?;
        }
        accumulator.resources.drop_deleted();
        self.validate(root, kustomization, accumulator)?;
        accumulator
            .vars
            .define(&kustomization.vars, &mut accumulator.resources)
            .map_err(|error| error.within(&root.file, "vars"))
    }

    fn add_entry(
        &mut self,
        root: &Rc<Root>,
        entry: &str,
        accumulator: &mut Accumulator,
    ) -> Result<(), KustomizeError> {
        match self.loader.entry(root, entry)? {
            Entry::File(manifests) => {
                for manifest in manifests {
                    let resource = self.resource(manifest);
                    self.append(resource, accumulator)?;
                }
                Ok(())
            }
            Entry::Directory => self.add_directory(root, entry, Expected::Base, accumulator),
        }
    }

    fn append(&mut self, resource: Resource, accumulator: &mut Accumulator) -> Result<(), KustomizeError> {
        let limit = self.options.limits.resources;
        if accumulator.resources.len() >= limit {
            return Err(KustomizeError::Limit { limit: format!("{limit} resources in one build") });
        }
        self.loader.budget().spend(&resource.value)?;
        // The scope of an unknown kind is looked up in the schema.
        self.is_built_in_read = self.is_built_in_read || !Schema::is_built_in(&resource.id().gvk);
        accumulator.resources.append(resource)
    }

    fn resource(&self, manifest: Manifest) -> Resource {
        let mut resource = Resource::new(manifest);
        if self.metadata.is_recorded
            && let Some(file) = &resource.file
        {
            resource.origin = Some(Rc::new(Provenance::File(self.loader.place(file, &self.top))));
        }
        resource
    }

    fn add_directory(
        &mut self,
        root: &Rc<Root>,
        entry: &str,
        expected: Expected,
        accumulator: &mut Accumulator,
    ) -> Result<(), KustomizeError> {
        let base_root = self.loader.enter(root, entry)?;
        let kustomization = self.load(&base_root, self.loader.kustomization(&base_root)?.as_ref())?;
        let is_component = kustomization.kind == COMPONENT;
        match expected {
            Expected::Base if is_component => Err(KustomizeError::invalid(format!(
                "'{}' is a Component: name it under 'components', not under 'resources'",
                base_root.file
            ))),
            Expected::Component if !is_component => Err(KustomizeError::invalid(format!(
                "'{}' is a Kustomization, not a Component: name it under 'resources', or set its kind",
                base_root.file
            ))),
            Expected::Component => self.accumulate(&base_root, &kustomization, accumulator),
            Expected::Base => {
                let mut base = Accumulator::default();
                self.accumulate(&base_root, &kustomization, &mut base)?;
                let limit = self.options.limits.resources;
                if accumulator.resources.len().saturating_add(base.resources.len()) > limit {
                    return Err(KustomizeError::Limit { limit: format!("{limit} resources in one build") });
                }
                accumulator.merge(base)
            }
        }
    }

    fn configure(
        &self,
        root: &Root,
        kustomization: &Kustomization,
        accumulator: &mut Accumulator,
    ) -> Result<(), KustomizeError> {
        let mut own = Configuration::default();
        for entry in &kustomization.configurations {
            let mut read = || -> Result<(), KustomizeError> {
                let (file, value) = self.loader.configuration(root, entry)?;
                let configuration: Configuration =
                    super::decode::decode(&value, super::decode::UnknownFields::Reject)
                        .map_err(|source| self.loader.located(KustomizeError::Decode { file, source }))?;
                Ok(own.merge(&configuration)?)
            };
            read().map_err(|error| error.within(&root.file, format!("configurations entry '{entry}'")))?;
        }
        if !kustomization.configurations.is_empty() {
            accumulator.configure(&own).map_err(|error| error.within(&root.file, "configurations"))?;
        }
        accumulator.has_layers = true;
        for entry in &kustomization.crds {
            let configure = |accumulator: &mut Accumulator| -> Result<(), KustomizeError> {
                let (_, value) = self.loader.configuration(root, entry)?;
                accumulator.extend(&schema::crd_configuration(&value)?)
            };
            configure(accumulator)
                .map_err(|error| error.within(&root.file, format!("crds entry '{entry}'")))?;
        }
        Ok(())
    }

    fn generate(
        &mut self,
        root: &Rc<Root>,
        kustomization: &Kustomization,
        accumulator: &mut Accumulator,
    ) -> Result<(), KustomizeError> {
        let fields = [
            (
                Kind::ConfigMap,
                "configMapGenerator",
                "ConfigMapGenerator",
                &kustomization.config_map_generator,
            ),
            (Kind::Secret, "secretGenerator", "SecretGenerator", &kustomization.secret_generator),
        ];
        let defaults = kustomization.generator_options.as_ref();
        for (kind, field, plugin, list) in fields {
            for arguments in list {
                generator::generate(kind, arguments, defaults, &self.loader, root)
                    .and_then(|mut resource| {
                        if self.metadata.is_recorded {
                            resource.origin = Some(self.provenance(&root.file, &["builtin", plugin, "", ""]));
                        }
                        generator::absorb(&mut accumulator.resources, resource, &arguments.behavior)
                    })
                    .map_err(|error| error.within(&root.file, format!("{field} '{}'", arguments.name)))?;
            }
        }
        for (place, config) in self.plugin_configs(root, "generators", &kustomization.generators)? {
            let mut generate = || -> Result<(), KustomizeError> {
                let plugins = Plugins { loader: &self.loader, root };
                for mut generated in plugins.generate(&config.value)? {
                    if self.metadata.is_recorded {
                        generated.resource.origin = Some(self.plugin_provenance(root, &config));
                    }
                    let Generated { resource, behavior } = generated;
                    generator::absorb(&mut accumulator.resources, resource, &behavior)?;
                }
                Ok(())
            };
            generate().map_err(|error| error.within(&root.file, place))?;
        }
        Ok(())
    }

    /// The configurations of plugins that a list holds, each with its entry for a message: those in place come before those
    /// in files, as in kustomize.
    fn plugin_configs(
        &mut self,
        root: &Rc<Root>,
        field: &str,
        entries: &[String],
    ) -> Result<Vec<(String, Resource)>, KustomizeError> {
        let mut accumulator = Accumulator::default();
        let mut places = Vec::new();
        let mut paths = Vec::new();
        for entry in entries {
            let place = format!("{field} entry '{}'", short(entry));
            let Some(manifests) = inline_manifests(entry) else {
                paths.push((place, entry));
                continue;
            };
            manifests
                .and_then(|manifests| {
                    let mut resources = manifests.into_iter().map(Resource::new);
                    resources.try_for_each(|resource| accumulator.resources.append(resource))
                })
                .map_err(|error| error.within(&root.file, &*place))?;
            places.resize(accumulator.resources.len(), place);
        }
        for (place, entry) in paths {
            self.add_entry(root, entry, &mut accumulator)
                .map_err(|error| error.within(&root.file, &*place))?;
            places.resize(accumulator.resources.len(), place);
        }
        Ok(places.into_iter().zip(accumulator.resources.into_vec()).collect())
    }

    fn provenance(&self, file: &RepoPath, by: &[&str; 4]) -> Rc<Provenance> {
        let configured_in = self.loader.place(file, &self.top);
        Rc::new(Provenance::Plugin { configured_in, configured_by: Box::new(by.map(str::to_owned)) })
    }

    fn plugin_provenance(&self, root: &Root, config: &Resource) -> Rc<Provenance> {
        let id = config.id();
        let by = [id.gvk.version.as_str(), id.gvk.kind.as_str(), id.name.as_str(), id.namespace.as_str()];
        self.provenance(config.file.as_ref().unwrap_or(&root.file), &by)
    }

    /// The steps of a layer, each with the place to name in an error.
    fn transformers(
        &mut self,
        root: &Rc<Root>,
        kustomization: &Kustomization,
        accumulator: &Accumulator,
    ) -> Result<Vec<(String, Transformer)>, KustomizeError> {
        let mut transformers = Vec::new();
        let plugins = Plugins { loader: &self.loader, root };
        for FieldStep { place, plugin, entries, step } in
            steps::of(kustomization, accumulator.configuration(), &plugins)?
        {
            let records = if self.metadata.is_recorded { entries } else { 0 };
            let provenance =
                (0..records).map(|_| self.provenance(&root.file, &["builtin", plugin, "", ""])).collect();
            transformers.push((place, Transformer { step, provenance }));
        }
        transformers.extend(self.plugin_transformers(root, "transformers", &kustomization.transformers)?);
        Ok(transformers)
    }

    fn plugin_transformers(
        &mut self,
        root: &Rc<Root>,
        field: &str,
        entries: &[String],
    ) -> Result<Vec<(String, Transformer)>, KustomizeError> {
        let mut transformers = Vec::new();
        for (place, config) in self.plugin_configs(root, field, entries)? {
            let plugins = Plugins { loader: &self.loader, root };
            let steps = plugins.steps(&config.value).map_err(|error| error.within(&root.file, &*place))?;
            for (at, step) in steps.into_iter().enumerate() {
                // A plugin leaves one record, however many steps it takes.
                let is_recorded = self.metadata.is_recorded && at == 0;
                let provenance =
                    if is_recorded { vec![self.plugin_provenance(root, &config)] } else { Vec::new() };
                transformers.push((place.clone(), Transformer { step, provenance }));
            }
        }
        Ok(transformers)
    }

    fn validate(
        &mut self,
        root: &Rc<Root>,
        kustomization: &Kustomization,
        accumulator: &mut Accumulator,
    ) -> Result<(), KustomizeError> {
        for (place, validator) in self.plugin_transformers(root, "validators", &kustomization.validators)? {
            let before: Vec<Value> =
                accumulator.resources.iter().map(|resource| resource.value.clone()).collect();
            validator
                .run(&mut accumulator.resources, self.schema(), self.loader.budget())
                .map_err(|error| error.within(&root.file, &*place))?;
            let after: Vec<Value> = accumulator.resources.iter().map(without_validated_by).collect();
            if before != after {
                return Err(KustomizeError::invalid("a validator must not change resources")
                    .within(&root.file, place));
            }
        }
        Ok(())
    }
}

/// An entry that may be inline YAML, for a message.
fn short(entry: &str) -> String {
    let line = entry.lines().find(|line| line.trim_start().starts_with("kind:"));
    match (entry.contains('\n'), line) {
        (true, Some(line)) => format!("inline, {}", line.trim()),
        (true, None) => "inline".to_owned(),
        (false, _) => entry.to_owned(),
    }
}

fn without_validated_by(resource: &Resource) -> Value {
    let mut value = resource.value.clone();
    if let Some(Value::Object(metadata)) = value.get_mut("metadata")
        && let Some(Value::Object(labels)) = metadata.get_mut("labels")
        && labels.shift_remove("validated-by").is_some()
        && labels.is_empty()
    {
        metadata.shift_remove("labels");
    }
    value
}
