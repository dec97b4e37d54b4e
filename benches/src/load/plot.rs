//! The plot of how much of bare nginx' work for a core every server does.
//!
//! Decides how it looks; the sections hand over what was measured.

use super::rotation::Measured;
use crate::limiters::figures::span;
use anyhow::Result;
use plotters::prelude::*;
use std::path::Path;

const OWN: RGBColor = RGBColor(0, 90, 180);
const OTHERS: RGBColor = RGBColor(150, 150, 150);
const ROW: u32 = 26;
const FONT: &str = "sans-serif";

/// Bars of requests per core-second against the base, best first, with the lowest and the highest.
pub(crate) fn bars(title: &str, measured: &[Measured], own: &[String], file: &Path) -> Result<()> {
    let mut rows: Vec<(&str, [f64; 3])> = measured
        .iter()
        .map(|target| {
            let ratios: Vec<f64> = target.slices.iter().map(|slice| slice.core_ratio).collect();
            // The base has no ratio to itself.
            let ratios = if ratios.iter().all(|ratio| ratio.is_nan()) {
                vec![1.0]
            } else {
                ratios
            };
            (target.name.as_str(), span(&ratios))
        })
        .collect();
    rows.sort_by(|left, right| left.1[1].total_cmp(&right.1[1]));
    let count = u32::try_from(rows.len())?;
    let right = rows.iter().map(|(_, [_, _, high])| *high).fold(1.0, f64::max) * 1.08;
    let root = SVGBackend::new(file, (960, 110 + ROW * count)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, (FONT, 18))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(210)
        .build_cartesian_2d(0.0..right, 0.0..f64::from(count))?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .y_labels(0)
        .light_line_style(TRANSPARENT)
        .x_desc("requests per core-second, bare nginx = 1")
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 14))
        .draw()?;
    for (index, (name, [low, middle, high])) in (0_u32..).zip(&rows) {
        let at = f64::from(index) + 0.5;
        let is_own = own.iter().any(|own| name.starts_with(own.as_str()));
        let colour = if is_own { OWN } else { OTHERS };
        let bar = Rectangle::new([(0.0, at - 0.34), (*middle, at + 0.34)], colour.mix(0.75).filled());
        chart.draw_series([bar])?;
        chart.draw_series([PathElement::new([(*low, at), (*high, at)], BLACK.stroke_width(2))])?;
        let (x, y) = chart.backend_coord(&(0.0, at));
        let style = TextStyle::from((FONT, 14).into_font())
            .color(&BLACK)
            .pos(plotters::style::text_anchor::Pos::new(
                plotters::style::text_anchor::HPos::Right,
                plotters::style::text_anchor::VPos::Center,
            ));
        root.draw(&Text::new((*name).to_owned(), (x - 8, y), style))?;
    }
    root.present()?;
    Ok(())
}
