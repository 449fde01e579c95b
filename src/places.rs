//! Places that are limited in number, and given back by those who take too long.

use std::{future::Future, pin::pin, time::Duration};

/// Carries out some work that takes one of a limited number of places. After `at_most` the place is given back though
/// the work goes on, so that what hangs keeps nobody else waiting.
pub async fn held<P, F: Future>(place: P, at_most: Duration, work: F) -> F::Output {
    let mut work = pin!(work);
    match tokio::time::timeout(at_most, &mut work).await {
        Ok(done) => done,
        Err(_) => {
            drop(place);
            work.await
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_keeps_nobody_waiting() {
        let places = Semaphore::new(1);
        let second = Duration::from_secs(1);
        let slow = async {
            let place = places.acquire().await;
            held(place, second, tokio::time::sleep(10 * second)).await;
            tokio::time::Instant::now()
        };
        let quick = async {
            tokio::time::sleep(second / 2).await;
            let place = places.acquire().await;
            held(place, second, async {}).await;
            tokio::time::Instant::now()
        };
        let begun = tokio::time::Instant::now();
        let (slow, quick) = tokio::join!(slow, quick);
        assert_eq!((slow - begun, quick - begun), (10 * second, second));
    }
}
