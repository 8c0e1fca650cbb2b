//! What an application does with tokio-postgres.

use std::fmt::{Debug, Write as _};

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, NoTls, Row, SimpleQueryMessage, Statement};

/// Runs the session and returns what it saw.
pub fn play(dsn: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(dsn, NoTls).await.expect("connect");
        let connection = tokio::spawn(connection);
        let mut seen = String::new();
        session(client, &mut seen)
            .await
            .unwrap_or_else(|error| panic!("{error:?}\n{seen}"));
        connection
            .await
            .expect("the connection's task")
            .expect("the connection");
        seen
    })
}

fn say(seen: &mut String, what: &str, value: impl Debug) {
    let _ = writeln!(seen, "{what}: {value:?}");
}

/// What a driver tells of columns, but for the OID of their table.
fn columns(statement: &Statement) -> Vec<String> {
    let columns = statement.columns().iter();
    columns
        .map(|column| {
            format!(
                "{} {} {}",
                column.name(),
                column.type_(),
                column.type_modifier()
            )
        })
        .collect()
}

fn shown(rows: &[Row]) -> Vec<String> {
    let one = |row: &Row| {
        let values = row.columns().iter().enumerate().map(|(at, column)| {
            let value = match *column.type_() {
                Type::INT4 => format!("{:?}", row.get::<_, Option<i32>>(at)),
                Type::INT8 => format!("{:?}", row.get::<_, Option<i64>>(at)),
                Type::TEXT | Type::VARCHAR => format!("{:?}", row.get::<_, Option<&str>>(at)),
                ref other => other.to_string(),
            };
            format!("{}={value}", column.name())
        });
        values.collect::<Vec<_>>().join(" ")
    };
    rows.iter().map(one).collect()
}

fn failure<T: Debug>(result: Result<T, Error>) -> String {
    match result {
        Ok(value) => format!("no error: {value:?}"),
        Err(error) => match error.as_db_error() {
            Some(error) => format!(
                "{:?} {} {:?} {:?} {:?} {:?}",
                error.code(),
                error.message(),
                error.detail(),
                error.hint(),
                error.position(),
                error.constraint()
            ),
            None => error.to_string(),
        },
    }
}

async fn session(mut client: Client, seen: &mut String) -> Result<(), Error> {
    say(
        seen,
        "all",
        shown(&client.query("SELECT * FROM item ORDER BY id", &[]).await?),
    );
    let insert = client
        .prepare("INSERT INTO item (id, name) VALUES ($1, $2) RETURNING *")
        .await?;
    say(seen, "parameters", (insert.params(), columns(&insert)));
    say(
        seen,
        "insert",
        shown(&client.query(&insert, &[&100, &"new"]).await?),
    );
    say(
        seen,
        "duplicate",
        failure(client.query(&insert, &[&100, &"new"]).await),
    );

    let delete = client.prepare("DELETE FROM item WHERE id = $1").await?;
    say(seen, "parameters", (delete.params(), columns(&delete)));
    for id in [1, 1, 2, 11] {
        say(seen, "deleted", client.execute(&delete, &[&id]).await?);
    }
    let returning = client
        .query(
            "DELETE FROM item WHERE id = ANY($1) RETURNING *",
            &[&vec![3, 4]],
        )
        .await?;
    say(seen, "returning", shown(&returning));
    say(
        seen,
        "parts",
        shown(&client.query("SELECT * FROM part ORDER BY id", &[]).await?),
    );
    say(
        seen,
        "no column",
        failure(client.query("SELECT nope FROM item", &[]).await),
    );
    say(
        seen,
        "hidden",
        failure(client.query("SELECT deleted_at FROM item", &[]).await),
    );
    say(
        seen,
        "orphan",
        failure(
            client
                .execute("INSERT INTO part VALUES (900, 1, 'x')", &[])
                .await,
        ),
    );

    // Futures polled together are pipelined.
    let (one, two, three) = tokio::join!(
        client.execute(&delete, &[&5]),
        client.query("SELECT id FROM item ORDER BY id", &[]),
        client.execute("DELETE FROM nowhere", &[]),
    );
    say(seen, "pipelined", (one?, shown(&two?), failure(three)));

    let messages = client
        .simple_query("DELETE FROM item WHERE id = 6; SELECT id FROM item ORDER BY id")
        .await?;
    for message in messages {
        match message {
            SimpleQueryMessage::Row(row) => say(seen, "simple", row.get(0)),
            SimpleQueryMessage::CommandComplete(count) => say(seen, "simple", count),
            _ => {}
        }
    }
    let transaction = client.transaction().await?;
    say(
        seen,
        "deleted",
        transaction.execute("DELETE FROM item", &[]).await?,
    );
    say(
        seen,
        "none",
        shown(&transaction.query("SELECT * FROM item", &[]).await?),
    );
    transaction.rollback().await?;

    let mut transaction = client.transaction().await?;
    let portal = transaction
        .bind("SELECT id, name FROM item ORDER BY id", &[])
        .await?;
    say(
        seen,
        "portal",
        shown(&transaction.query_portal(&portal, 2).await?),
    );
    say(seen, "deleted", transaction.execute(&delete, &[&7]).await?);
    say(
        seen,
        "portal",
        shown(&transaction.query_portal(&portal, 0).await?),
    );
    let savepoint = transaction.savepoint("s").await?;
    say(seen, "deleted", savepoint.execute(&delete, &[&8]).await?);
    savepoint.rollback().await?;
    transaction.commit().await?;
    say(
        seen,
        "left",
        shown(&client.query("SELECT id FROM item ORDER BY id", &[]).await?),
    );
    say(
        seen,
        "counted",
        shown(
            &client
                .query("SELECT count(*) FROM item NATURAL JOIN part", &[])
                .await?,
        ),
    );

    client
        .batch_execute("DELETE FROM part; DELETE FROM item")
        .await?;
    let joined = client
        .query(
            "SELECT * FROM item FULL JOIN part ON part.item_id = item.id",
            &[],
        )
        .await?;
    say(seen, "nothing", shown(&joined));
    for (what, sql) in [
        ("items", "SELECT count(*) FROM item"),
        ("parts", "SELECT count(*) FROM part"),
    ] {
        say(seen, what, shown(&client.query(sql, &[]).await?));
    }
    Ok(())
}
