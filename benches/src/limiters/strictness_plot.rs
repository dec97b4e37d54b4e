//! The plot of worst over-admission and worst shortfall, two bars per limiter.
//!
//! Decides how it looks; the strictness measurement hands it the outcomes.

use super::figures::worst;
use super::strictness::Outcome;
use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

const EXCESS: RGBColor = RGBColor(213, 94, 0);
const SHORTFALL: RGBColor = RGBColor(0, 90, 180);

/// Draws the plot to a file.
pub(super) fn draw(outcomes: &[Outcome], file: &Path) -> Result<()> {
    let mut contenders: Vec<&str> = Vec::new();
    for outcome in outcomes {
        if !contenders.contains(&outcome.contender) {
            contenders.push(outcome.contender);
        }
    }
    let root = SVGBackend::new(file, (960, 430)).into_drawing_area();
    root.fill(&WHITE)?;
    let rows = contenders.len() as f64;
    // Names stand left of -105; bars go from -100 to 100, with room for their figures.
    let mut chart = ChartBuilder::on(&root)
        .caption(
            "Worst over any pattern, limit and window, in % of the limit",
            ("sans-serif", 18),
        )
        .margin(12)
        .build_cartesian_2d(-235.0_f64..125.0, (rows + 1.0)..-0.9)?;
    let font = |size: u32, at: HPos| {
        ("sans-serif", size)
            .into_text_style(&root)
            .pos(Pos::new(at, VPos::Center))
    };
    for tick in [-100.0, -50.0, 0.0, 50.0, 100.0] {
        let style = if tick == 0.0 {
            BLACK.stroke_width(2)
        } else {
            RGBColor(220, 220, 220).stroke_width(1)
        };
        chart.draw_series([PathElement::new([(tick, -0.1), (tick, rows)], style)])?;
        let label = format!("{:.0} %", f64::abs(tick));
        chart.draw_series([Text::new(label, (tick, rows + 0.3), font(14, HPos::Center))])?;
    }
    let headings = [
        (
            "shortfall: refused although there was room",
            -3.0,
            HPos::Right,
            SHORTFALL,
        ),
        ("over-admission", 3.0, HPos::Left, EXCESS),
    ];
    for (heading, x, at, colour) in headings {
        chart.draw_series([Text::new(heading.to_owned(), (x, -0.5), font(15, at).color(&colour))])?;
    }
    for (row, contender) in (0_u32..).zip(contenders) {
        let y = f64::from(row);
        let of = |figure: fn(&Outcome) -> u64| {
            let chosen = outcomes.iter().filter(|outcome| outcome.contender == contender);
            worst(chosen, figure).map_or(0.0, |worst| worst.percent)
        };
        let (excess, shortfall) = (of(|outcome| outcome.excess), of(|outcome| outcome.shortfall));
        chart.draw_series([
            Rectangle::new([(0.0, y + 0.2), (excess, y + 0.8)], EXCESS.filled()),
            Rectangle::new([(-shortfall, y + 0.2), (0.0, y + 0.8)], SHORTFALL.filled()),
        ])?;
        chart.draw_series([
            Text::new(contender.to_owned(), (-234.0, y + 0.5), font(15, HPos::Left)),
            Text::new(format!("{excess:.1} %"), (excess + 2.0, y + 0.5), font(14, HPos::Left)),
            Text::new(
                format!("{shortfall:.1} %"),
                (-shortfall - 2.0, y + 0.5),
                font(14, HPos::Right),
            ),
        ])?;
    }
    Ok(())
}
