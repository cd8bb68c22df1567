//! What is asked of the engine without changing anything.

use std::sync::Arc;

use pullyard_schemas::JobId;
use pullyard_schemas::job::Job;
use tokio::sync::oneshot;

use super::commit::Ack;
use super::handle::{Page, View};
use super::lanes::{LaneStats, Stats};
use super::turn::Engine;

impl Engine {
    /// What is seen may not be on disk yet, so the answer travels with the group.
    pub(super) fn look(&mut self, id: JobId, view: oneshot::Sender<Option<View>>) {
        match self.view(id) {
            Some(found) => self.group.acks.push(Ack::Viewed(view, found)),
            None => drop(view.send(None)),
        }
    }

    /// Newest first.
    pub(super) fn list(&self, page: &Page) -> Vec<Arc<Job>> {
        let takes = |job: &Job| page.before.is_none_or(|before| job.id < before) && (page.takes)(job);
        let mut ids: Vec<JobId> = self.jobs.values().filter(|live| takes(&live.job)).map(|live| live.job.id).collect();
        if ids.len() > page.limit {
            // The newest `limit`, without sorting a million.
            let at = ids.len() - page.limit;
            ids.select_nth_unstable(at);
            ids.drain(..at);
        }
        let recent = self.recent.values().filter(|job| takes(job)).cloned();
        let mut jobs: Vec<Arc<Job>> = ids.iter().filter_map(|id| self.jobs.get(id)).map(|live| Arc::new(live.job.clone())).collect();
        jobs.extend(recent);
        jobs.sort_by_key(|job| std::cmp::Reverse(job.id));
        jobs.truncate(page.limit);
        jobs
    }

    pub(super) fn stats(&self) -> Stats {
        let mut lanes: Vec<LaneStats> = self
            .lanes
            .iter()
            .map(|(lane, state)| LaneStats {
                lane: lane.clone(),
                waiting: self.schedule.waiting(lane),
                offered: state.offered,
                running: state.running,
                slots: state.slots,
                alive: state.alive,
            })
            .collect();
        lanes.sort_by(|a, b| a.lane.cmp(&b.lane));
        Stats { live: self.jobs.len(), waiting_bytes: self.schedule.bytes(), counters: self.counters, lanes }
    }
}
