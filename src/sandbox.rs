//! An in-memory Kubernetes API server, for the demo, for tests, and for trying things out.
//!
//! ```text
//! kube::Client ─┐                          ┌─ discovery, tables, watches
//! kubectl ──────┴─▶ Handler ─▶ Store ──────┼─ create, update, patch, apply, delete
//!                     │          ▲         └─ chores: garbage, namespaces, CRDs
//!        faults, log ─┘          └─ controllers: workloads come alive
//! ```
//!
//! It answers as a real API server does (status codes, reasons, resource versions, managed fields), so that what works here
//! works there. It is no cluster: there is no authentication, no admission and no persistence.

mod apply;
pub mod controllers;
mod convert;
mod crd;
mod custom;
mod decode;
mod defaults;
mod discovery;
pub mod fault;
mod handler;
mod kinds;
mod openapi;
mod output;
mod predict;
mod prepare;
mod protobuf;
mod request;
mod selector;
mod server;
mod service;
pub mod status;
mod storage;
pub mod store;
mod strategic;
mod table;
mod validation;

use std::sync::Arc;
use std::time::Duration;

use self::controllers::ControllerOptions;
use self::fault::{Faults, RequestLog};
use self::handler::Handler;
pub use self::predict::predict;
pub use self::server::{ServeError, ServeOptions, Server};
use self::service::Service;
use self::store::{Store, StoreOptions};

/// A running sandbox. Clones share it; the last one to go ends its tasks.
#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<Running>,
}

struct Running {
    store: Store,
    faults: Faults,
    requests: RequestLog,
    service: Service,
    chores: tokio::task::JoinHandle<()>,
    /// Ends the controllers when it is dropped.
    _controllers: controllers::Controllers,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.store.close();
        self.chores.abort();
    }
}

/// Settings of a sandbox.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    store: StoreOptions,
    controllers: ControllerOptions,
}

impl Builder {
    /// How long a Pod takes until it is ready.
    #[must_use]
    pub fn pod_ready_delay(mut self, delay: Duration) -> Self {
        self.controllers.pod_ready_delay = delay;
        self
    }

    /// How long a CRD takes until it is established.
    #[must_use]
    pub fn crd_established_delay(mut self, delay: Duration) -> Self {
        self.store.crd_established_delay = delay;
        self
    }

    /// How many events of each kind are kept for watches that resume.
    #[must_use]
    pub fn event_log_capacity(mut self, events: usize) -> Self {
        self.store.event_log_capacity = events;
        self
    }

    /// Starts the sandbox. It needs a Tokio runtime to be running.
    pub fn build(self) -> Sandbox {
        let store = Store::new(self.store);
        let faults = Faults::default();
        let requests = RequestLog::default();
        let handler = Handler::new(store.clone(), faults.clone(), requests.clone());
        let chores = store.start_chores();
        let controllers = controllers::start(store.clone(), self.controllers);
        let service = Service::new(Arc::new(handler));
        Sandbox {
            inner: Arc::new(Running { store, faults, requests, service, chores, _controllers: controllers }),
        }
    }
}

impl Sandbox {
    /// A sandbox with default settings, ready to be changed.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A client that speaks to the sandbox in process.
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.inner.service.clone(), "default")
    }

    /// Serves the sandbox on a socket.
    ///
    /// # Errors
    /// When the address is taken or no certificate can be made.
    pub async fn serve(&self, options: ServeOptions) -> Result<Server, ServeError> {
        Server::start(self.inner.service.clone(), options).await
    }

    /// What goes wrong on purpose.
    pub fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// What the sandbox was asked.
    pub fn requests(&self) -> &RequestLog {
        &self.inner.requests
    }

    /// The objects themselves.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }
}
