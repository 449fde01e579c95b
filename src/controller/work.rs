//! From the queue to looks: each is a task of its own, so that one that hangs or fails delays no other.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    applications::ApplicationKey,
    context::Context,
    reconcile::{Level, Next, reconcile},
};
use crate::{api::names, metrics};

/// How long looks that are under way may take to end on a stop. Together with giving up the lease it stays below the
/// ten seconds that a stop may take.
const DRAIN_LIMIT: Duration = Duration::from_secs(6);
/// When an Application is looked at again whose look panicked.
const AFTER_PANIC: Duration = Duration::from_secs(180);
/// How often sizes are measured.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// Takes Applications from the queue until a stop, then lets what is under way end.
pub async fn work(context: &Arc<Context>, stop: &CancellationToken) {
    let mut looks = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = looks.join_next(), if !looks.is_empty() => {}
            (key, level, waited) = context.queue.next() => {
                let context = Arc::clone(context);
                looks.spawn(look(context, key, level, waited));
            }
        }
    }
    let drained = async { while looks.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_LIMIT, drained).await.is_err() {
        // What is cut off here is on record as running, and is taken up by whoever leads next.
        tracing::warn!(unfinished = looks.len(), "stopping without waiting any longer");
        looks.abort_all();
    }
}

/// One look. A panic in it is this Application's alone: the guard ends the work on the key in any case, and has it
/// looked at again later.
async fn look(context: Arc<Context>, key: ApplicationKey, level: Level, waited: Duration) {
    struct Done<'a>(&'a Context, &'a ApplicationKey);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                tracing::error!(application = %self.1, "a look ended unexpectedly; this is a bug of Skiff, please report it");
                self.0.queue.add_after(self.1.clone(), Level::Latest, AFTER_PANIC);
            }
            self.0.queue.done(self.1);
        }
    }
    let done = Done(&context, &key);
    context.metrics.queue_added(metrics::Queue::Reconciliation);
    let work = context.metrics.work(metrics::Queue::Reconciliation, waited);
    let span = tracing::info_span!("reconcile", application = %key, ?level);
    // On the heap: what a look holds while it waits is more than a thread's stack should carry.
    let look = Box::pin(reconcile(&context, &key, level));
    let Next(next) = tracing::Instrument::instrument(look, span).await;
    if let Some((level, wait)) = next {
        context.queue.add_after(key.clone(), level, wait);
    }
    drop(work);
    drop(done);
}

/// Shows how much there is and waits, every few seconds.
pub async fn measure(context: Arc<Context>) {
    let begun = Instant::now();
    loop {
        let (live, watches) = (&context.cluster.live, &context.cluster.watches);
        context.metrics.set_cluster_cache(
            names::IN_CLUSTER_SERVER,
            watches.len(),
            live.len(),
            Some(begun.elapsed()),
        );
        context.metrics.set_queue_depth(metrics::Queue::Reconciliation, context.queue.depth());
        tokio::time::sleep(MEASURE_EVERY).await;
    }
}
