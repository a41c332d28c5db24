//! Ctrl-C: ends the process with its own exit code, or, in the shell, the statement that runs.
//!
//! The server notices that the connection is gone and cancels the query.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use super::CliError;
use super::exit::Exit;

static IN_SHELL: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C ends the process with [`Exit::Interrupted`], unless the [shell](in_shell) has it.
pub(crate) fn watch() -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut interrupts = {
        let _entered = runtime.enter();
        signal(SignalKind::interrupt())?
    };
    let watching = move || {
        while runtime.block_on(interrupts.recv()).is_some() {
            if !IN_SHELL.load(Ordering::Relaxed) {
                // Below a bar that is being drawn.
                let _ = writeln!(std::io::stderr(), "\nheadwater: {}", CliError::Interrupted);
                std::process::exit(Exit::Interrupted.code().into());
            }
        }
    };
    std::thread::Builder::new().name("hw-interrupt".into()).spawn(watching)?;
    Ok(())
}

/// From now on Ctrl-C ends statements only.
pub(crate) fn in_shell() {
    IN_SHELL.store(true, Ordering::Relaxed);
}

/// Ends when Ctrl-C is pressed in the shell.
pub(crate) async fn of_statement() {
    if !IN_SHELL.load(Ordering::Relaxed) {
        return std::future::pending().await;
    }
    match signal(SignalKind::interrupt()) {
        Ok(mut interrupts) => {
            interrupts.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}
