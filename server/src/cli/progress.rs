//! How far long work is, on standard error: a bar on a terminal, a line now and then elsewhere, and nothing for what is quick.
//!
//! Nothing ticks by itself: whoever waits says so from time to time, by [`Progress::set`] or [`Progress::tick`].

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::screen::grouped;

/// How often somebody who waits should say so.
pub(crate) const EVERY: Duration = Duration::from_millis(200);
/// What ends within this time shows nothing.
const QUIET: Duration = Duration::from_millis(400);
/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Characters of what went wrong that are shown.
const TROUBLE_CHARS_MAX: usize = 300;

/// What somebody who was asked says of some work.
#[derive(Default)]
pub(crate) struct HowFar {
    /// So much is done,
    pub(crate) done: u64,
    /// of so much.
    pub(crate) total: Option<u64>,
    /// What went wrong last, if it is tried again.
    pub(crate) trouble: Option<String>,
}

/// How far some work is. Dropped, it leaves nothing behind on a terminal.
pub(crate) struct Progress {
    label: String,
    unit: &'static str,
    trouble: Option<String>,
    began: Instant,
    said: Instant,
    bar: Option<ProgressBar>,
    is_terminal: bool,
}

impl Progress {
    /// `label` says what is done, in the present: "sealing table rides"; `unit` what is counted.
    pub(crate) fn new(label: impl Into<String>, unit: &'static str) -> Self {
        let now = Instant::now();
        let is_terminal = std::io::stderr().is_terminal();
        Self { label: label.into(), unit, trouble: None, began: now, said: now, bar: None, is_terminal }
    }

    /// It is still going on.
    pub(crate) fn tick(&mut self) {
        self.set(0, None);
    }

    /// What was said of it.
    pub(crate) fn tell(&mut self, said: HowFar) {
        self.trouble = said.trouble.map(|trouble| one_line(&trouble));
        self.set(said.done, said.total);
    }

    /// So much is done, of so much.
    pub(crate) fn set(&mut self, done: u64, total: Option<u64>) {
        if self.began.elapsed() < QUIET {
            return;
        }
        if self.is_terminal {
            self.draw(done, total);
        } else if self.said.elapsed() >= LINE_EVERY {
            self.said = Instant::now();
            // Nothing can be done if standard error is closed.
            let _ = writeln!(std::io::stderr(), "{}", self.line(done, total));
        }
    }

    /// As on a terminal, but for the bar.
    fn line(&self, done: u64, total: Option<u64>) -> String {
        let line = self.count(done, total);
        match &self.trouble {
            Some(trouble) => format!("{line}; tried again after: {trouble}"),
            None => line,
        }
    }

    fn count(&self, done: u64, total: Option<u64>) -> String {
        let seconds = self.began.elapsed().as_secs();
        let (label, unit) = (&self.label, self.unit);
        match total.filter(|total| *total > 0) {
            Some(total) => {
                let done = done.min(total);
                format!("{label}: {} of {} {unit}, {seconds} s", grouped(done), grouped(total))
            }
            None if done > 0 => format!("{label}: {} {unit}, {seconds} s", grouped(done)),
            None => format!("{label}: {seconds} s"),
        }
    }

    fn draw(&mut self, done: u64, total: Option<u64>) {
        let line = self.line(done, total);
        let total = total.filter(|total| *total > 0);
        let bar = self.bar.get_or_insert_with(|| {
            ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(10))
        });
        // Whatever is set is drawn at once, but for the style: it is there first, as the one that a bar begins with is not ours.
        if let Some(total) = total.filter(|total| bar.length() != Some(*total)) {
            bar.set_length(total);
        }
        let template = match total {
            Some(_) => "{spinner} {msg} {bar:30} {percent:>3} %",
            None => "{spinner} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(line);
        if let Some(total) = total {
            bar.set_position(done.min(total));
        }
        bar.tick();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Without line breaks, and not too long.
fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(TROUBLE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

/// Does work that blocks on a thread of its own, and says meanwhile that it is going on.
pub(crate) fn while_blocking<T: Send>(
    label: &str,
    work: impl FnOnce() -> T + Send,
) -> std::thread::Result<T> {
    std::thread::scope(|scope| {
        let mut progress = Progress::new(label, "");
        let working = scope.spawn(work);
        while !working.is_finished() {
            progress.tick();
            std::thread::sleep(EVERY.min(Duration::from_millis(50)));
        }
        working.join()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        let progress = Progress::new("sealing table rides", "rows");
        assert_eq!(progress.line(0, None), "sealing table rides: 0 s");
        assert_eq!(progress.line(1500, None), "sealing table rides: 1,500 rows, 0 s");
        assert_eq!(progress.line(1500, Some(20_000)), "sealing table rides: 1,500 of 20,000 rows, 0 s");
        assert_eq!(progress.line(7, Some(5)), "sealing table rides: 5 of 5 rows, 0 s");
        assert_eq!(progress.line(0, Some(0)), "sealing table rides: 0 s");
    }

    #[test]
    fn a_line_says_what_went_wrong() {
        let mut progress = Progress::new("sealing table rides", "rows");
        let trouble = format!("object store:\n  {}", "é".repeat(TROUBLE_CHARS_MAX));
        progress.tell(HowFar { done: 0, total: Some(5), trouble: Some(trouble) });
        let line = progress.line(0, Some(5));
        assert!(
            line.starts_with("sealing table rides: 0 of 5 rows, 0 s; tried again after: object store: éé")
        );
        assert!(line.ends_with("é…") && !line.contains('\n'), "{line}");
        progress.tell(HowFar::default());
        assert_eq!(progress.line(0, None), "sealing table rides: 0 s");
    }

    #[test]
    fn what_blocks_gives_its_result() {
        assert_eq!(while_blocking("x", || 7).unwrap(), 7);
    }
}
