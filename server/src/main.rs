//! The `headwater` binary: one program for serving, for the demo, for managing tables and for asking.

use std::process::ExitCode;

use clap::Parser;

mod cli;

use cli::{CliError, Exit, Output};

fn main() -> ExitCode {
    headwater_server::allocator::keep_freed_memory();
    if let Some(missing) = cli::missing_cpu_feature() {
        eprintln_line(&format!(
            "headwater: this machine's processor has no {missing}; build with RUSTFLAGS='-C target-cpu=x86-64' to run here"
        ));
        return ExitCode::from(Exit::Usage.code());
    }
    let arguments = match cli::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return not_parsed(&error),
    };
    let output = arguments.output;
    match cli::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, output),
    }
}

/// `--help`, `--version`, or arguments that are none.
fn not_parsed(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && cli::asks_for_json(std::env::args_os()) {
        // Without the usage that stands below for a person.
        let text = error.render().to_string();
        let message = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
        return failed(&CliError::Usage(message.to_string()), Output::Json);
    }
    // Nothing can be done if the output is closed.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage.code()))
}

fn failed(error: &CliError, output: Output) -> ExitCode {
    match (error, output) {
        (CliError::BrokenPipe, _) => {}
        (error, Output::Text) => eprintln_line(&format!("headwater: {error}")),
        (error, Output::Json) => eprintln_line(&error.to_json().to_string()),
    }
    ExitCode::from(error.exit().code())
}

fn eprintln_line(line: &str) {
    use std::io::Write;
    // Nothing can be done if standard error is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}
