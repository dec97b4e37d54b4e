//! Benchmarks: what verification and limits cost.
