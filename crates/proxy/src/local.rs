//! Rows of the SHOW commands that only this process can answer.

use std::time::{Duration, SystemTime};

use rewrite::admin::HELP;
use session::{CatalogState, LocalRows, LocalShow, Port};

use crate::server::Shared;

pub(crate) fn rows(shared: &Shared, what: LocalShow) -> LocalRows {
    match what {
        LocalShow::Clients => clients(shared),
        LocalShow::Stats => stats(shared),
        LocalShow::Version => table(
            &["version"],
            vec![vec![format!("reprieve {}", shared.version())]],
        ),
        LocalShow::Help => table(
            &["command", "what it does"],
            HELP.iter()
                .map(|entry| vec![entry.form.into(), entry.meaning.into()])
                .collect(),
        ),
    }
}

fn clients(shared: &Shared) -> LocalRows {
    let now = SystemTime::now();
    let rows = shared.clients.list().into_iter().map(|(id, client)| {
        vec![
            Some(id.to_string()),
            Some(port(client.port).to_owned()),
            Some(client.user.clone()),
            Some(client.database.clone()),
            client.application.clone(),
            Some(client.address.clone()),
            Some(if client.encrypted { "yes" } else { "no" }.to_owned()),
            Some(client.place.to_string()),
            client.backend_pid().map(|pid| pid.to_string()),
            Some(seconds(now.duration_since(client.connected))),
        ]
    });
    let columns = [
        "id",
        "port",
        "user",
        "database",
        "application",
        "address",
        "tls",
        "upstream",
        "backend_pid",
        "connected_seconds",
    ];
    LocalRows {
        columns: columns.map(str::to_owned).to_vec(),
        rows: rows.collect(),
    }
}

fn stats(shared: &Shared) -> LocalRows {
    let (app, admin) = shared.clients.now();
    let mut rows = vec![
        vec![
            "uptime_seconds".to_owned(),
            seconds(shared.started().elapsed()),
        ],
        vec!["clients_app".to_owned(), app.to_string()],
        vec!["clients_admin".to_owned(), admin.to_string()],
    ];
    for (name, value) in shared.metrics.stats() {
        rows.push(vec![name.to_owned(), value.to_string()]);
    }
    for (name, state) in shared.databases.list() {
        rows.push(vec![format!("catalog of {name}"), describe(&state)]);
    }
    table(&["name", "value"], rows)
}

fn describe(state: &CatalogState) -> String {
    match state {
        CatalogState::NotInstalled => "not installed".to_owned(),
        CatalogState::Loading => "loading".to_owned(),
        CatalogState::Unavailable(reason) => format!("unavailable: {reason}"),
        CatalogState::Ready(catalog) => {
            let tables = catalog.tables().count();
            format!(
                "generation {:016x}, {tables} tables",
                catalog.generation().0
            )
        }
    }
}

fn port(port: Port) -> &'static str {
    match port {
        Port::App => "app",
        Port::Admin => "admin",
    }
}

fn seconds(duration: Result<Duration, std::time::SystemTimeError>) -> String {
    duration.unwrap_or_default().as_secs().to_string()
}

fn table(columns: &[&str], rows: Vec<Vec<String>>) -> LocalRows {
    LocalRows {
        columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        rows: rows
            .into_iter()
            .map(|row| row.into_iter().map(Some).collect())
            .collect(),
    }
}
