//! A batch as clients see it.

use pullyard_schemas::Timestamp;
use serde_json::{Value, json};

use crate::batch::{Progress, Status};
use crate::http::shown::Time;

/// In OpenAI's shape; what only Pullyard knows is under its own name.
pub(super) fn shown(progress: &Progress) -> Value {
    let batch = &progress.batch;
    let seconds = |at: Timestamp| at.0 / 1000;
    let at = |status: Status| batch.times.get(&status).copied().map(seconds);
    let tokens = batch.tokens;
    let errors = (!batch.errors.is_empty()).then(|| json!({"object": "list", "data": batch.errors}));
    // They are there as soon as they are whole.
    let files = batch.status.is_over();
    let mut shown = json!({
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model,
        "errors": errors,
        "input_file_id": batch.input_file,
        "completion_window": batch.completion_window,
        "status": batch.status,
        "output_file_id": (files && batch.has_output).then_some(&batch.output_file),
        "error_file_id": (files && batch.has_errors).then_some(&batch.error_file),
        "created_at": seconds(batch.created_at),
        "in_progress_at": at(Status::InProgress),
        "expires_at": seconds(batch.expires_at),
        "finalizing_at": at(Status::Finalizing),
        "completed_at": at(Status::Completed),
        "failed_at": at(Status::Failed),
        "expired_at": at(Status::Expired),
        "cancelling_at": at(Status::Cancelling),
        "cancelled_at": at(Status::Cancelled),
        "request_counts": batch.counts,
        "usage": {
            "input_tokens": tokens.input,
            "input_tokens_details": {"cached_tokens": tokens.cached},
            "output_tokens": tokens.output,
            "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
            "total_tokens": tokens.input + tokens.output,
        },
        "metadata": batch.metadata,
    });
    shown["pullyard"] = json!({
        "band": batch.band,
        "lines_per_second": progress.lines_per_second,
        "expected_end": progress.expected_end.map(Time),
        "cost_usd": tokens.cost_nanos as f64 / 1e9,
    });
    shown
}
