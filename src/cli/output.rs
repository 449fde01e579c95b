//! What commands write: tables and colours for people, JSON and YAML for programs, errors with a hint.
//!
//! Everything goes to the writers of a [`Console`], so that a test can read it. Colours are for terminals only, and
//! never where `NO_COLOR` is set.

use std::{
    error::Error,
    io::{self, BufRead, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use comfy_table::{Cell as TableCell, Color, ColumnConstraint, ContentArrangement, Table};
use serde_json::Value;

use crate::{
    api::{HealthStatusCode, OperationPhase, ResultCode, SyncStatusCode},
    error::chain,
    object::yaml,
};

/// Whether whoever read the output has gone, as `head` does when it has had enough.
static READER_IS_GONE: AtomicBool = AtomicBool::new(false);

/// Standard output. That nobody reads it any more is the end of a command, and nothing to complain about.
pub struct Output(io::Stdout);

impl Output {
    /// The process's own.
    pub fn new() -> Self {
        Self(io::stdout())
    }

    /// Whether an output of this process was given up by its reader.
    pub fn is_given_up() -> bool {
        READER_IS_GONE.load(Ordering::Acquire)
    }

    fn noted<T>(result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| {
            if error.kind() == io::ErrorKind::BrokenPipe {
                READER_IS_GONE.store(true, Ordering::Release);
            }
        })
    }
}

impl Default for Output {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::noted(self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::noted(self.0.flush())
    }
}

/// Where a command reads and writes.
pub struct Console<'a> {
    /// Results.
    pub out: &'a mut (dyn Write + Send),
    /// Progress and problems.
    pub err: &'a mut (dyn Write + Send),
    /// Answers to questions; `None` when nobody is there to ask.
    pub input: Option<&'a mut (dyn BufRead + Send)>,
    /// Whether to use colours.
    pub colours: bool,
}

/// Whether colours are wanted on an output.
pub fn colours_wanted(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// How a text is to be understood at a glance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// As everything else.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// On its way, or worth a look.
    Notice,
    /// Wrong.
    Bad,
}

impl From<HealthStatusCode> for Tone {
    fn from(health: HealthStatusCode) -> Self {
        match health {
            HealthStatusCode::Healthy => Self::Good,
            HealthStatusCode::Suspended | HealthStatusCode::Progressing | HealthStatusCode::Missing => {
                Self::Notice
            }
            HealthStatusCode::Degraded | HealthStatusCode::Unknown => Self::Bad,
        }
    }
}

impl From<SyncStatusCode> for Tone {
    fn from(sync: SyncStatusCode) -> Self {
        match sync {
            SyncStatusCode::Synced => Self::Good,
            SyncStatusCode::OutOfSync => Self::Notice,
            SyncStatusCode::Unknown => Self::Bad,
        }
    }
}

impl From<OperationPhase> for Tone {
    fn from(phase: OperationPhase) -> Self {
        match phase {
            OperationPhase::Succeeded => Self::Good,
            OperationPhase::Running | OperationPhase::Terminating => Self::Notice,
            OperationPhase::Failed | OperationPhase::Error => Self::Bad,
        }
    }
}

impl From<ResultCode> for Tone {
    fn from(code: ResultCode) -> Self {
        match code {
            ResultCode::Synced | ResultCode::Pruned => Self::Good,
            ResultCode::PruneSkipped => Self::Notice,
            ResultCode::SyncFailed => Self::Bad,
        }
    }
}

/// A cell of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A name of an enumeration in its colour.
    pub fn of<T: Into<Tone> + ToString + Copy>(value: T) -> Self {
        Self { text: value.to_string(), tone: value.into() }
    }

    /// The same cell with more text after it.
    pub fn with_suffix(mut self, suffix: &str) -> Self {
        self.text.push_str(&suffix.replace(['\n', '\r', '\t'], " "));
        self
    }

    /// The same for a name that may be absent.
    pub fn of_optional<T: Into<Tone> + ToString + Copy>(value: Option<T>) -> Self {
        value.map(Self::of).unwrap_or_default()
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        // A line break would tear the table apart.
        Self { text: text.into().replace(['\n', '\r', '\t'], " "), tone: Tone::Plain }
    }
}

impl Console<'_> {
    /// Writes a line to the results.
    ///
    /// # Errors
    /// When the output is gone.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// Writes a line about the progress.
    ///
    /// # Errors
    /// When the output is gone.
    pub fn progress(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.err, "{text}")
    }

    /// Writes a table, its columns as wide as they need to be.
    ///
    /// # Errors
    /// When the output is gone.
    pub fn table(&mut self, headers: &[&str], rows: Vec<Vec<Cell>>) -> io::Result<()> {
        let mut table = Table::new();
        table
            .load_preset(comfy_table::presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        if self.colours {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(headers.iter().copied());
        for row in rows {
            table.add_row(row.into_iter().map(|cell| {
                let plain = TableCell::new(cell.text);
                match colour(cell.tone) {
                    Some(colour) => plain.fg(colour),
                    None => plain,
                }
            }));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2)).set_constraint(ColumnConstraint::ContentWidth);
        }
        for line in table.lines() {
            writeln!(self.out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// Writes `name:` and a value, aligned with its neighbours.
    ///
    /// # Errors
    /// When the output is gone.
    pub fn field(&mut self, name: &str, value: impl Into<Cell>) -> io::Result<()> {
        let cell = value.into();
        let text = self.paint(&cell.text, cell.tone);
        writeln!(self.out, "{:<20}{text}", format!("{name}:"))
    }

    /// A text in its colour.
    pub fn paint(&self, text: &str, tone: Tone) -> String {
        use owo_colors::OwoColorize;
        match tone {
            _ if !self.colours => text.to_owned(),
            Tone::Plain => text.to_owned(),
            Tone::Good => text.green().to_string(),
            Tone::Notice => text.yellow().to_string(),
            Tone::Bad => text.red().to_string(),
        }
    }

    /// Writes a value as JSON, for programs.
    ///
    /// # Errors
    /// When the output is gone.
    pub fn json(&mut self, value: &Value) -> io::Result<()> {
        writeln!(self.out, "{value:#}")
    }

    /// Writes a value as YAML, for programs.
    ///
    /// # Errors
    /// When the output is gone.
    pub fn yaml(&mut self, value: &Value) -> io::Result<()> {
        write!(self.out, "{}", yaml::to_string(value))
    }

    /// Writes what failed, and on a line of its own what helps.
    ///
    /// # Errors
    /// When the output is gone.
    pub fn problem(&mut self, error: &dyn Error, hint: Option<&str>) -> io::Result<()> {
        let label = self.paint("error:", Tone::Bad);
        writeln!(self.err, "{label} {}", chain(error))?;
        if let Some(hint) = hint {
            let label = self.paint("hint:", Tone::Notice);
            writeln!(self.err, "{label} {hint}")?;
        }
        Ok(())
    }
}

fn colour(tone: Tone) -> Option<Color> {
    match tone {
        Tone::Plain => None,
        Tone::Good => Some(Color::Green),
        Tone::Notice => Some(Color::Yellow),
        Tone::Bad => Some(Color::Red),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(colours: bool, write: impl FnOnce(&mut Console<'_>) -> io::Result<()>) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        write(&mut Console { out: &mut out, err: &mut err, input: None, colours }).unwrap();
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_blanks_at_their_end() {
        let rows = vec![
            vec!["a".into(), Cell::of(SyncStatusCode::OutOfSync), "".into()],
            vec!["longer".into(), Cell::of_optional::<SyncStatusCode>(None), "two\nlines".into()],
        ];
        let (out, _) = written(false, |console| console.table(&["NAME", "STATUS", "MESSAGE"], rows));
        assert_eq!(out, "NAME    STATUS     MESSAGE\na       OutOfSync\nlonger             two lines\n");
    }

    #[test]
    fn colours_are_used_only_when_wanted() {
        let rows = || vec![vec![Cell::of(HealthStatusCode::Degraded)]];
        assert!(!written(false, |console| console.table(&["HEALTH"], rows())).0.contains('\u{1b}'));
        assert!(written(true, |console| console.table(&["HEALTH"], rows())).0.contains('\u{1b}'));
        assert!(
            !written(false, |console| console.field("Health", Cell::of(HealthStatusCode::Healthy)))
                .0
                .contains('\u{1b}')
        );
        assert!(!colours_wanted(false));
    }

    #[test]
    fn a_problem_has_its_hint_on_a_line_of_its_own() {
        let error = io::Error::other("nobody answers");
        let (out, err) = written(false, |console| console.problem(&error, Some("start the cluster")));
        assert_eq!((out.as_str(), err.as_str()), ("", "error: nobody answers\nhint: start the cluster\n"));
    }
}
