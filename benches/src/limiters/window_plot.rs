//! The plot of admissions in the sliding window over time, one line per limiter, against the limit.
//!
//! Decides how it looks; the strictness measurement hands it the points.

use super::strictness::{TRACE_LIMIT, Trace};
use anyhow::Result;
use plotters::prelude::*;
use std::path::Path;

/// The colour of each contender, told apart by readers with any sight.
pub(super) fn colour(contender: &str) -> RGBColor {
    match contender {
        "governor, half burst, half rate" => RGBColor(240, 190, 60),
        "portcullis, reads the clock" => RGBColor(86, 180, 233),
        name if name.starts_with("portcullis") => RGBColor(0, 90, 180),
        name if name.starts_with("governor") => RGBColor(213, 94, 0),
        "two-counter window" => RGBColor(0, 158, 115),
        "fixed window" => RGBColor(204, 121, 167),
        "exact log" => RGBColor(120, 120, 120),
        _ => BLACK,
    }
}

/// Draws the plot to a file.
pub(super) fn draw(traces: &[Trace], file: &Path) -> Result<()> {
    let root = SVGBackend::new(file, (960, 560)).into_drawing_area();
    root.fill(&WHITE)?;
    let (chart_area, legend_area) = root.split_vertically(450);
    let caption = format!("Admissions in the sliding window: late burst, then a flood, {TRACE_LIMIT} per minute");
    let mut chart = ChartBuilder::on(&chart_area)
        .caption(caption, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(56)
        .build_cartesian_2d(0.8_f64..3.7, 0.0_f64..220.0)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("time in windows (minutes); the clock's windows begin at whole numbers")
        .y_desc("admitted in the minute before")
        .y_labels(6)
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 14))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .draw()?;
    let limit = f64::from(TRACE_LIMIT);
    chart.draw_series(DashedLineSeries::new(
        [(0.8, limit), (3.7, limit)],
        6,
        5,
        BLACK.stroke_width(2),
    ))?;
    // The widest first, so that a line on top of another leaves both to be seen.
    let width = |contender: &str| match contender {
        "exact log" => 6,
        "governor" => 5,
        "portcullis" => 3,
        _ => 2,
    };
    let mut ordered: Vec<&Trace> = traces.iter().collect();
    ordered.sort_by_key(|trace| std::cmp::Reverse(width(trace.contender)));
    for trace in ordered {
        let style = colour(trace.contender).stroke_width(width(trace.contender));
        chart.draw_series(LineSeries::new(trace.points.iter().copied(), style))?;
    }
    let entries = traces.iter().map(|trace| (trace.contender, colour(trace.contender)));
    legend(&legend_area, entries.chain([("the limit (dashed)", BLACK)]))
}

/// Draws names beside strokes of their colours, three to a row.
pub(super) fn legend<'a>(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    entries: impl Iterator<Item = (&'a str, RGBColor)>,
) -> Result<()> {
    let (mut x, mut y) = (70, 18);
    for (name, colour) in entries {
        area.draw(&PathElement::new([(x, y), (x + 30, y)], colour.stroke_width(4)))?;
        area.draw(&Text::new(name.to_owned(), (x + 38, y - 8), ("sans-serif", 15)))?;
        x += 290;
        if x > 700 {
            (x, y) = (70, y + 28);
        }
    }
    Ok(())
}
