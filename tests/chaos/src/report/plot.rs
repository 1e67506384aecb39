//! The picture: throughput, what waits, and the faults, over one time. The same
//! drawing becomes pixels and SVG.

use std::path::Path;
use std::sync::Once;

use anyhow::{Context as _, Result, anyhow};
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use crate::history::{Fault, Micros};
use crate::run::Outcome;

const WIDTH: u32 = 1600;
const TOP: u32 = 320;
const MIDDLE: u32 = 190;
/// Of each kind of fault.
const LINE: u32 = 24;
/// Left of the axes, where kinds are named.
const LEFT: u32 = 190;
/// Points of a curve at most.
const POINTS: usize = 600;

const INK: RGBColor = RGBColor(38, 42, 48);
const GRID: RGBColor = RGBColor(226, 229, 233);
const EFFECTS: RGBColor = RGBColor(42, 110, 187);
const PUBLISHED: RGBColor = RGBColor(70, 76, 84);
const WAITING: RGBColor = RGBColor(150, 108, 30);

/// Curves over time, in steps of the same length.
pub(super) struct Series {
    /// Seconds in a step.
    step: f64,
    /// Messages published in a second.
    published: Vec<f64>,
    /// Effects that arrived in a second.
    effects: Vec<f64>,
    /// Messages that have no effect yet and are to have one, at the end of a step.
    waiting: Vec<f64>,
}

impl Series {
    pub(super) fn of(outcome: &Outcome) -> Self {
        let seconds = outcome.elapsed.as_secs() as usize + 1;
        let width = seconds.div_ceil(POINTS).max(1);
        let mut published = vec![0.0; seconds.div_ceil(width)];
        let mut effects = published.clone();
        let last = published.len() - 1;
        for (second, count) in outcome.published.iter().enumerate() {
            published[(second / width).min(last)] += *count as f64;
        }
        for effect in &outcome.history.effects {
            let second = (effect.at / 1_000_000) as usize;
            effects[(second / width).min(last)] += 1.0;
        }
        // A share of what is published is not to take effect.
        let sent = outcome.history.sent.len().max(1) as f64;
        let good = outcome.history.sent.values();
        let good = good.filter(|sent| sent.reason.is_none()).count() as f64 / sent;
        let mut left = 0.0;
        let waiting = published.iter().zip(&effects).map(|(published, effects)| {
            left += published * good - effects;
            f64::max(left, 0.0)
        });
        let waiting = waiting.collect();
        let step = width as f64;
        for curve in [&mut published, &mut effects] {
            curve.iter_mut().for_each(|count| *count /= step);
        }
        Self {
            step,
            published,
            effects,
            waiting,
        }
    }

    fn length(&self) -> f64 {
        self.step * self.effects.len() as f64
    }

    /// As points in the middle of their steps.
    fn points<'s>(&'s self, curve: &'s [f64]) -> impl Iterator<Item = (f64, f64)> + 's {
        let middle = |place: usize| (place as f64 + 0.5) * self.step;
        curve
            .iter()
            .enumerate()
            .map(move |(place, value)| (middle(place), *value))
    }
}

/// Draws it into a file.
pub(super) fn png(series: &Series, outcome: &Outcome, path: &Path) -> Result<()> {
    let (width, height) = (WIDTH, height(outcome));
    let mut pixels = vec![0; width as usize * height as usize * 3];
    {
        let backend = BitMapBackend::with_buffer(&mut pixels, (width, height));
        draw(backend.into_drawing_area(), series, outcome)?;
    }
    super::png::write(&pixels, (width, height), path)
}

/// Draws it as SVG.
pub(super) fn svg(series: &Series, outcome: &Outcome) -> Result<String> {
    let mut text = String::new();
    {
        let backend = SVGBackend::with_string(&mut text, (WIDTH, height(outcome)));
        draw(backend.into_drawing_area(), series, outcome)?;
    }
    Ok(text)
}

fn height(outcome: &Outcome) -> u32 {
    TOP + MIDDLE + kinds(outcome).len() as u32 * LINE + 100
}

/// The kinds that occurred, by family, with their colour.
fn kinds(outcome: &Outcome) -> Vec<(String, RGBColor)> {
    let rows = super::table::faults(outcome).into_iter();
    rows.map(|row| (row.kind, colour(row.family))).collect()
}

fn colour(family: &str) -> RGBColor {
    match family {
        "host" => RGBColor(200, 60, 52),
        "broker" => RGBColor(222, 130, 22),
        "store" => RGBColor(126, 74, 168),
        _ => RGBColor(46, 140, 92),
    }
}

fn draw<B>(
    root: DrawingArea<B, plotters::coord::Shift>,
    series: &Series,
    outcome: &Outcome,
) -> Result<()>
where
    B: DrawingBackend,
    B::ErrorType: 'static,
{
    font()?;
    root.fill(&WHITE)?;
    let (top, rest) = root.split_vertically(TOP + 40);
    let (middle, bottom) = rest.split_vertically(MIDDLE);
    let title = format!(
        "{} messages, {} faults of {} kinds, seed {}",
        outcome.history.sent.len(),
        outcome.history.faults.len(),
        kinds(outcome).len(),
        outcome.options.seed
    );
    top.draw(&Text::new(title, (24, 14), text(24)))?;
    let keys = [
        ("effects a second", EFFECTS),
        ("published a second", PUBLISHED),
        ("waiting", WAITING),
        ("host", colour("host")),
        ("broker", colour("broker")),
        ("Redis", colour("store")),
        ("operator", colour("operator")),
    ];
    let mut at = WIDTH as i32 - 900;
    for (name, colour) in keys {
        top.draw(&Rectangle::new([(at, 19), (at + 14, 33)], colour.filled()))?;
        top.draw(&Text::new(name, (at + 20, 17), text(17)))?;
        at += 44 + name.len() as i32 * 8;
    }
    let below = top.margin(40, 0, 0, 0);
    curve(&below, series, &outcome.history.faults, Curve::Rates)?;
    curve(&middle, series, &outcome.history.faults, Curve::Waiting)?;
    timeline(&bottom, series, outcome)?;
    root.present()?;
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Curve {
    Rates,
    Waiting,
}

fn curve<B>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    series: &Series,
    faults: &[Fault],
    which: Curve,
) -> Result<()>
where
    B: DrawingBackend,
    B::ErrorType: 'static,
{
    let shown = match which {
        Curve::Rates => [&series.published, &series.effects].map(|curve| usual_most(curve)),
        Curve::Waiting => [0.0, most(&series.waiting)],
    };
    let high = f64::max(shown[0], shown[1]).max(10.0) * 1.08;
    let mut chart = ChartBuilder::on(area)
        .set_label_area_size(LabelAreaPosition::Left, LEFT)
        .set_label_area_size(LabelAreaPosition::Bottom, 8)
        .margin_right(24)
        .margin_top(6)
        .build_cartesian_2d(0.0..series.length(), 0.0..high)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .x_labels(0)
        .y_labels(5)
        .y_label_style(text(16))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .draw()?;
    for fault in faults {
        let (from, to) = (second(fault.begin), end(fault, series));
        let shade = colour(fault.family).mix(0.13).filled();
        chart.draw_series([Rectangle::new([(from, 0.0), (to, high)], shade)])?;
    }
    match which {
        Curve::Rates => {
            let effects = series
                .points(&series.effects)
                .map(|(x, y)| (x, y.min(high)));
            let area = AreaSeries::new(effects, 0.0, EFFECTS.mix(0.28));
            chart.draw_series(area.border_style(EFFECTS.stroke_width(2)))?;
            let published = series
                .points(&series.published)
                .map(|(x, y)| (x, y.min(high)));
            chart.draw_series(LineSeries::new(published, PUBLISHED.stroke_width(2)))?;
        }
        Curve::Waiting => {
            let waiting = AreaSeries::new(series.points(&series.waiting), 0.0, WAITING.mix(0.3));
            chart.draw_series(waiting.border_style(WAITING.stroke_width(2)))?;
        }
    }
    let name = match which {
        Curve::Rates => "messages / s",
        Curve::Waiting => "waiting",
    };
    area.draw(&Text::new(name, (24, 10), text(17)))?;
    Ok(())
}

/// A row for each kind: solid while the fault lasts, pale until all works again.
fn timeline<B>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    series: &Series,
    outcome: &Outcome,
) -> Result<()>
where
    B: DrawingBackend,
    B::ErrorType: 'static,
{
    let kinds = kinds(outcome);
    let rows = kinds.len().max(1) as f64;
    let mut chart = ChartBuilder::on(area)
        .set_label_area_size(LabelAreaPosition::Left, LEFT)
        .set_label_area_size(LabelAreaPosition::Bottom, 34)
        .margin_right(24)
        .margin_top(6)
        .build_cartesian_2d(0.0..series.length(), 0.0..rows)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .y_labels(0)
        .x_labels(13)
        .x_label_style(text(16))
        .x_label_formatter(&|value| {
            let seconds = *value as u64;
            format!("{}:{:02}", seconds / 60, seconds % 60)
        })
        .draw()?;
    for (row, (kind, colour)) in kinds.iter().enumerate() {
        let (low, high) = (rows - row as f64 - 0.8, rows - row as f64 - 0.2);
        let of_kind = outcome.history.faults.iter().filter(|f| f.kind == *kind);
        for fault in of_kind {
            let (from, over) = (second(fault.begin), second(fault.over));
            let pale = Rectangle::new(
                [(from, low), (end(fault, series), high)],
                colour.mix(0.35).filled(),
            );
            // One that is over at once is seen all the same.
            let over = over.max(from + series.length() / 700.0);
            let solid = Rectangle::new([(from, low), (over, high)], colour.filled());
            chart.draw_series([pale, solid])?;
        }
        let (x, y) = chart.backend_coord(&(0.0, f64::midpoint(low, high)));
        let (left, above) = area.get_base_pixel();
        let at = (x - left - LEFT as i32 + 24, y - above - 3);
        area.draw(&Text::new(kind.clone(), at, text(16).color(colour)))?;
    }
    Ok(())
}

fn second(at: Micros) -> f64 {
    at as f64 / 1e6
}

fn end(fault: &Fault, series: &Series) -> f64 {
    fault.recovered.map_or(series.length(), second)
}

fn most(curve: &[f64]) -> f64 {
    curve.iter().copied().fold(0.0, f64::max)
}

/// The most but for a hundredth, so that one burst after an outage does not
/// flatten all else.
fn usual_most(curve: &[f64]) -> f64 {
    let mut sorted = curve.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() * 99 / 100).min(sorted.len().saturating_sub(2));
    sorted.get(place).copied().unwrap_or_default()
}

fn text(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

/// Text is drawn with a font of our own, whatever the machine has.
fn font() -> Result<()> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // It is a good font or the test below fails.
        let _ = register_font(
            "sans-serif",
            FontStyle::Normal,
            epaint_default_fonts::UBUNTU_LIGHT,
        );
    });
    ("sans-serif", 16)
        .into_font()
        .box_size("x")
        .map(|_| ())
        .map_err(|error| anyhow!("{error}"))
        .context("failed to load the font")
}
