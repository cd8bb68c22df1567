//! What sort of model a request wants.
