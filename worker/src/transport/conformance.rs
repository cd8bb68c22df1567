//! What every transport must do, checked against each.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pullyard_schemas::job::{Kind, OnInterrupt};
use pullyard_schemas::work::Offer;
use pullyard_schemas::{Band, JobId, Lane, Needs, Scope, Token};
use tokio::sync::mpsc;

use super::embedded::{EmbeddedTransport, OutputSink};
use super::{Body, Transport};

const HOLD: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Nowhere;

impl OutputSink for Nowhere {
    fn chunk(&self, _: JobId, _: Token, _: u32, _: Bytes) {}
}

fn embedded() -> Arc<dyn Transport> {
    EmbeddedTransport::new(mpsc::unbounded_channel().0, Arc::new(Nowhere), HOLD)
}

fn lane(name: &str) -> Lane {
    Lane { target: name.into(), scope: Scope::Any }
}

fn offer(transport: &dyn Transport, to: &str, band: Band) -> JobId {
    let job = JobId::new();
    let offer = Offer {
        job,
        token: Token(1),
        lane: lane(to),
        band,
        kind: Kind::Chat,
        needs: Needs::default(),
        stream: false,
        on_interrupt: OnInterrupt::Restart,
        timeout_ms: 1_000,
    };
    transport.offer(offer, Body::Ready(Bytes::new()));
    job
}

async fn pull(transport: &dyn Transport, from: &str, n: usize, wait: Duration) -> Vec<Box<dyn super::Delivery>> {
    transport.pull(&[lane(from)], n, wait, 0).await
}

#[tokio::test(start_paused = true)]
async fn high_track_first_then_in_order_and_never_more_than_asked() {
    let t = embedded();
    let (batch, first, second) = (offer(&*t, "a", Band::Batch), offer(&*t, "a", Band::Normal), offer(&*t, "a", Band::Interactive));
    let got = pull(&*t, "a", 2, SOON).await;
    assert_eq!(got.iter().map(|d| d.offer().job).collect::<Vec<_>>(), [first, second]);
    assert_eq!(pull(&*t, "a", 9, SOON).await[0].offer().job, batch);
}

#[tokio::test(start_paused = true)]
async fn a_lane_gives_only_its_own() {
    let t = embedded();
    offer(&*t, "a", Band::Normal);
    assert!(pull(&*t, "b", 1, SOON).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn settled_is_over_and_dropped_comes_back() {
    let t = embedded();
    let job = offer(&*t, "a", Band::Normal);
    drop(pull(&*t, "a", 1, SOON).await);
    let again = pull(&*t, "a", 1, SOON).await.remove(0);
    assert_eq!(again.offer().job, job);
    again.settle();
    assert!(pull(&*t, "a", 1, HOLD * 2).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_silent_delivery_is_delivered_again_and_an_extended_one_is_not() {
    let t = embedded();
    offer(&*t, "a", Band::Normal);
    let held = pull(&*t, "a", 1, SOON).await.remove(0);
    tokio::time::advance(HOLD / 2).await;
    held.extend();
    assert!(pull(&*t, "a", 1, HOLD * 3 / 4).await.is_empty());
    let again = pull(&*t, "a", 1, HOLD).await;
    assert_eq!(again.len(), 1);
    // The one that lost it can no longer put it back or hold it.
    drop(held);
    assert!(pull(&*t, "a", 1, SOON).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn withdrawn_is_not_delivered_and_a_running_one_is_told() {
    let t = embedded();
    let waiting = offer(&*t, "a", Band::Normal);
    t.withdraw(waiting, Token(1));
    assert!(pull(&*t, "a", 1, SOON).await.is_empty());
    let running = offer(&*t, "a", Band::Normal);
    let held = pull(&*t, "a", 1, SOON).await.remove(0);
    t.withdraw(running, Token(1));
    assert!(held.cancelled().is_cancelled());
    drop(held);
    assert!(pull(&*t, "a", 1, HOLD * 2).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_best_rank_gets_the_job_and_a_pull_that_left_does_not_swallow_it() {
    let t = embedded();
    let lanes = [lane("a")];
    let worse = t.pull(&lanes, 1, HOLD, 5);
    let better = t.pull(&lanes, 1, HOLD, 1);
    tokio::pin!(worse, better);
    assert!(futures_util::poll!(&mut worse).is_pending());
    assert!(futures_util::poll!(&mut better).is_pending());
    offer(&*t, "a", Band::Normal);
    let first = better.await;
    assert_eq!(first.len(), 1);
    offer(&*t, "a", Band::Normal);
    assert_eq!(worse.await.len(), 1);
}
