//! The agent is killed again and again in the middle of its work.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use kube::{
    Api, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde_json::{Value, json};

use crate::{process, world::World};

const KILLS: usize = 50;
/// How many objects may exist; each commit leaves out some of them.
const OBJECTS: usize = 120;
const WAVES: usize = 6;
/// After how many kills there is a new commit at the latest, so that syncs are given up for newer ones, too.
const COMMIT_EVERY: usize = 7;

/// What a commit declares: the value of each object.
fn declared(number: usize) -> BTreeMap<String, String> {
    let chosen = (0..OBJECTS).filter(|object| !(object + number).is_multiple_of(5));
    chosen.map(|object| (format!("object-{object:03}"), format!("commit-{number}"))).collect()
}

fn manifests(declared: &BTreeMap<String, String>) -> String {
    let objects = declared.iter().enumerate().map(|(index, (name, value))| {
        let wave = index % WAVES;
        let wave = format!("  annotations: {{argocd.argoproj.io/sync-wave: '{wave}'}}\n  name: ");
        process::config_map(name, value).replacen("  name: ", &wave, 1)
    });
    objects.map(|text| format!("{text}---\n")).collect()
}

/// Before the objects of each sync a Job must have run, and another one after them.
fn hooks() -> String {
    let hook = |phase: &str| {
        format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata:\n  generateName: {}-\n  annotations: \
             {{argocd.argoproj.io/hook: {phase}}}\nspec:\n  template:\n    spec: {{restartPolicy: Never, containers: \
             [{{name: main, image: 'main:1'}}]}}\n",
            phase.to_lowercase()
        )
    };
    format!("{}---\n{}", hook("PreSync"), hook("PostSync"))
}

/// Every Job that has ever been there, by its name, with how often it was made.
#[derive(Clone, Default)]
struct Runs(Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>);

impl Runs {
    /// Writes down what is seen until the test ends.
    fn follow(world: &World) -> Self {
        let runs = Self::default();
        let jobs: Api<Job> = Api::namespaced(world.client.clone(), &world.shop);
        let kept = runs.clone();
        tokio::spawn(async move {
            let mut events = Box::pin(watcher(jobs, watcher::Config::default()).default_backoff());
            while let Some(event) = events.next().await {
                if let Ok(Event::Apply(job) | Event::InitApply(job) | Event::Delete(job)) = event {
                    let (name, uid) = (job.name_any(), job.uid().unwrap());
                    kept.0.lock().unwrap().entry(name).or_default().insert(uid);
                }
            }
        });
        runs
    }
}

async fn live(world: &World) -> BTreeMap<String, String> {
    let objects = world.list("v1", "ConfigMap", &world.shop).await;
    let ours = objects
        .iter()
        .filter(|it| it["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"].is_string());
    ours.map(|it| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&it["metadata"]["name"]), text(&it["data"]["key"]))
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_fifty_times_in_mid_sync_the_agent_still_arrives_at_what_git_says() {
    let seed = std::env::var("SKIFF_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    eprintln!("SKIFF_TEST_SEED={seed} gives the same commits and kills again");
    let mut random = fastrand::Rng::with_seed(seed);
    let world = World::new().await;
    let mut commits = Vec::new();
    let commit = |commits: &mut Vec<String>| {
        let text = manifests(&declared(commits.len()));
        commits.push(world.commit(&[("app/objects.yaml", Some(&text)), ("app/hooks.yaml", Some(&hooks()))]));
    };
    commit(&mut commits);
    let runs = Runs::follow(&world);
    let mut app = world.automated("app", "app");
    // A commit that comes in the middle must not be waited for by retries.
    app["spec"]["syncPolicy"]["retry"] = json!({ "limit": 3, "backoff": { "duration": "1s", "factor": 1 } });
    world.apply(app).await;

    let mut in_mid_sync = 0;
    let mut since_commit = 0;
    for _ in 0..KILLS {
        // The same identity, as a container that is restarted in its Pod has: nobody waits for the lease.
        let agent = world.start_agent("agent-0");
        if random.u8(..10) > 0 {
            agent.until_ready().await;
        }
        tokio::time::sleep(Duration::from_millis(random.u64(..1500))).await;
        drop(agent);
        let status = world.read_application("app").await.unwrap()["status"].clone();
        let is_running = status["operationState"]["phase"] == "Running";
        in_mid_sync += usize::from(is_running);
        since_commit += 1;
        if !is_running || since_commit == COMMIT_EVERY {
            commit(&mut commits);
            since_commit = 0;
        }
    }
    eprintln!("{in_mid_sync} of {KILLS} kills hit a running sync; {} commits", commits.len());
    assert!(in_mid_sync > 0, "no kill hit a running sync: the test tests nothing");

    let _agent = world.start_agent("agent-0");
    let last = commits.last().unwrap();
    let status = world.until_synced("app", last).await["status"].clone();
    assert_eq!(live(&world).await, declared(commits.len() - 1));

    let history = status["history"].as_array().unwrap();
    let ids: Vec<i64> = history.iter().map(|entry| entry["id"].as_i64().unwrap()).collect();
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "the history has a gap: {ids:?}");
    let order: Vec<usize> = history
        .iter()
        .map(|entry| commits.iter().position(|commit| entry["revision"] == commit.as_str()).unwrap())
        .collect();
    assert!(
        order.windows(2).all(|pair| pair[0] < pair[1]),
        "a revision is there twice or out of order: {order:?}"
    );
    assert_eq!(order.last(), Some(&(commits.len() - 1)));
    assert_eq!(status["operationState"]["phase"], "Succeeded", "{:#}", status["operationState"]);

    // A hook's name says of which operation it is, so the same one twice has the same name and another uid.
    let runs = runs.0.lock().unwrap().clone();
    let twice: Vec<_> = runs.iter().filter(|(_, uids)| uids.len() > 1).collect();
    assert!(twice.is_empty(), "these hooks ran twice: {twice:#?}");
    for phase in ["presync", "postsync"] {
        let ran = runs.keys().any(|name| name.starts_with(&format!("{phase}-{}", &last[..7])));
        assert!(ran, "the {phase} hook of the last commit has not run: {:?}", runs.keys());
    }
}
