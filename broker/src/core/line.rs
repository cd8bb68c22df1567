//! One key's waiting jobs in their order: a sorted list in chunks, so that a million cost forty bytes each, and so that
//! a job in the middle is found, counted and removed without touching the others.

use std::collections::VecDeque;

use pullyard_schemas::{JobId, Seq, Timestamp};

/// Where a job stands among its key's: by age, and where that is the same by submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Decides first, so that a job that comes back from a failed attempt does not go to the end.
    pub queued_at: Timestamp,
    pub seq: Seq,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) place: Place,
    pub(super) job: JobId,
    pub(super) size: u64,
}

/// Items to which a chunk grows at the end; one in the middle may have twice as many before it is cut in two.
const CHUNK: usize = if cfg!(test) { 8 } else { 512 };

/// No chunk is empty.
#[derive(Debug, Default)]
pub(super) struct Line {
    chunks: VecDeque<VecDeque<Item>>,
    len: usize,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn first(&self) -> Option<&Item> {
        self.chunks.front()?.front()
    }

    /// `false` when this place is taken.
    pub(super) fn insert(&mut self, item: Item) -> bool {
        let at_end = self.chunks.back().and_then(VecDeque::back).is_none_or(|last| last.place < item.place);
        if at_end {
            match self.chunks.back_mut() {
                Some(last) if last.len() < CHUNK => last.push_back(item),
                Some(_) | None => self.chunks.push_back(VecDeque::from([item])),
            }
        } else {
            let chunk = self.chunk_of(item.place);
            let Some(items) = self.chunks.get_mut(chunk) else { return false };
            let Err(at) = items.binary_search_by_key(&item.place, |i| i.place) else { return false };
            items.insert(at, item);
            if items.len() > 2 * CHUNK {
                let tail = items.split_off(CHUNK);
                self.chunks.insert(chunk + 1, tail);
            }
        }
        self.len += 1;
        true
    }

    pub(super) fn remove(&mut self, place: Place) -> Option<Item> {
        let chunk = self.chunk_of(place);
        let items = self.chunks.get_mut(chunk)?;
        let at = items.binary_search_by_key(&place, |i| i.place).ok()?;
        let item = items.remove(at);
        if items.is_empty() {
            self.chunks.remove(chunk);
        }
        self.len -= 1;
        item
    }

    /// How many stand before this place; `None` when nobody stands there.
    pub(super) fn rank(&self, place: Place) -> Option<usize> {
        let chunk = self.chunk_of(place);
        self.chunks.get(chunk)?.binary_search_by_key(&place, |i| i.place).ok()?;
        Some(self.before(place))
    }

    /// How many stand before this place, whether or not somebody stands there.
    pub(super) fn before(&self, place: Place) -> usize {
        let chunk = self.chunk_of(place);
        let Some(items) = self.chunks.get(chunk) else { return 0 };
        let at = items.partition_point(|item| item.place < place);
        // Counted from the nearer end: most who ask have just arrived.
        let before = if chunk < self.chunks.len() / 2 {
            self.chunks.iter().take(chunk).map(VecDeque::len).sum()
        } else {
            self.len - self.chunks.iter().skip(chunk).map(VecDeque::len).sum::<usize>()
        };
        before + at
    }

    /// The chunk that has this place, or would have it.
    fn chunk_of(&self, place: Place) -> usize {
        self.chunks.partition_point(|items| items.front().is_some_and(|first| first.place <= place)).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_sorted_map_that_counts(steps in prop::collection::vec((any::<bool>(), 0u64..150), 0..600)) {
            let (mut line, mut map) = (Line::default(), BTreeMap::new());
            for (add, n) in steps {
                let place = Place { queued_at: Timestamp(n / 3), seq: Seq(n) };
                if add {
                    let item = Item { place, job: JobId(uuid::Uuid::from_u128(u128::from(n))), size: n };
                    prop_assert_eq!(line.insert(item), map.insert(place, n).is_none());
                } else {
                    prop_assert_eq!(line.before(place), map.range(..place).count());
                    prop_assert_eq!(line.rank(place), map.contains_key(&place).then(|| map.range(..place).count()));
                    prop_assert_eq!(line.remove(place).map(|i| i.size), map.remove(&place));
                }
                prop_assert_eq!(line.len(), map.len());
                prop_assert_eq!(line.first().map(|i| i.size), map.values().next().copied());
            }
        }
    }
}
