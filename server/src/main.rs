//! The `headwater` binary: one program for serving, for the demo, for managing tables and for asking.

use std::process::ExitCode;

use clap::Parser;

mod cli;

fn main() -> ExitCode {
    headwater_server::allocator::keep_freed_memory();
    if let Some(missing) = cli::missing_cpu_feature() {
        eprintln_line(&format!(
            "headwater: this machine's processor has no {missing}; build with RUSTFLAGS='-C target-cpu=x86-64' to run here"
        ));
        return ExitCode::from(2);
    }
    let arguments = cli::Arguments::parse();
    match cli::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cli::CliError::BrokenPipe) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln_line(&format!("headwater: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

fn eprintln_line(line: &str) {
    use std::io::Write;
    // Nothing can be done if standard error is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}
