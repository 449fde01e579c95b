//! Several requests at once, but not too many.

use futures::{StreamExt, stream};

/// Requests on behalf of one application that are under way at once.
const CONCURRENCY: usize = 16;

/// Runs all futures, a limited number at a time. The results come in no particular order.
pub async fn bounded<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    // Made into a list first: the compiler cannot tell that a lazily mapped stream of borrowing futures may be sent.
    let futures: Vec<F> = futures.into_iter().collect();
    stream::iter(futures).buffer_unordered(CONCURRENCY).collect().await
}
