//! Why the harness itself cannot go on. That is no verdict about the server: exit code 2.

/// Something that the harness needs does not work.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub(crate) struct ChaosError {
    what: String,
    reason: String,
}

impl ChaosError {
    /// `what` was being done, and failed with `reason`.
    pub(crate) fn new(what: impl Into<String>, reason: impl ToString) -> Self {
        Self { what: what.into(), reason: reason.to_string() }
    }

    /// For `map_err`: gives an error its place.
    pub(crate) fn at<E: ToString>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        move |reason| Self::new(what, reason)
    }
}

/// A step of the harness.
pub(crate) type Result<T> = std::result::Result<T, ChaosError>;
