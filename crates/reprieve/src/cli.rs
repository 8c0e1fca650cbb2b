//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config_file::Sources;

/// Turns every DELETE that goes through it into something a DBA can take back.
#[derive(Debug, Parser)]
#[command(name = "reprieve", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    pub sources: SourceFlags,
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  export REPRIEVE__UPSTREAM__URL=postgres://db:5432
  export REPRIEVE__KEEPER__URL=postgres://keeper:secret@db:5432/shop
  reprieve install                          install the keeper in database shop
  reprieve enable public.orders 'app.*'     keep what is deleted from these tables
  reprieve serve                            app port 6543, admin port 6544, http 6545
  psql -p 6543 shop                         what the application sees
  psql -p 6544 shop -c 'SHOW DELETIONS'     what the DBA sees";

#[derive(Debug, Clone, Args)]
pub struct SourceFlags {
    /// Configuration file (TOML); reprieve.toml in the working directory if it exists
    #[arg(
        long,
        short,
        global = true,
        value_name = "FILE",
        env = "REPRIEVE_CONFIG"
    )]
    pub config: Option<PathBuf>,
    /// Sets one key, stronger than file and environment; may be repeated
    #[arg(long = "set", global = true, value_name = "SECTION.KEY=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if key.contains('.') => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("expected section.key=value, as listen.app=127.0.0.1:6543".to_owned()),
    }
}

impl From<SourceFlags> for Sources {
    fn from(flags: SourceFlags) -> Self {
        Self {
            file: flags.config,
            overrides: flags.set,
        }
    }
}

/// Which database a subcommand works in.
#[derive(Debug, Clone, Args)]
pub struct DatabaseFlag {
    /// Database, if not the one in keeper.url
    #[arg(long, short, value_name = "NAME")]
    pub database: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the proxy until SIGTERM (drains; a second signal stops at once); SIGHUP reloads
    Serve,
    /// Play the incident that Reprieve is for: a private server, 1.5 million rows, a fatal DELETE, its UNDELETE
    Demo {
        /// End after the last check instead of staying up; fail if one failed
        #[arg(long)]
        exit: bool,
    },
    /// Install or upgrade the keeper in a database: schema reprieve, role reprieve_admin
    #[command(after_help = "Example:\n  reprieve install --database shop")]
    Install {
        #[command(flatten)]
        database: DatabaseFlag,
    },
    /// Keep what is deleted from tables; existing ones, online
    #[command(
        after_help = "Examples:\n  reprieve enable public.orders\n  reprieve enable 'app.*' --mode bin"
    )]
    Enable {
        #[command(flatten)]
        database: DatabaseFlag,
        /// Globs over schema.table
        #[arg(required = true, value_name = "TABLE")]
        tables: Vec<String>,
        /// auto: mark where a mark cannot be told from a delete, else bin
        #[arg(long, value_enum, default_value_t = ModeFlag::Auto)]
        mode: ModeFlag,
    },
    /// Stop keeping what is deleted from tables; deleted rows move to the graveyard
    #[command(after_help = "Example:\n  reprieve disable public.orders")]
    Disable {
        #[command(flatten)]
        database: DatabaseFlag,
        /// Globs over schema.table
        #[arg(required = true, value_name = "TABLE")]
        tables: Vec<String>,
    },
    /// Say what Reprieve would meet in a database, and what to do about it
    #[command(after_help = "Exit status 1 if something does not work until somebody acts.")]
    Doctor {
        #[command(flatten)]
        database: DatabaseFlag,
    },
    /// Show what the app port would make of a statement; nothing is executed
    #[command(after_help = "Example:\n  reprieve explain \"DELETE FROM orders WHERE is_test\"")]
    Explain {
        #[command(flatten)]
        database: DatabaseFlag,
        /// One or more statements
        sql: String,
        /// Schemas in which unqualified names are looked up
        #[arg(
            long,
            value_name = "SCHEMAS",
            default_value = "pg_catalog,public",
            value_delimiter = ','
        )]
        search_path: Vec<String>,
    },
    /// Read the configuration and say what is wrong with it
    CheckConfig,
    /// Look for rows, ledger entries and triggers that disagree
    #[command(
        after_help = "Prints a table, worst first. Exit status 1 if anything in it is worse than a notice.\n\n\
                      Example:\n  reprieve check --json | jq '.[] | select(.severity == \"error\")'"
    )]
    Check {
        #[command(flatten)]
        database: DatabaseFlag,
        /// Print a JSON array of objects instead: severity, finding, table, count, detail
        #[arg(long)]
        json: bool,
    },
    /// Disable every table and remove the keeper from a database
    #[command(after_help = "Refuses while deleted rows could still be brought back.")]
    Uninstall {
        #[command(flatten)]
        database: DatabaseFlag,
        /// Lose what could still be brought back
        #[arg(long)]
        drop_graveyard: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ModeFlag {
    Auto,
    Mark,
    Bin,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn keys_can_be_set() {
        let cli = Cli::parse_from(["reprieve", "serve", "--set", "listen.app=unix:/tmp/a=b"]);
        assert_eq!(
            cli.sources.set,
            [("listen.app".to_owned(), "unix:/tmp/a=b".to_owned())]
        );
        assert!(Cli::try_parse_from(["reprieve", "--set", "x", "serve"]).is_err());
    }
}
