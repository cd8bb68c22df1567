//! Old jobs, idempotency keys and usage, folded from the log and rebuilt when lost.
