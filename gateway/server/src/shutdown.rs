//! When the process ends: SIGTERM or SIGINT starts a drain, a second signal ends it.
//!
//! Two stages, because what drains still needs what serves it: first the listeners drain, then the tailer and the
//! admin endpoint stop.

use tokio_util::sync::CancellationToken;

/// The two stages of the end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shutdown {
    /// Cancelled first: no new work, finish what is in flight.
    pub(crate) drain: CancellationToken,
    /// Cancelled when everything is drained: the rest may stop.
    pub(crate) stop: CancellationToken,
}

impl Shutdown {
    /// Starts listening for signals.
    pub(crate) fn on_signals() -> std::io::Result<Shutdown> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = Shutdown::default();
        let drain = shutdown.drain.clone();
        tokio::spawn(async move {
            let mut next = async || {
                tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                }
            };
            let name = next().await;
            tracing::info!(signal = name, "draining: no new connections, requests in flight finish");
            drain.cancel();
            let name = next().await;
            tracing::warn!(signal = name, "second signal: leaving at once");
            std::process::exit(1);
        });
        Ok(shutdown)
    }
}
