//! The plot of nanoseconds per request by number of subjects: four panels, by rules and spread, one thread.
//!
//! Decides how it looks and which contenders it leaves to the tables; the cost measurement hands it the figures.

use super::contender::Rules;
use super::cost::Cost;
use super::draws::Spread;
use super::figures::{median, thousands};
use super::window_plot::{colour, legend};
use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

const SHOWN: [&str; 7] = [
    "portcullis, time given",
    "portcullis, reads the clock",
    "governor, by u64",
    "two-counter window",
    "exact log",
    "fixed window",
    "memory floor, atomic",
];

/// Draws the plot to a file.
pub(super) fn draw(costs: &[Cost], sizes: &[u32], file: &Path) -> Result<()> {
    let root = SVGBackend::new(file, (960, 860)).into_drawing_area();
    root.fill(&WHITE)?;
    let (charts, legend_area) = root.split_vertically(750);
    let panels = charts.split_evenly((2, 2));
    let settings = [
        (Rules::Key, Spread::Uniform, "one rule, uniform"),
        (Rules::Key, Spread::Zipf, "one rule, zipf"),
        (Rules::Three, Spread::Uniform, "three rules, uniform"),
        (Rules::Three, Spread::Zipf, "three rules, zipf"),
    ];
    for (area, (rules, spread, title)) in panels.iter().zip(settings) {
        let chosen = costs.iter().filter(|cost| {
            (cost.rules, cost.spread, cost.threads) == (rules, spread, 1) && SHOWN.contains(&cost.contender.as_str())
        });
        panel(area, title, sizes, &chosen.collect::<Vec<_>>())?;
    }
    legend(&legend_area, SHOWN.iter().map(|name| (*name, colour(name))))
}

/// Both axes are logarithmic; their lines and labels are drawn by hand, at numbers that are easy to read.
fn panel(area: &DrawingArea<SVGBackend<'_>, Shift>, title: &str, sizes: &[u32], costs: &[&Cost]) -> Result<()> {
    let points: Vec<(&Cost, f64, f64)> = costs
        .iter()
        .map(|cost| {
            (
                *cost,
                f64::from(cost.keys).log10(),
                median(&cost.nanoseconds).max(1.0).log10(),
            )
        })
        .collect();
    let low = points.iter().map(|point| point.2).fold(f64::MAX, f64::min) - 0.08;
    let high = points.iter().map(|point| point.2).fold(0.0, f64::max) + 0.08;
    let [left, right] = [sizes.first(), sizes.last()].map(|size| f64::from(size.copied().unwrap_or(1)).log10());
    let room = (right - left) / 6.0;
    let base = low - (high - low) / 8.0;
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{title}: ns per request"), ("sans-serif", 17))
        .margin(12)
        .build_cartesian_2d(left - 1.5 * room..right + 0.9 * room, base..high)?;
    let font = |at: HPos, across: VPos| ("sans-serif", 14).into_text_style(area).pos(Pos::new(at, across));
    let grey = RGBColor(215, 215, 215).stroke_width(1);
    for power in 0..6 {
        for digit in [1, 2, 5] {
            let nanoseconds = digit * 10_u32.pow(power);
            let y = f64::from(nanoseconds).log10();
            if (low..high).contains(&y) {
                chart.draw_series([PathElement::new(
                    [(left - room / 2.0, y), (right + room / 2.0, y)],
                    grey,
                )])?;
                let at = (left - 0.6 * room, y);
                let label = Text::new(nanoseconds.to_string(), at, font(HPos::Right, VPos::Center));
                chart.draw_series([label])?;
            }
        }
    }
    for size in sizes {
        let x = f64::from(*size).log10();
        chart.draw_series([PathElement::new([(x, low), (x, high)], grey)])?;
        let label = format!("{} subjects", thousands(*size));
        let at = (x, low - (high - low) / 40.0);
        chart.draw_series([Text::new(label, at, font(HPos::Center, VPos::Top))])?;
    }
    for name in SHOWN {
        let line = points.iter().filter(|point| point.0.contender == name);
        let line: Vec<(f64, f64)> = line.map(|&(_, x, y)| (x, y)).collect();
        chart.draw_series(LineSeries::new(line.iter().copied(), colour(name).stroke_width(2)))?;
        chart.draw_series(line.iter().map(|&at| Circle::new(at, 4, colour(name).filled())))?;
    }
    Ok(())
}
