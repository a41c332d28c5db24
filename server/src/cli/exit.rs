//! Exit codes: one for each thing that a script would do something else about. They do not change from release to release.

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// It did what it was asked.
    Done = 0,
    /// It was understood, and did not work out.
    Failed = 1,
    /// Wrong arguments or configuration.
    Usage = 2,
    /// No server, or no Kafka, answers there.
    Unreachable = 3,
    /// The server does not take what it was given.
    Refused = 4,
    /// It took too long.
    TimedOut = 5,
    /// The server wants to know who asks, or does not let him.
    Denied = 6,
    /// Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Unreachable,
        Self::Refused,
        Self::TimedOut,
        Self::Denied,
        Self::Interrupted,
    ];

    /// The number.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// For a person.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "the operation failed, or doctor found a failure",
            Self::Usage => "wrong arguments or configuration",
            Self::Unreachable => "the server, or Kafka, could not be reached",
            Self::Refused => "refused: faulty SQL or spec, or no such table",
            Self::TimedOut => "timed out",
            Self::Denied => "not signed in, or not allowed",
            Self::Interrupted => "interrupted by Ctrl-C",
        }
    }
}

/// What stands at the end of `headwater --help`.
pub(crate) fn help() -> String {
    let line = |exit: Exit| format!("  {:>3}  {}", exit.code(), exit.meaning());
    format!("Exit codes:\n{}", Exit::ALL.map(line).join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_lists_every_code() {
        let readme = include_str!("../../../README.md");
        for exit in Exit::ALL {
            let row = format!("| {} | {} |", exit.code(), exit.meaning());
            assert!(readme.contains(&row), "{row}");
        }
    }
}
