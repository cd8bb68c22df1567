//! What must be so when the storm is over.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pullyard_tests::{Ledger, Story, until};
use serde_json::{Value, json};

use super::asks::{SECRET, key_in};
use super::clients::Told;
use super::site::Site;
use crate::crash::the_read_model_is_a_replay;

/// How much later a model server may notice that a client has left.
const NOTICE: Duration = Duration::from_millis(500);

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Counts {
    jobs: usize,
    accepted: usize,
    ends: BTreeMap<String, usize>,
    events: BTreeMap<String, usize>,
    requests: usize,
    bills: u64,
    worker_moves: u64,
    reader_restarts: usize,
    reader_resumes: usize,
    turned_away: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = |name: &str| self.events.get(name).copied().unwrap_or(0);
        write!(
            f,
            "{} jobs, {} of them promised: {:?}; {} leases, {} lost, {} failed attempts, {} checkpoints, {} reroutes, {} parked; \
             {} requests at models, {} bills, {} of them late; {} comings and goings of workers; \
             readers resumed {} times and began anew {} times; {} requests were turned away",
            self.jobs,
            self.accepted,
            self.ends,
            event("leased"),
            event("lease_lost"),
            event("attempt_failed"),
            event("checkpointed"),
            event("rerouted"),
            event("parked"),
            self.requests,
            self.bills,
            event("accounted"),
            self.worker_moves,
            self.reader_resumes,
            self.reader_restarts,
            self.turned_away,
        )
    }
}

/// Every job ends by then; who parked is given another chance.
pub(super) async fn all_end(site: &Site, by: Instant) {
    loop {
        let jobs = site.client.all_jobs().await;
        let state = |job: &Value, states: &[&str]| states.contains(&job["state"].as_str().unwrap());
        for parked in jobs.iter().filter(|job| state(job, &["parked"])) {
            let path = format!("/v1/jobs/{}/requeue", parked["id"].as_str().unwrap());
            site.client.post(&path, &json!({"max_attempts": 20})).await.expect(200);
        }
        let live: Vec<&Value> = jobs.iter().filter(|job| !state(job, &["completed", "cancelled", "expired"])).collect();
        if live.is_empty() {
            return;
        }
        if Instant::now() > by {
            for job in live.iter().take(10) {
                println!("{job}: {:?}", site.client.events(job["id"].as_str().unwrap()).await);
            }
            println!("{}", site.client.get("/v1/workers").await.text());
            println!("{}", site.client.get("/metrics").await.text());
            println!("{}", site.nats.monitor("/jsz?accounts=true&streams=true&consumers=true&config=true").await);
            panic!("{} jobs have not ended", live.len());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

pub(super) async fn all_is_well(site: &mut Site, told: &Told) -> Counts {
    let accepted = told.accepted();
    for (id, ask) in &accepted {
        let job = site.client.job(id).await;
        let state = job["state"].as_str().unwrap();
        assert!(ask.manner.may_end(state), "job {id} ({:?}) is {state}: {:?}", ask.manner, site.client.events(id).await);
        let said = &job["result"]["choices"][0]["message"]["content"];
        assert!(state != "completed" || job["kind"] != "chat" || *said == ask.reply(), "job {id} ({ask:?}) says {said}");
    }
    for (model, slots) in site.models() {
        let (crowd, seen) = (model.crowd(NOTICE), model.seen());
        let who: Vec<_> = crowd.iter().map(|stay| (key_in(&seen[stay.request].prompt), stay)).collect();
        assert!(crowd.len() <= slots, "more than {slots} at once: {who:#?}");
    }
    assert!(!site.cloud().seen().iter().any(|seen| seen.prompt.starts_with(SECRET)), "a local job has left the operator's machines");
    nothing_is_left_to_say(site).await;
    the_read_model_is_a_replay(&mut site.broker).await;
    assert!(site.broker.terminate().await.success());
    let ledger = Ledger::of(&site.broker).await;
    for id in accepted.keys() {
        assert!(ledger.jobs.contains_key(id), "job {id} is lost");
    }
    let requests = requests(site);
    let mut counts = Counts {
        jobs: ledger.jobs.len(),
        accepted: accepted.len(),
        requests: requests.values().sum(),
        bills: ledger.bills,
        worker_moves: ledger.moves,
        reader_restarts: told.restarts.load(Ordering::Relaxed),
        reader_resumes: told.resumes.load(Ordering::Relaxed),
        turned_away: told.turned_away.load(Ordering::Relaxed),
        ..Counts::default()
    };
    let mut keys = BTreeSet::new();
    for (id, story) in &ledger.jobs {
        let key = story.key.as_deref().unwrap_or_else(|| key_in(&story.prompt));
        is_sound(id, story, requests.get(key).copied().unwrap_or(0));
        assert!(story.key.is_none() || keys.insert(key), "{key} is two jobs, one of them {id}");
        *counts.ends.entry(story.state().to_owned()).or_default() += 1;
        for event in &story.events {
            *counts.events.entry(event.clone()).or_default() += 1;
        }
    }
    counts
}

/// The workers end, and the broker has what they said.
async fn nothing_is_left_to_say(site: &mut Site) {
    for worker in &mut site.workers {
        assert!(worker.terminate().await.success());
    }
    until("the last word of every worker", async || {
        let all = site.nats.monitor("/jsz?accounts=true&streams=true").await;
        let streams = all["account_details"][0]["stream_detail"].as_array().unwrap().clone();
        let words = streams.iter().find(|stream| stream["name"].as_str().unwrap().ends_with("REPORTS")).unwrap();
        (words["state"]["messages"] == 0).then_some(())
    })
    .await;
}

/// How often each job came to a model server, by key.
fn requests(site: &Site) -> BTreeMap<String, usize> {
    let mut requests = BTreeMap::new();
    for seen in site.models().flat_map(|(model, _)| model.seen()) {
        *requests.entry(key_in(&seen.prompt).to_owned()).or_default() += 1;
    }
    requests
}

/// One end, and no bill without a request or twice for the same attempt of a worker.
fn is_sound(id: &str, story: &Story, requests: usize) {
    assert_eq!(story.ends().len(), 1, "job {id}: {:?}", story.events);
    let attempts: BTreeSet<_> = story.bills.iter().map(|bill| (bill.token, &bill.worker)).collect();
    assert_eq!(attempts.len(), story.bills.len(), "job {id} was billed twice for one attempt: {:?}", story.bills);
    // One that was taken back at once may not have reached the server that it was on its way to.
    let used = story.bills.iter().filter(|bill| bill.tokens > 0).count();
    assert!(used <= requests, "job {id} was billed {used} times for {requests} requests");
    assert!(!attempts.iter().any(|(_, worker)| worker.is_empty()), "job {id}: {story:?}");
}
