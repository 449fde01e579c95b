//! Leader election by a Lease, so that of several replicas one writes.
//!
//! ```text
//! 0 ─────────── trusted for ─────────── lease duration
//! renewed        no write begins after   another replica may take over
//!                this point
//! ```
//!
//! A replica that cannot renew stops beginning writes well before another one may take over, and a write that has
//! begun ends in between because of its time limit. The clocks of replicas are not compared: a candidate waits until
//! the lease has not changed for its whole duration on its own clock. On a graceful stop the lease is given up, so
//! that the next replica takes over at once.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::Request;
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
    client::Body,
    core::Status,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::{
    ClusterError,
    transport::{Gate, Held},
};

/// Names and times of an election.
#[derive(Clone, Debug)]
pub struct LeaderOptions {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Who this replica is; unique among replicas.
    pub identity: String,
    /// For how long a lease holds.
    pub lease_duration: Duration,
    /// For how long after a renewal writes may begin.
    pub trusted_for: Duration,
    /// Time between renewals, and between attempts of a candidate.
    pub retry_period: Duration,
}

impl LeaderOptions {
    /// Times that fit the write time limit of [`crate::cluster::Timeouts`].
    pub fn new(namespace: &str, identity: String) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: "skiff-agent".to_owned(),
            identity,
            lease_duration: Duration::from_secs(30),
            trusted_for: Duration::from_secs(15),
            retry_period: Duration::from_secs(3),
        }
    }
}

/// Whether this replica leads; the [`Gate`] of its writes.
#[derive(Clone, Default)]
pub struct Leadership {
    trusted_until: Arc<Mutex<Option<Instant>>>,
}

impl Leadership {
    /// Whether writes may begin now.
    pub fn is_leading(&self) -> bool {
        let until = *self.trusted_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn trust_until(&self, until: Option<Instant>) {
        *self.trusted_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

impl Gate for Leadership {
    fn holds(&self, _: &Request<Body>) -> Option<Held> {
        (!self.is_leading()).then_some(Held::NotLeading)
    }
}

/// One replica's part in the election.
pub struct Elector {
    options: LeaderOptions,
    leases: Api<Lease>,
    leadership: Leadership,
    /// The holder's last sign of life, as this replica's clock saw it: (holder, renewTime as written, seen at).
    seen: Option<(String, Option<MicroTime>, Instant)>,
}

impl Elector {
    /// `client` must not stand behind the gate of `leadership`: a candidate writes the Lease.
    pub fn new(client: Client, options: LeaderOptions, leadership: Leadership) -> Self {
        let leases = Api::namespaced(client, &options.namespace);
        Self { options, leases, leadership, seen: None }
    }

    /// Waits until this replica leads. Returns `false` when `stop` came first. Meanwhile `ready` says whether it is able
    /// to: whether the lease can be read and written.
    pub async fn acquire(&mut self, stop: &CancellationToken, ready: &AtomicBool) -> bool {
        loop {
            let attempt = self.attempt();
            match stop.run_until_cancelled(attempt).await {
                None => return false,
                Some(Ok(true)) => return true,
                Some(Ok(false)) => ready.store(true, Ordering::Release),
                Some(Err(error)) => {
                    ready.store(false, Ordering::Release);
                    tracing::warn!(%error, "this replica cannot lead: check that the namespace is there and that the agent may write leases");
                }
            }
            let pause = jittered(self.options.retry_period);
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return false;
            }
        }
    }

    /// Keeps the lease until `stop`, or until it is lost. Then no write begins any more.
    pub async fn hold(&mut self, stop: &CancellationToken) {
        while self.leadership.is_leading() {
            if stop.run_until_cancelled(tokio::time::sleep(self.options.retry_period)).await.is_none() {
                return;
            }
            match self.attempt().await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::warn!("another replica has taken the lease");
                    break;
                }
                Err(error) => tracing::warn!(%error, "the lease is not renewed"),
            }
        }
        self.leadership.trust_until(None);
    }

    /// Gives the lease up, so that another replica need not wait. Nothing may be written after this.
    pub async fn release(&mut self) {
        self.leadership.trust_until(None);
        let released = async {
            let Some(mut lease) = self.leases.get_opt(&self.options.name).await? else { return Ok(()) };
            let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
            if spec.holder_identity.as_deref() != Some(&self.options.identity) {
                return Ok(());
            }
            spec.holder_identity = None;
            spec.renew_time = None;
            self.leases.replace(&self.options.name, &PostParams::default(), &lease).await.map(|_| ())
        };
        match tokio::time::timeout(Duration::from_secs(3), released).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error = self.told(error, "give up");
                tracing::warn!(%error, "the lease will expire");
            }
            Err(_) => tracing::warn!("giving up the lease takes too long; it will expire"),
        }
    }

    /// Takes or renews the lease. `false`: somebody else holds it.
    async fn attempt(&mut self) -> Result<bool, ClusterError> {
        // Several attempts must fit into the time for which a lease is trusted: one that hangs costs no leadership.
        let limit = (self.options.trusted_for / 3).min(Duration::from_secs(5));
        let action = "take or renew";
        match tokio::time::timeout(limit, self.ask()).await {
            Ok(answer) => answer.map_err(|error| self.told(error, action)),
            Err(_) => Err(ClusterError::Timeout { action, object: self.lease(), limit }),
        }
    }

    /// An error in the API server's own words.
    fn told(&self, error: kube::Error, action: &'static str) -> ClusterError {
        let object = self.lease();
        match error {
            kube::Error::Api(status) => {
                let Status { code, reason, message, .. } = *status;
                ClusterError::Refused { action, object, code, reason, message }
            }
            other => ClusterError::from_kube(other, action, object, false),
        }
    }

    fn lease(&self) -> String {
        format!("Lease {}/{}", self.options.namespace, self.options.name)
    }

    async fn ask(&mut self) -> Result<bool, kube::Error> {
        let begun = Instant::now();
        let now = MicroTime(Timestamp::now());
        let lease = self.leases.get_opt(&self.options.name).await?;
        let Some(mut lease) = lease else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(self.options.name.clone()), ..ObjectMeta::default() },
                spec: Some(self.spec(now, 0)),
            };
            return match self.leases.create(&PostParams::default(), &lease).await {
                Ok(_) => Ok(self.led_since(begun)),
                Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(false),
                Err(error) => Err(error),
            };
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        let mine = holder == self.options.identity;
        if !mine && !holder.is_empty() && !self.has_expired(&holder, &spec) {
            return Ok(false);
        }
        let transitions = spec.lease_transitions.unwrap_or(0);
        let mut renewed = self.spec(now, if mine { transitions } else { transitions.saturating_add(1) });
        if mine {
            renewed.acquire_time = spec.acquire_time;
        }
        lease.spec = Some(renewed);
        // The resourceVersion that was read makes this fail when anybody else was quicker.
        match self.leases.replace(&self.options.name, &PostParams::default(), &lease).await {
            Ok(_) => Ok(self.led_since(begun)),
            Err(kube::Error::Api(status)) if status.is_conflict() => Ok(mine && self.leadership.is_leading()),
            Err(error) => Err(error),
        }
    }

    fn has_expired(&mut self, holder: &str, spec: &LeaseSpec) -> bool {
        let duration = u64::try_from(spec.lease_duration_seconds.unwrap_or(0))
            .map_or(self.options.lease_duration, Duration::from_secs);
        match &self.seen {
            Some((seen_holder, renewed, at)) if seen_holder == holder && *renewed == spec.renew_time => {
                at.elapsed() > duration
            }
            _ => {
                self.seen = Some((holder.to_owned(), spec.renew_time.clone(), Instant::now()));
                false
            }
        }
    }

    fn led_since(&self, begun: Instant) -> bool {
        self.leadership.trust_until(Some(begun + self.options.trusted_for));
        true
    }

    fn spec(&self, now: MicroTime, transitions: i32) -> LeaseSpec {
        let seconds = self.options.lease_duration.as_secs().max(1);
        LeaseSpec {
            holder_identity: Some(self.options.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(seconds).unwrap_or(i32::MAX)),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}

/// A duration varied by up to a fifth, so that replicas and applications do not act in step.
pub fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.9 + 0.2 * fastrand::f64())
}
