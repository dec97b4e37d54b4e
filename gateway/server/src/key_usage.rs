//! What keys were used for, on its way to the store: reported every so often, and once more after the last request.
//!
//! Decides where reports go. What is counted and how a report is repeated is the record crate's business.

use crate::wiring::Engine;
use async_trait::async_trait;
use portcullis_config::Settings;
use portcullis_record::Metrics;
use portcullis_record::usage::{ReporterParts, SinkError, UsageBatch, UsageReporter, UsageSink};
use portcullis_store::{Store, StoreError};
use std::sync::Arc;

/// Starts reporting what is decided by `engine`.
pub(crate) fn report(
    settings: &Settings,
    engine: &Engine,
    sink: Arc<dyn UsageSink>,
    metrics: &Arc<Metrics>,
) -> UsageReporter {
    UsageReporter::start(ReporterParts {
        meter: Arc::clone(&engine.usage),
        sink,
        metrics: Arc::clone(metrics),
        clock: engine.clock.clone(),
        interval: settings.gateway.usage_interval,
    })
}

/// The store of this process.
pub(crate) struct IntoStore(pub(crate) Store);

#[async_trait]
impl UsageSink for IntoStore {
    async fn send(&self, batch: &UsageBatch) -> Result<(), SinkError> {
        // Ids are made by this process: 32 hexadecimal digits.
        let id = u128::from_str_radix(&batch.batch_id, 16).map_err(|error| SinkError::Refused(error.to_string()))?;
        match self.0.record_usage_of_all(id.to_be_bytes(), &batch.rows).await {
            Ok(_) => Ok(()),
            Err(error @ StoreError::Unavailable(_)) => Err(SinkError::Unanswered(error.to_string())),
            Err(error) => Err(SinkError::Refused(error.to_string())),
        }
    }
}
