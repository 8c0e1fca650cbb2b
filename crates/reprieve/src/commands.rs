//! The subcommands that work in a database and end.

use std::io::Write;
use std::process::ExitCode;

use keeper::{
    Graveyard, IntegrityFinding, Keeper, KeeperError, Progress, RequestedMode, Severity, Step,
    TableState,
};

use crate::cli::{DatabaseFlag, ModeFlag};
use crate::config_file::Sources;
use crate::settings::Config;

type Outcome = Result<ExitCode, String>;

/// Writes a line to stdout; a reader that has gone (`| head`) is no error.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Writes a line to stderr.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

pub(crate) fn told(error: &KeeperError) -> String {
    match error.hint() {
        Some(hint) => format!("{error}\nhint: {hint}"),
        None => error.to_string(),
    }
}

/// Connects to the database that is meant.
pub(crate) async fn connect(sources: &Sources, flag: &DatabaseFlag) -> Result<Keeper, String> {
    let config = Config::load(sources).map_err(|error| error.to_string())?;
    let keeper = config.require_keeper().map_err(|error| error.to_string())?;
    let database = flag
        .database
        .as_deref()
        .or(keeper.database())
        .or(keeper.user())
        .ok_or("no database: name one with --database or in keeper.url")?;
    Keeper::connect(keeper, database)
        .await
        .map_err(|error| told(&error))
}

pub async fn install(sources: &Sources, flag: &DatabaseFlag) -> Outcome {
    let mut keeper = connect(sources, flag).await?;
    let report = keeper.install().await.map_err(|error| told(&error))?;
    let config = Config::load(sources).map_err(|error| error.to_string())?;
    if config.tables != keeper::TableSettings::default() {
        keeper
            .set_table_settings(&config.tables)
            .await
            .map_err(|error| told(&error))?;
    }
    let database = keeper.database();
    match report.previous {
        None => say(&format!(
            "keeper {} installed in {database}",
            report.version
        )),
        Some(previous) if previous == report.version => {
            say(&format!(
                "keeper {} was installed in {database} already",
                report.version
            ));
        }
        Some(previous) => {
            say(&format!(
                "keeper in {database} upgraded from {previous} to {}",
                report.version
            ));
        }
    }
    for shortcoming in report.shortcomings {
        say(&format!("note: {shortcoming}"));
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn enable(
    sources: &Sources,
    flag: &DatabaseFlag,
    tables: &[String],
    mode: ModeFlag,
) -> Outcome {
    let mut keeper = connect(sources, flag).await?;
    let mode = match mode {
        ModeFlag::Auto => RequestedMode::Auto,
        ModeFlag::Mark => RequestedMode::Mark,
        ModeFlag::Bin => RequestedMode::Bin,
    };
    let enabled = keeper
        .enable(tables, mode, &mut show)
        .await
        .map_err(|error| told(&error))?;
    say_states(&enabled.states);
    for failed in &enabled.failed {
        tell(&format!(
            "{} not enabled: {}",
            failed.table,
            told(&failed.error)
        ));
    }
    Ok(if enabled.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

pub async fn disable(sources: &Sources, flag: &DatabaseFlag, tables: &[String]) -> Outcome {
    let mut keeper = connect(sources, flag).await?;
    let states = keeper
        .disable(tables, &mut show)
        .await
        .map_err(|error| told(&error))?;
    say_states(&states);
    Ok(ExitCode::SUCCESS)
}

fn say_states(states: &[TableState]) {
    for state in states {
        let waits = if state.mode == "mark" && !state.marking {
            " (captured in the graveyard until every sidecar has followed)"
        } else {
            ""
        };
        let reason = if state.reason.is_empty() {
            String::new()
        } else {
            format!(": {}", state.reason)
        };
        say(&format!("{} {}{reason}{waits}", state.table, state.mode));
    }
}

fn show(progress: Progress) {
    let what = match progress.step {
        Step::Locked {
            attempt,
            attempts_max,
        } => {
            format!("locked by others, attempt {attempt} of {attempts_max}")
        }
        Step::Enabling => "adding columns and triggers".to_owned(),
        Step::BuildingIndex { done, total } => {
            format!("building the index, block {done} of {total}")
        }
        Step::WaitingForSidecars { pending } => format!("waiting for {pending} sidecars"),
        Step::Burying { rows } => format!("moving deleted rows to the graveyard, {rows} so far"),
        Step::Done => "done".to_owned(),
        _ => return,
    };
    tell(&format!("{}: {what}", progress.table));
}

pub async fn doctor(sources: &Sources, flag: &DatabaseFlag) -> Outcome {
    let keeper = connect(sources, flag).await?;
    let findings = keeper.doctor().await.map_err(|error| told(&error))?;
    let mut worst = Severity::Info;
    for finding in &findings {
        worst = worst.max(finding.severity);
        let severity = match finding.severity {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Problem => "problem",
        };
        say(&format!(
            "{severity}: {}: {}",
            finding.subject, finding.text
        ));
        if let Some(hint) = &finding.hint {
            say(&format!("  hint: {hint}"));
        }
    }
    if findings.is_empty() {
        say("nothing to report");
    }
    Ok(if worst == Severity::Problem {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

pub async fn check(sources: &Sources, flag: &DatabaseFlag, json: bool) -> Outcome {
    let keeper = connect(sources, flag).await?;
    let findings = keeper.check().await.map_err(|error| told(&error))?;
    if json {
        let text = serde_json::to_string_pretty(&findings).map_err(|error| error.to_string())?;
        say(&text);
    } else if findings.is_empty() {
        say("rows and ledger agree");
    } else {
        say_table(&findings);
    }
    Ok(if findings.iter().any(IntegrityFinding::is_problem) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// One line per finding, columns as wide as their widest entry; the last one is as long as it is.
fn say_table(findings: &[IntegrityFinding]) {
    let heading = ["severity", "table", "count", "finding", "detail"].map(str::to_owned);
    let lines = findings.iter().map(|finding| {
        [
            finding.severity.clone(),
            finding.table.clone().unwrap_or_default(),
            finding.count.map(|n| n.to_string()).unwrap_or_default(),
            finding.finding.clone(),
            finding.detail.clone().unwrap_or_default(),
        ]
    });
    let lines: Vec<_> = std::iter::once(heading).chain(lines).collect();
    let widths = [0, 1, 2, 3].map(|place| {
        let lengths = lines.iter().map(|line| line[place].chars().count());
        lengths.max().unwrap_or_default()
    });
    for [severity, table, count, finding, detail] in &lines {
        let [w0, w1, w2, w3] = widths;
        say(&format!(
            "{severity:w0$}  {table:w1$}  {count:>w2$}  {finding:w3$}  {detail}"
        ));
    }
}

pub async fn uninstall(sources: &Sources, flag: &DatabaseFlag, drop_graveyard: bool) -> Outcome {
    let mut keeper = connect(sources, flag).await?;
    let graveyard = if drop_graveyard {
        Graveyard::Drop
    } else {
        Graveyard::Keep
    };
    let report = keeper
        .uninstall(graveyard, &mut show)
        .await
        .map_err(|error| told(&error))?;
    let tables = report.tables.len();
    say(&format!(
        "keeper removed; {tables} tables disabled, {} deleted rows lost",
        report.lost_rows
    ));
    Ok(ExitCode::SUCCESS)
}

pub fn check_config(sources: &Sources) -> Outcome {
    let config = Config::load(sources).map_err(|error| error.to_string())?;
    let places: Vec<String> = config
        .settings
        .upstream
        .places
        .iter()
        .map(ToString::to_string)
        .collect();
    say(&format!("upstream {}", places.join(", ")));
    match &config.keeper {
        Some(keeper) => say(&format!("keeper {keeper}")),
        None => say("keeper none: everything is relayed as it is"),
    }
    say("the configuration is good");
    Ok(ExitCode::SUCCESS)
}
