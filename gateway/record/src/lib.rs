//! What is recorded of decisions: every metric name, and its registry.
