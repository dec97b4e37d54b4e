//! The plot of how many gateways refuse a revoked key by how long after the control API's answer, quiet and under load.
//!
//! Decides how it looks; the measurement hands it the latencies.

use super::latency::Revocations;
use super::quantiles::Latencies;
use anyhow::Result;
use plotters::prelude::*;
use std::path::Path;

const QUIET: RGBColor = RGBColor(0, 90, 180);
const LOADED: RGBColor = RGBColor(213, 94, 0);

/// Draws the plot to a file.
pub(crate) fn draw(quiet: &Revocations, loaded: &Revocations, file: &Path) -> Result<()> {
    let root = SVGBackend::new(file, (960, 480)).into_drawing_area();
    root.fill(&WHITE)?;
    let right = quiet.last.max().max(loaded.last.max()).max(1.0) * 1.05;
    let mut chart = ChartBuilder::on(&root)
        .caption(
            "Gateways that refuse a revoked key, by time since the control API's answer",
            ("sans-serif", 18),
        )
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..right, 0.0_f64..100.0)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("milliseconds")
        .y_desc("% of gateways and revocations")
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 14))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .draw()?;
    for (name, latencies, colour) in [
        ("each gateway, quiet", &quiet.each, QUIET.stroke_width(3)),
        ("the last gateway, quiet", &quiet.last, QUIET.mix(0.5).stroke_width(2)),
        ("each gateway, under load", &loaded.each, LOADED.stroke_width(3)),
        (
            "the last gateway, under load",
            &loaded.last,
            LOADED.mix(0.5).stroke_width(2),
        ),
    ] {
        chart
            .draw_series(LineSeries::new(steps(latencies), colour))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 26, y)], colour));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .margin(16)
        .legend_area_size(32)
        .label_font(("sans-serif", 14))
        .border_style(BLACK.mix(0.3))
        .background_style(WHITE)
        .draw()?;
    root.present()?;
    Ok(())
}

/// Milliseconds, and the percentage that took no longer.
fn steps(latencies: &Latencies) -> Vec<(f64, f64)> {
    let share = 100.0 / f64::from(u32::try_from(latencies.count()).unwrap_or(u32::MAX));
    let mut percent = 0.0;
    let mut steps = vec![(0.0, 0.0)];
    for &milliseconds in latencies.sorted() {
        steps.push((milliseconds, percent));
        percent += share;
        steps.push((milliseconds, percent));
    }
    steps
}
