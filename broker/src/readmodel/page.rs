//! Jobs' rows in pages: those submitted within the same moment share a few rows of sled, because what a row costs there
//! is mostly that it is one. A page is lines; a later line of the same job replaces an earlier one.

use std::collections::BTreeMap;

use pullyard_schemas::JobId;

use super::row::Row;
use super::store::Error;

/// What jobs' keys begin with.
pub(super) const PREFIX: u8 = b'j';
/// A page that has grown so large is left alone; the next line begins another.
const FULL: usize = 8 << 10;
/// Ids begin with the milliseconds of their submission; the last bits of these are left out, so a moment is 64 ms.
const MOMENT: u64 = 63;

/// The beginning of the keys of one moment's pages.
pub(super) type Moment = [u8; 7];

/// The moment in which a job was submitted.
pub(super) fn moment(id: JobId) -> Moment {
    let mut ms = [0; 8];
    ms[2..].copy_from_slice(&id.0.as_bytes()[..6]);
    moment_at(u64::from_be_bytes(ms))
}

/// The moment of this time, in milliseconds.
pub(super) fn moment_at(ms: u64) -> Moment {
    let mut key = [PREFIX; 7];
    key[1..].copy_from_slice(&(ms & !MOMENT).to_be_bytes()[2..]);
    key
}

/// The pages that a batch changes, last first known as they are in sled.
#[derive(Debug, Default)]
pub(super) struct Pages(BTreeMap<Moment, (u16, Vec<u8>)>);

impl Pages {
    /// Adds a line about a job to the last page of its moment.
    pub(super) fn add(&mut self, db: &sled::Db, batch: &mut sled::Batch, id: JobId, row: &Row<'_>) -> Result<(), Error> {
        let moment = moment(id);
        let page = match self.0.entry(moment) {
            std::collections::btree_map::Entry::Occupied(page) => page.into_mut(),
            std::collections::btree_map::Entry::Vacant(page) => page.insert(last_page(db, moment)?),
        };
        if page.1.len() >= FULL {
            batch.insert(key(moment, page.0).as_slice(), std::mem::take(&mut page.1));
            page.0 = page.0.saturating_add(1);
        }
        serde_json::to_writer(&mut page.1, row)?;
        page.1.push(b'\n');
        Ok(())
    }

    pub(super) fn write(self, batch: &mut sled::Batch) {
        for (moment, (number, page)) in self.0 {
            batch.insert(key(moment, number).as_slice(), page);
        }
    }
}

fn last_page(db: &sled::Db, moment: Moment) -> Result<(u16, Vec<u8>), Error> {
    let Some((key, page)) = db.scan_prefix(moment).next_back().transpose()? else { return Ok((0, Vec::new())) };
    let number = key.get(7..9).and_then(|n| n.try_into().ok()).map_or(0, u16::from_be_bytes);
    Ok((number, page.to_vec()))
}

fn key(moment: Moment, number: u16) -> [u8; 9] {
    let mut key = [0; 9];
    key[..7].copy_from_slice(&moment);
    key[7..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The rows of a moment's pages, which must come in order.
pub(super) fn rows<'a>(pages: impl Iterator<Item = &'a [u8]>) -> Result<BTreeMap<JobId, Row<'a>>, Error> {
    let mut rows = BTreeMap::new();
    for line in pages.flat_map(|page| page.split(|b| *b == b'\n')).filter(|line| !line.is_empty()) {
        let row: Row<'a> = serde_json::from_slice(line)?;
        if row.rests() {
            rows.insert(row.id, row);
        } else {
            rows.remove(&row.id);
        }
    }
    Ok(rows)
}
