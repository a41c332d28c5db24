//! `headwater completion …`: what a shell needs to complete our commands and flags.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Arguments, CliError};

const INSTALL: &str = "\
To install, once:
  bash        headwater completion bash > ~/.local/share/bash-completion/completions/headwater
  zsh         headwater completion zsh > ~/.zfunc/_headwater     (with ~/.zfunc in $fpath before compinit)
  fish        headwater completion fish > ~/.config/fish/completions/headwater.fish
  elvish      headwater completion elvish >> ~/.config/elvish/rc.elv
  powershell  headwater completion powershell >> $PROFILE";

/// Arguments of `headwater completion`.
#[derive(Debug, Args)]
#[command(after_help = INSTALL)]
pub(crate) struct CompletionArguments {
    /// Which shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(arguments: &CompletionArguments) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "headwater", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}
