//! Lanes, reports and output between broker and worker.
