//! What many jobs have in common is kept once: of a million waiting jobs, most name the same few models and reasons.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use pullyard_schemas::job::{Decision, Spec};

/// Distinct values that are remembered. There are about as many as there are models, keys and classes.
const MOST: usize = 4_096;

#[derive(Debug, Default)]
pub(super) struct Interner {
    names: HashSet<Arc<str>>,
    targets: HashSet<Arc<[Arc<str>]>>,
    decisions: HashSet<Arc<Decision>>,
}

impl Interner {
    /// Replaces what the spec has in common with earlier ones, unless somebody else holds it already.
    pub(super) fn share(&mut self, spec: &mut Arc<Spec>) {
        let Some(spec) = Arc::get_mut(spec) else { return };
        share(&mut self.targets, &mut spec.targets);
        share(&mut self.decisions, &mut spec.decision);
        for name in [&mut spec.labels.key, &mut spec.labels.class].into_iter().flatten() {
            share(&mut self.names, name);
        }
    }
}

fn share<T: ?Sized + Hash + Eq>(known: &mut HashSet<Arc<T>>, value: &mut Arc<T>) {
    match known.get(&**value) {
        Some(same) => *value = same.clone(),
        None => {
            if known.len() == MOST {
                known.clear();
            }
            known.insert(value.clone());
        }
    }
}
