//! How the story is told: a spinner while a step runs on a terminal, one line a step in a pipe, a table at the end.

use std::{
    io,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use owo_colors::OwoColorize as _;

use crate::cli::output::{Cell, Console, Tone};

/// Tells what happens.
pub(super) struct Narrator<'c, 'a> {
    console: &'c mut Console<'a>,
    live: bool,
    told: Vec<(&'static str, Duration)>,
}

/// A step that is under way.
pub(super) struct Running {
    title: &'static str,
    begun: Instant,
    spinner: Option<ProgressBar>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

/// A duration as people read it.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

impl<'c, 'a> Narrator<'c, 'a> {
    /// Tells to a console, with spinners if it is `live`.
    pub(super) fn new(console: &'c mut Console<'a>, live: bool) -> Self {
        Self { console, live, told: Vec::new() }
    }

    /// Writes a line as it is.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        self.console.line(text)?;
        self.console.out.flush()
    }

    /// A step begins.
    pub(super) fn begin(&self, title: &'static str) -> Running {
        let spinner = self.live.then(|| {
            let spinner = if self.console.colours { "{spinner:.cyan}" } else { "{spinner}" };
            let style = ProgressStyle::with_template(&format!("{spinner} {{elapsed:>8}}  {{msg}}"))
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let spinner = ProgressBar::new_spinner().with_style(style).with_message(title);
            spinner.enable_steady_tick(Duration::from_millis(80));
            spinner
        });
        Running { title, begun: Instant::now(), spinner }
    }

    /// A step came true.
    pub(super) fn came_true(&mut self, step: Running, what_happened: &str) -> io::Result<()> {
        let (title, took) = (step.title, step.begun.elapsed());
        drop(step);
        self.told.push((title, took));
        self.line(Tone::Good, took, title, what_happened)
    }

    /// A step did not come true. Why is the error's to say.
    pub(super) fn failed(&mut self, step: Running) -> io::Result<()> {
        let (title, took) = (step.title, step.begun.elapsed());
        drop(step);
        self.line(Tone::Bad, took, title, "")
    }

    /// Writes how long each step took.
    pub(super) fn summary(&mut self, whole: Duration) -> io::Result<()> {
        self.console.line("")?;
        let rows = self
            .told
            .iter()
            .map(|(title, took)| vec![Cell::from(*title), Cell::from(seconds(*took))])
            .collect();
        self.console.table(&["STEP", "TIME"], rows)?;
        let all = format!("All {} steps came true in {}.", self.told.len(), seconds(whole));
        let all = self.console.paint(&all, Tone::Good);
        self.console.line("")?;
        self.say(&all)
    }

    fn line(&mut self, tone: Tone, took: Duration, title: &str, text: &str) -> io::Result<()> {
        let mark = match (tone, self.live) {
            (Tone::Bad, true) => "✗",
            (Tone::Bad, false) => "failed",
            (_, true) => "✓",
            (_, false) => "ok",
        };
        let mark = self.console.paint(mark, tone);
        let title = if self.console.colours { title.bold().to_string() } else { title.to_owned() };
        let separator = match (text.is_empty(), self.live) {
            (true, _) => "",
            (false, true) => "\n            ",
            (false, false) => ": ",
        };
        self.say(&format!("{mark} {:>8}  {title}{separator}{text}", seconds(took)))
    }
}
