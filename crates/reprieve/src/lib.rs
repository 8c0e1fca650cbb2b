//! The binary's parts: configuration, subcommands, http endpoint, assembly.

mod cli;
mod commands;
mod config_file;
pub mod demo;
mod explain;
mod http;
mod logging;
mod serve;
mod settings;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
pub use crate::config_file::{Raw, Sources, manual};
pub use crate::serve::Server;
pub use crate::settings::{Config, ConfigError};

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            commands::tell(&format!("reprieve: cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(command(cli));
    // Nothing that still runs owns anything that must survive.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|message| {
        commands::tell(&format!("reprieve: {message}"));
        ExitCode::FAILURE
    })
}

async fn command(cli: Cli) -> Result<ExitCode, String> {
    let sources = Sources::from(cli.sources);
    match cli.command {
        Command::Serve => serve::serve(&sources).await,
        Command::Install { database } => commands::install(&sources, &database).await,
        Command::Enable {
            database,
            tables,
            mode,
        } => commands::enable(&sources, &database, &tables, mode).await,
        Command::Disable { database, tables } => {
            commands::disable(&sources, &database, &tables).await
        }
        Command::Doctor { database } => commands::doctor(&sources, &database).await,
        Command::CheckConfig => commands::check_config(&sources),
        Command::Check { database, json } => commands::check(&sources, &database, json).await,
        Command::Uninstall {
            database,
            drop_graveyard,
        } => commands::uninstall(&sources, &database, drop_graveyard).await,
        Command::Demo { exit } => demo::demo(demo::DemoOptions { exit }).await,
        Command::Explain {
            database,
            sql,
            search_path,
        } => explain::explain(&sources, &database, &sql, search_path).await,
    }
}
