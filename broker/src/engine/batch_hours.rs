//! What batch jobs may have outside their windows, and what is taken back from them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pullyard_schemas::job::{Job, State};
use pullyard_schemas::{Band, JobId, Lane, Timestamp, Token};

use super::timers::Timer;
use super::turn::Engine;
use crate::core::batch_hours::Gate;
use crate::core::schedule::idle_room;

/// How long a clock that was set may go unnoticed.
const LOOK: Duration = Duration::from_secs(30);

/// Which lanes are served by a server that also serves a lane; one that is not named has its servers to itself.
pub(super) type Beside = HashMap<Lane, Arc<[Lane]>>;

impl Engine {
    /// Looks at every lane with batch jobs, and again when a window opens or closes.
    pub(super) fn watch_batch_hours(&mut self, now: Timestamp) {
        if let Some(at) = self.batch_look.take() {
            self.timers.clear(at, JobId::NONE, Timer::BatchHours);
        }
        let with_batch = self.schedule.lanes().map(|(lane, _)| lane).filter(|lane| self.has_batch(lane));
        let lanes: Vec<Lane> = with_batch.cloned().collect();
        self.touched.extend(lanes);
        if let Some(change) = self.schedule.batch().next_change(now) {
            let at = change.min(now.after(LOOK));
            self.timers.set(at, JobId::NONE, Timer::BatchHours);
            self.batch_look = Some(at);
        }
    }

    fn has_batch(&self, lane: &Lane) -> bool {
        self.schedule.waiting_batch(lane) > 0 || self.lanes.get(lane).is_some_and(|state| state.batch > 0)
    }

    /// Where batch jobs have only what is idle, a change on one lane is one on all that share its servers.
    pub(super) fn with_lanes_beside(&self, lanes: &mut Vec<Lane>) {
        let beside: Vec<Lane> = lanes.iter().filter_map(|lane| self.beside.get(lane)).flat_map(|beside| beside.iter()).cloned().collect();
        lanes.extend(beside.into_iter().filter(|lane| self.has_batch(lane)));
        lanes.sort();
        lanes.dedup();
    }

    /// How many more batch jobs may be offered on a lane, as far as their hours say.
    pub(super) fn room_for_batch(&self, lane: &Lane, gate: Gate) -> usize {
        match gate {
            Gate::Open => usize::MAX,
            Gate::Shut => 0,
            Gate::Idle => {
                let (slots, busy) = self.load(lane);
                idle_room(slots, busy, self.schedule.batch().keep_free)
            }
        }
    }

    /// Slots that serve a lane, and what they and those beside them have to do.
    fn load(&self, lane: &Lane) -> (usize, usize) {
        let busy = |lane: &Lane| self.lanes.get(lane).map_or(0, |state| state.running + state.offered);
        let busy = self.beside.get(lane).map_or_else(|| busy(lane), |beside| beside.iter().map(busy).sum());
        (self.lanes.get(lane).map_or(0, |state| state.slots), busy)
    }

    /// Takes back offered batch jobs that have to wait again, the newest first, so that no worker begins them when a person
    /// comes or a window has closed.
    pub(super) fn yield_batch(&mut self, lane: &Lane, gate: Gate, now: Timestamp) {
        let offered = self.lanes.get(lane).map_or(0, |state| state.batch);
        let too_many = match gate {
            Gate::Open => return,
            Gate::Shut => offered,
            Gate::Idle => {
                let (slots, busy) = self.load(lane);
                offered.min((busy + self.schedule.batch().keep_free).saturating_sub(slots))
            }
        };
        if too_many == 0 {
            return;
        }
        let of_lane = self.offered.iter().filter(|(_, offered)| offered.batch_since.is_some() && offered.lane == *lane);
        let mut back: Vec<(JobId, Token)> = of_lane.map(|(id, offered)| (*id, offered.token)).collect();
        back.sort_unstable_by_key(|(id, _)| std::cmp::Reverse(*id));
        back.truncate(too_many);
        self.take_these_back(back, now);
    }

    /// When a job may start that would start after this wait if it had no time of its own and no hours.
    pub(super) fn by_the_clock(&self, job: &Job, ahead: usize, wait: Duration, now: Timestamp) -> Option<Duration> {
        if self.offered.contains_key(&job.id) {
            // Its time has come.
            return Some(wait);
        }
        let from = match job.state {
            // What is there now will have been done by then, or it is what it waits for.
            State::Deferred { until } => wait.max(until.since(now)),
            State::Queued | State::Running { .. } | State::Parked { .. } | State::Ended(_) => wait,
        };
        let hours = self.schedule.batch();
        if job.spec.band != Band::Batch || hours.windows.is_empty() {
            return Some(from);
        }
        if hours.gate(now) == Gate::Idle && from.is_zero() && self.room_for_batch(&job.lane(), Gate::Idle) > ahead {
            return Some(from);
        }
        match job.state {
            // The clock runs outside of windows too while it waits for its own time.
            State::Deferred { until } if until.since(now) >= wait => {
                let then = now.max(until);
                hours.stretch(then, Duration::ZERO).map(|more| then.since(now) + more)
            }
            _ => hours.stretch(now, wait),
        }
    }
}
