//! Serves `/metrics`, `/healthz` and `/readyz`.

use std::{convert::Infallible, fmt::Write as _, io, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Metrics;

/// How long open connections may go on after the end was asked for.
const GRACE: Duration = Duration::from_secs(2);

/// Something that must hold, with its name; the error says what does not.
#[derive(Clone)]
pub struct Check {
    /// The name, as it is shown.
    pub name: &'static str,
    /// The question. It must answer at once.
    pub ask: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

/// What the server tells.
#[derive(Clone)]
pub struct Probes {
    /// What must hold for the process to be left running (`/healthz`).
    pub liveness: Vec<Check>,
    /// What must hold for the process to be called ready (`/readyz`).
    pub readiness: Vec<Check>,
}

struct Served {
    metrics: Arc<Metrics>,
    probes: Probes,
}

/// The routes.
pub fn router(metrics: Arc<Metrics>, probes: Probes) -> Router {
    Router::new()
        .route("/metrics", get(text))
        .route(
            "/healthz",
            get(|State(served): State<Arc<Served>>| async move { answer(&served.probes.liveness) }),
        )
        .route(
            "/readyz",
            get(|State(served): State<Arc<Served>>| async move { answer(&served.probes.readiness) }),
        )
        .with_state(Arc::new(Served { metrics, probes }))
}

/// Serves the routes until `end` is cancelled.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, router: Router, end: CancellationToken) -> io::Result<()> {
    let ended = end.clone();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move { ended.cancelled().await });
    tokio::select! {
        result = server.into_future() => result,
        () = async { end.cancelled().await; tokio::time::sleep(GRACE).await } => Ok(()),
    }
}

async fn text(State(served): State<Arc<Served>>) -> Response {
    match served.metrics.parts() {
        Ok(parts) => {
            let body = Body::from_stream(futures::stream::iter(parts.map(Ok::<_, Infallible>)));
            ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], body).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write the metrics: {error}\n"))
            .into_response(),
    }
}

fn answer(checks: &[Check]) -> Response {
    let mut problems = String::new();
    for check in checks {
        if let Err(problem) = (check.ask)() {
            let _ = writeln!(problems, "{}: {problem}", check.name);
        }
    }
    if problems.is_empty() {
        (StatusCode::OK, "ok\n").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, problems).into_response()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn ask(path: &str, ready: Result<(), String>) -> (StatusCode, String) {
        let readiness = Check { name: "leader", ask: Arc::new(move || ready.clone()) };
        let probes = Probes { liveness: Vec::new(), readiness: vec![readiness] };
        let metrics = Arc::new(Metrics::new(&super::super::MetricsOptions::default()).unwrap());
        let request = axum::http::Request::get(path).body(axum::body::Body::empty()).unwrap();
        let response = router(metrics, probes).oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn metrics_are_served_as_text() {
        let (status, body) = ask("/metrics", Ok(())).await;
        assert_eq!(status, StatusCode::OK);
        assert!(body.contains("# TYPE process_resident_memory_bytes gauge"), "{body}");
    }

    #[tokio::test]
    async fn readiness_names_what_is_missing() {
        let (status, body) = ask("/readyz", Err("no replica leads".to_owned())).await;
        assert_eq!((status, body.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "leader: no replica leads\n"));
        assert_eq!(ask("/readyz", Ok(())).await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn a_process_that_is_not_ready_is_alive() {
        assert_eq!(ask("/healthz", Err("no".to_owned())).await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn the_server_ends_when_it_is_told_to_though_a_connection_is_open() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let end = CancellationToken::new();
        let server = tokio::spawn(serve(listener, Router::new(), end.clone()));
        let _open = tokio::net::TcpStream::connect(address).await.unwrap();
        end.cancel();
        tokio::time::timeout(GRACE * 3, server).await.unwrap().unwrap().unwrap();
    }
}
