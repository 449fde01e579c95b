//! Sends a sequence to a server and keeps what it answers.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::sequence::{Request, Sequence, Step, Until, Variables};

/// How long one answer may take, and how long a state may take to come.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an answer may take from its first byte to its last. A watch has none.
const WHOLE: Duration = Duration::from_secs(5);
/// How often it is asked for again.
const LOOK_EVERY: Duration = Duration::from_millis(30);

/// A server that sequences are sent to.
#[derive(Clone)]
pub struct Server {
    pub client: kube::Client,
    /// The sandbox behind it, which forgets its history when a sequence says `COMPACT`.
    pub sandbox: Option<skiff::sandbox::Sandbox>,
}

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub code: u16,
    pub content_type: String,
    pub warnings: Vec<String>,
    pub body: Value,
}

/// The answers, or why the sequence makes no sense to go on with.
pub type Played = Result<Vec<Answer>, String>;

impl Answer {
    /// The code and what the server says of it.
    pub fn gist(&self) -> Value {
        let text = |field: &str| self.body.get(field).and_then(Value::as_str).unwrap_or_default();
        Value::from(format!("{} {} {}", self.code, text("reason"), text("message")))
    }

    /// The server hung up, or said nothing.
    fn none() -> Self {
        Self { code: 0, content_type: String::new(), warnings: Vec::new(), body: Value::Null }
    }
}

impl Server {
    /// Plays a sequence in a namespace that does not exist yet, and removes what it has
    /// made outside of it.
    pub async fn play(
        &self,
        sequence: &Sequence,
        definitions: &BTreeMap<String, Value>,
        namespace: &str,
    ) -> Played {
        let mut variables = Variables::default();
        variables.0.insert("ns".to_owned(), Value::from(namespace));
        self.open(namespace).await?;
        let mut answers = Vec::new();
        let mut litter = Vec::new();
        for (index, step) in sequence.steps.iter().enumerate() {
            if step.what == "COMPACT" {
                self.sandbox.iter().for_each(|sandbox| sandbox.store().compact());
                continue;
            }
            let request = step.request(&variables, definitions);
            let answer = self.take(step, &request).await;
            for (name, pointer) in &step.save {
                match answer.body.pointer(pointer) {
                    Some(found) => variables.0.insert(name.clone(), found.clone()),
                    None => return Err(format!("step {index} has no {pointer} in {:#}", answer.body)),
                };
            }
            if let Some(path) = cluster_scoped(&request, &answer) {
                litter.push(path);
            }
            answers.push(answer);
        }
        for path in litter.into_iter().rev() {
            self.send(&plain("DELETE", &path, None)).await;
        }
        Ok(answers)
    }

    /// Asks again until the answer has this code.
    pub async fn until(&self, request: &Request, code: u16) {
        let answer = self.ask(request, Some(&Until { code: Some(code), at: None, is: None })).await;
        assert_eq!(answer.code, code, "{request:?}: {:#}", answer.body);
    }

    /// Removes a namespace, if it is there.
    pub async fn remove_namespace(&self, name: &str) {
        self.send(&plain("DELETE", &format!("/api/v1/namespaces/{name}"), None)).await;
    }

    /// A namespace whose Pods have an account.
    pub async fn open(&self, namespace: &str) -> Result<(), String> {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let answer = self.send(&plain("POST", "/api/v1/namespaces", Some(&body))).await;
        if answer.code != 201 {
            return Err(format!("no namespace: {:#}", answer.body));
        }
        let account = plain("GET", &format!("/api/v1/namespaces/{namespace}/serviceaccounts/default"), None);
        let until = Until { code: Some(200), at: None, is: None };
        let answer = self.ask(&account, Some(&until)).await;
        if answer.code == 200 { Ok(()) } else { Err("the namespace got no account".to_owned()) }
    }

    async fn take(&self, step: &Step, request: &Request) -> Answer {
        match step.watch {
            Some(events) => self.watch(request, events).await,
            None => self.ask(request, step.until.as_ref()).await,
        }
    }

    /// The answer, or the last one when the wanted one never comes: the comparison shows the difference.
    async fn ask(&self, request: &Request, until: Option<&Until>) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.send(request).await;
            let fits = until.is_none_or(|until| {
                until.code.is_none_or(|code| code == answer.code)
                    && until.at.as_ref().is_none_or(|at| answer.body.pointer(at) == until.is.as_ref())
            });
            if fits || Instant::now() > deadline {
                return answer;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// The answer to one request; code 0 when there is none.
    pub async fn send(&self, request: &Request) -> Answer {
        let sent = timeout(PATIENCE, self.client.send(build(request))).await;
        let Ok(Ok(response)) = sent else {
            return Answer::none();
        };
        let (parts, body) = response.into_parts();
        let text = match timeout(WHOLE, body.collect()).await {
            Ok(Ok(body)) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "an answer without end".to_owned(),
        };
        answer(&parts, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// So many events of a watch; fewer when it ends before.
    async fn watch(&self, request: &Request, wanted: usize) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        let sent = timeout_at(deadline, self.client.send(build(request))).await;
        let Ok(Ok(response)) = sent else {
            return Answer::none();
        };
        let (parts, body) = response.into_parts();
        let mut text = Vec::new();
        let mut stream = body.into_data_stream();
        while text.iter().filter(|byte| **byte == b'\n').count() < wanted {
            match timeout_at(deadline, stream.next()).await {
                Ok(Some(Ok(bytes))) => text.extend_from_slice(&bytes),
                _ => break,
            }
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let events: Vec<Value> = text
            .lines()
            .take(wanted)
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| Value::from(line)))
            .collect();
        answer(&parts, Value::Array(events))
    }
}

fn answer(parts: &http::response::Parts, body: Value) -> Answer {
    let header = |name: http::HeaderName| {
        let values = parts.headers.get_all(name).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect::<Vec<_>>()
    };
    Answer {
        code: parts.status.as_u16(),
        content_type: header(http::header::CONTENT_TYPE).concat(),
        warnings: header(http::header::WARNING),
        body,
    }
}

fn build(request: &Request) -> http::Request<Body> {
    let mut built = http::Request::builder()
        .method(request.method.as_str())
        .uri(&request.path)
        .header(http::header::USER_AGENT, "differential/1.0");
    if let Some(content_type) = &request.content_type {
        built = built.header(http::header::CONTENT_TYPE, content_type);
    }
    if let Some(accept) = &request.accept {
        built = built.header(http::header::ACCEPT, accept);
    }
    built.body(Body::from(request.body.clone())).unwrap_or_else(|error| panic!("{request:?}: {error}"))
}

/// A request in JSON.
pub fn plain(method: &str, path: &str, body: Option<&Value>) -> Request {
    Request {
        method: method.to_owned(),
        path: path.to_owned(),
        content_type: body.map(|_| "application/json".to_owned()),
        accept: None,
        body: body.map(|body| body.to_string().into_bytes()).unwrap_or_default(),
    }
}

/// The path of an object outside of the namespace that a request has created.
fn cluster_scoped(request: &Request, answer: &Answer) -> Option<String> {
    let metadata = answer.body.get("metadata")?;
    let stays = answer.code == 201 && metadata.get("namespace").is_none() && !request.path.contains("dryRun");
    let name = metadata.get("name")?.as_str().filter(|_| stays)?;
    let path = request.path.split('?').next()?;
    let by_name = path.ends_with(&format!("/{name}"));
    Some(if by_name { path.to_owned() } else { format!("{path}/{name}") })
}
