//! Plots as SVG files that can be read on their own: title, axes with units, legend, and how it was measured.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use super::grouped;
use crate::error::{Error, Result};

const SIZE: (u32, u32) = (960, 620);
/// Height of the lines below the plot.
const NOTE: u32 = 56;
/// Letters of a line of the note.
const NOTE_WIDTH: usize = 140;
const FONT: &str = "sans-serif";
/// Told apart by people who don't see all colours (Wong, Nature Methods 8, 441).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

/// How an axis is divided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// Evenly, between these.
    Linear(f64, f64),
    /// Evenly, from 0 to the largest value.
    FromZero,
    /// By powers of ten.
    Log,
}

/// An axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// What is on it, with its unit.
    pub label: String,
    /// Its division.
    pub scale: Scale,
}

/// A line, with a mark at each point.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What it stands for.
    pub label: String,
    /// By x.
    pub points: Vec<(f64, f64)>,
}

/// A plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    /// Its part of a file's name.
    pub subject: String,
    /// What it shows.
    pub title: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// How it was measured.
    pub note: String,
    /// The lines.
    pub series: Vec<Series>,
}

impl fmt::Display for Plot {
    /// The points as a table: a line for each x, a column for each line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({}), by {}", self.title, self.y.label, self.x.label)?;
        write!(f, "{:>10}", "")?;
        self.series.iter().try_for_each(|series| write!(f, "{:>28}", series.label))?;
        let mut all: Vec<f64> =
            self.series.iter().flat_map(|series| &series.points).map(|point| point.0).collect();
        all.sort_by(f64::total_cmp);
        all.dedup();
        for x in all {
            write!(f, "\n{:>10}", grouped(x as u64))?;
            for Series { points, .. } in &self.series {
                let y = points.iter().find(|point| point.0 == x).map(|point| grouped(point.1 as u64));
                write!(f, "{:>28}", y.unwrap_or_default())?;
            }
        }
        writeln!(f)
    }
}

/// `dir/name-SUBJECT.svg` for `dir/name.svg`.
#[must_use]
pub fn file_for(file: &Path, subject: &str) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let ending = file.extension().unwrap_or("svg".as_ref()).to_string_lossy();
    file.with_file_name(format!("{stem}-{subject}.{ending}"))
}

impl Plot {
    /// Draws it into `file`.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, file: &Path) -> Result<()> {
        let text = self.svg().map_err(|reason| Error::BadResults { file: file.to_owned(), reason })?;
        fs::write(file, text).map_err(Error::file("write", file))
    }

    /// The SVG's text; or in one line why there is none.
    fn svg(&self) -> std::result::Result<String, String> {
        let mut text = String::new();
        self.draw(&mut text).map_err(|error| error.to_string())?;
        Ok(text)
    }

    fn draw<'t>(&self, text: &'t mut String) -> std::result::Result<(), Box<dyn std::error::Error + 't>> {
        let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (plot, note) = root.split_vertically(SIZE.1 - NOTE);
        for (at, line) in wrapped(&self.note, NOTE_WIDTH).iter().enumerate() {
            let place = (24, 4 + 16 * at as i32);
            note.draw(&Text::new(line.clone(), place, (FONT, 13).into_font().color(&BLACK.mix(0.7))))?;
        }
        let (x, y) = (self.range(&self.x, |point| point.0), self.range(&self.y, |point| point.1));
        // The legend stands above the lines.
        let y = (y.0, y.1 * if self.y.scale == Scale::Log { 5.0 } else { 1.4 });
        match (self.x.scale, self.y.scale) {
            (Scale::Log, Scale::Log) => self.lines(&plot, (x.0..x.1).log_scale(), (y.0..y.1).log_scale())?,
            (Scale::Log, _) => self.lines(&plot, (x.0..x.1).log_scale(), y.0..y.1)?,
            (_, Scale::Log) => self.lines(&plot, x.0..x.1, (y.0..y.1).log_scale())?,
            _ => self.lines(&plot, x.0..x.1, y.0..y.1)?,
        }
        root.present()?;
        Ok(())
    }

    fn range(&self, axis: &Axis, of: impl Fn(&(f64, f64)) -> f64) -> (f64, f64) {
        let values = || self.series.iter().flat_map(|series| &series.points).map(&of);
        let (min, max) = (values().fold(f64::MAX, f64::min), values().fold(1.0, f64::max));
        match axis.scale {
            Scale::Linear(from, to) => (from, to),
            Scale::FromZero => (0.0, max),
            Scale::Log => (min.min(max) / 1.3, max * 1.3),
        }
    }

    fn lines<'a, X, Y>(
        &self,
        area: &DrawingArea<SVGBackend<'a>, Shift>,
        x: X,
        y: Y,
    ) -> std::result::Result<(), Box<dyn std::error::Error + 'a>>
    where
        X: AsRangedCoord<Value = f64>,
        Y: AsRangedCoord<Value = f64>,
        X::CoordDescType: ValueFormatter<f64>,
        Y::CoordDescType: ValueFormatter<f64>,
    {
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, (FONT, 22))
            .margin(12)
            .margin_right(28)
            .x_label_area_size(48)
            .y_label_area_size(92)
            .build_cartesian_2d(x, y)?;
        let number = |value: &f64| grouped(value.round() as u64);
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .label_style((FONT, 14))
            .axis_desc_style((FONT, 15))
            .x_desc(&self.x.label)
            .y_desc(&self.y.label)
            .x_label_formatter(&number)
            .y_label_formatter(&number)
            .draw()?;
        for (series, colour) in self.series.iter().zip(COLOURS.into_iter().cycle()) {
            chart
                .draw_series(LineSeries::new(series.points.iter().copied(), colour.stroke_width(2)))?
                .label(&series.label)
                .legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 14, y + 4)], colour.filled()));
            let mark = |&point: &(f64, f64)| Circle::new(point, 4, colour.filled());
            chart.draw_series(series.points.iter().map(mark))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .label_font((FONT, 14))
            .draw()?;
        Ok(())
    }
}

/// `text` in lines of at most `width` letters, as far as its words allow.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => *line += &format!(" {word}"),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(scale: Scale) -> Plot {
        let series = |label: &str, y: f64| Series {
            label: label.into(),
            points: vec![(1.0, y), (1000.0, y * 1000.0)],
        };
        Plot {
            subject: "s".into(),
            title: "a title".into(),
            x: Axis { label: "pages moved".into(), scale },
            y: Axis { label: "instructions".into(), scale },
            note: "how it was measured".into(),
            series: vec![series("first", 10.0), series("second", 20.0)],
        }
    }

    #[test]
    fn a_plot_says_what_it_is() {
        for scale in [Scale::FromZero, Scale::Log, Scale::Linear(0.0, 2000.0)] {
            let text = plot(scale).svg().unwrap();
            for part in [
                "<svg",
                "a title",
                "pages moved",
                "instructions",
                "first",
                "second",
                "how it was measured",
                "</svg>",
            ] {
                assert!(text.contains(part), "{part} is not in {text}");
            }
            assert_eq!(text.matches("<circle").count(), 4, "a mark a point");
        }
    }

    #[test]
    fn a_plot_is_a_table_too() {
        let mut plot = plot(Scale::Log);
        plot.series[1].points.remove(0);
        let text = plot.to_string();
        let lines: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1..], [vec!["first", "second"], vec!["1", "10"], vec!["1,000", "10,000", "20,000"]]);
    }

    #[test]
    fn a_single_point_is_a_plot() {
        let mut plot = plot(Scale::Log);
        plot.series = vec![Series { label: "one".into(), points: vec![(5.0, 5.0)] }];
        assert_eq!(plot.svg().unwrap().matches("<circle").count(), 1);
    }

    #[test]
    fn files_are_named_after_their_subjects() {
        assert_eq!(file_for(Path::new("out/x.svg"), "cma"), Path::new("out/x-cma.svg"));
        assert_eq!(file_for(Path::new("x"), "cma"), Path::new("x-cma.svg"));
    }

    #[test]
    fn lines_are_broken_between_words() {
        assert_eq!(wrapped("aa bb  cccccc d", 5), ["aa bb", "cccccc", "d"]);
    }
}
