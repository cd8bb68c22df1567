//! What many jobs have in common is kept once: of a million waiting jobs, most name the same few models and reasons.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use pullyard_schemas::job::{Decision, Spec};

/// Distinct values that are remembered. There are about as many as there are models, keys and classes.
const MOST: usize = 4_096;

#[derive(Debug, Default)]
pub(super) struct Interner {
    names: Known<str>,
    targets: Known<[Arc<str>]>,
    decisions: Known<Decision>,
}

#[derive(Debug)]
struct Known<T: ?Sized> {
    all: HashSet<Arc<T>>,
    /// Most jobs are like the one before, and comparing costs less than hashing.
    last: Option<Arc<T>>,
}

impl Interner {
    /// Replaces what the spec has in common with earlier ones, unless somebody else holds it already.
    pub(super) fn share(&mut self, spec: &mut Arc<Spec>) {
        let Some(spec) = Arc::get_mut(spec) else { return };
        self.targets.share(&mut spec.targets);
        self.decisions.share(&mut spec.decision);
        if let Some(line) = &mut spec.batch {
            self.names.share(&mut line.id);
        }
        for name in [&mut spec.labels.key, &mut spec.labels.class].into_iter().flatten() {
            self.names.share(name);
        }
    }
}

impl<T: ?Sized> Default for Known<T> {
    fn default() -> Self {
        Self { all: HashSet::new(), last: None }
    }
}

impl<T: ?Sized + Hash + Eq> Known<T> {
    fn share(&mut self, value: &mut Arc<T>) {
        match &self.last {
            Some(last) if *last == *value => *value = last.clone(),
            Some(_) | None => {
                if let Some(same) = self.all.get(&**value) {
                    *value = same.clone();
                } else {
                    if self.all.len() == MOST {
                        self.all.clear();
                    }
                    self.all.insert(value.clone());
                }
                self.last = Some(value.clone());
            }
        }
    }
}
