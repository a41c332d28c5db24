//! `headwater access`: what goes into the configuration for a user or a token. Talks to no server.

use std::io::{BufRead, IsTerminal};

use clap::{Args, Subcommand, ValueEnum};
use headwater_server::access::{expiry, hash_password, new_token};

use serde_json::json;

use super::screen::Screen;
use super::{CliError, password};

/// Arguments of `headwater access`.
#[derive(Debug, Args)]
pub(crate) struct AccessArguments {
    #[command(subcommand)]
    command: AccessCommand,
}

#[derive(Debug, Subcommand)]
enum AccessCommand {
    /// Read a password (hidden on a terminal, else the first line of standard input) and print its hash for access.users.
    #[command(after_help = "Example:\n  headwater access hash-password < password.txt")]
    HashPassword,
    /// Make an API token: prints it once, and the entry for the configuration, which does not hold it.
    #[command(
        after_help = "Example:\n  headwater access new-token --name grafana --role reader --expires 90d"
    )]
    NewToken {
        /// Name, for logs.
        #[arg(long)]
        name: String,
        /// What it is good for.
        #[arg(long, value_enum)]
        role: RoleArgument,
        /// How long it lasts: 90d, 12h, or never.
        #[arg(long, default_value = "90d")]
        expires: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleArgument {
    /// Asks questions and reads what there is.
    Reader,
    /// Also changes tables and dashboards, and ends the queries of others.
    Administrator,
}

pub(crate) fn run(arguments: &AccessArguments, screen: Screen) -> Result<(), CliError> {
    match &arguments.command {
        AccessCommand::HashPassword => {
            let password = new_password()?;
            let hash = hash_password(&password).map_err(CliError::Usage)?;
            screen.answer(&json!({ "hash": hash }), |out| writeln!(out, "{hash}"))
        }
        AccessCommand::NewToken { name, role, expires } => {
            let expires = expiry(expires, chrono::Utc::now()).map_err(CliError::Usage)?;
            let token = new_token();
            let role = match role {
                RoleArgument::Reader => "reader",
                RoleArgument::Administrator => "administrator",
            };
            let expires = expires.map(|at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string());
            let answer = json!({
                "token": token.token, "name": name, "hash": token.hash, "role": role, "expires": expires,
            });
            screen.answer(&answer, |out| {
                writeln!(out, "{}\n", token.token)?;
                writeln!(out, "# For headwater.toml; in the file that access.file names it is [[tokens]].")?;
                writeln!(
                    out,
                    "[[access.tokens]]\nname = {name:?}\nhash = \"{}\"\nrole = \"{role}\"",
                    token.hash
                )?;
                expires.iter().try_for_each(|at| writeln!(out, "expires = \"{at}\""))
            })
        }
    }
}

fn new_password() -> Result<String, CliError> {
    let password = if std::io::stdin().is_terminal() {
        let password = password::ask("Password: ")?;
        if password != password::ask("Again: ")? {
            return Err(CliError::Usage("the two are not the same".into()));
        }
        password
    } else {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        line.trim_end_matches(['\r', '\n']).to_string()
    };
    match password.is_empty() {
        true => Err(CliError::Usage("the password is empty".into())),
        false => Ok(password),
    }
}
