//! A dashboard as a document: its types, and the bounds that hold for each.
//!
//! What is written out is what [`read`](super::read::read_dashboard) reads back. The identity, the version and the time of the
//! last change are not in the document: they belong to where it is kept, so that a dashboard can be carried to another place.

use std::time::Duration;

use headwater_segment::spec::format_duration;
use serde::{Serialize, Serializer};

/// Bytes of a document, as JSON without spaces.
pub const DOCUMENT_BYTES_MAX: usize = 256 << 10;
/// Characters of a title or a label.
pub const TITLE_CHARS_MAX: usize = 200;
/// Shortest time between two runs of a panel, in milliseconds.
pub const REFRESH_MS_MIN: u64 = 1_000;
/// Longest time between two runs of a panel, in milliseconds.
pub const REFRESH_MS_MAX: u64 = 86_400_000;
/// Longest time range.
pub const LAST_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);
/// Panels of a dashboard.
pub const PANELS_MAX: usize = 50;
/// Bytes of a panel's SQL.
pub const SQL_BYTES_MAX: usize = 16 << 10;
/// Columns that a panel draws.
pub const DRAWN_MAX: usize = 20;
/// Columns of the grid.
pub const GRID_COLUMNS: u32 = 12;
/// Rows of the grid that a panel may take.
pub const PANEL_ROWS_MAX: u32 = 50;
/// Rows of the grid.
pub const GRID_ROWS_MAX: u32 = 1_000;
/// Variables of a dashboard.
pub const VARIABLES_MAX: usize = 20;
/// Values to choose from.
pub const VALUES_MAX: usize = 1_000;
/// Bytes of one value of a variable.
pub const VALUE_BYTES_MAX: usize = 1_000;

/// A dashboard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dashboard {
    /// What a person sees in lists and above the panels.
    pub title: String,
    /// A panel runs at most once in so many milliseconds, whoever watches.
    pub refresh_ms: u64,
    /// What `$time_from` and `$time_to` stand for.
    pub time: TimeRange,
    /// What a viewer may choose.
    pub variables: Vec<Variable>,
    /// What is shown.
    pub panels: Vec<Panel>,
}

/// The time range: the last so much, up to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TimeRange {
    /// Its length.
    #[serde(serialize_with = "as_text")]
    pub last: Duration,
}

fn as_text<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_duration(*duration))
}

/// Something that a viewer may choose; panels call it `$name`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Variable {
    /// A lower-case letter, then letters, digits and `_`, at most 32.
    pub name: String,
    /// What a person sees.
    pub label: String,
    /// How it is chosen.
    #[serde(flatten)]
    pub choice: Choice,
    /// Its value until something is chosen.
    pub default: String,
}

/// How the value of a variable is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Choice {
    /// Typed.
    Text,
    /// From a list.
    List(ListValues),
}

/// Where the values of a list are from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ListValues {
    /// From the document.
    Values(Vec<String>),
    /// From the first column of a statement's answer.
    Sql(String),
}

/// One panel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Panel {
    /// Unlike all others of the dashboard: letters, digits, `_` and `-`, at most 64.
    pub id: String,
    /// What stands above it.
    pub title: String,
    /// One read-only statement; `$name` stands for a variable, `$time_from` and `$time_to` for the time range.
    pub sql: String,
    /// How its answer is drawn.
    pub kind: PanelKind,
    /// The column of the horizontal axis; without it the first one that fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// The columns that are drawn; without any, all numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub y: Vec<String>,
    /// The column whose values are lines of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Where it stands.
    pub at: Place,
}

/// How an answer is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PanelKind {
    /// Lines.
    Line,
    /// Bars.
    Bar,
    /// Filled lines, on top of each other.
    Area,
    /// Points.
    Scatter,
    /// One big number.
    Number,
    /// Rows and columns.
    Table,
}

impl PanelKind {
    /// All kinds with their names.
    pub const ALL: [(&'static str, Self); 6] = [
        ("line", Self::Line),
        ("bar", Self::Bar),
        ("area", Self::Area),
        ("scatter", Self::Scatter),
        ("number", Self::Number),
        ("table", Self::Table),
    ];
}

/// A place in the grid of [`GRID_COLUMNS`] columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// First column, from 0.
    pub x: u32,
    /// First row, from 0.
    pub y: u32,
    /// Columns.
    pub w: u32,
    /// Rows.
    pub h: u32,
}
