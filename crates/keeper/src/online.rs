//! What would keep others waiting too long in one transaction: the index of a big table, and the
//! move of many tombstones to the graveyard.

use std::time::Duration;

use crate::connection::{Keeper, column};
use crate::error::KeeperError;
use crate::tables::{Call, Progress, Step, Target};

/// An index on less than this is built before anybody notices.
const BIG_BYTES: i64 = 64 << 20;
/// Rows that one transaction moves to the graveyard.
const CHUNK_ROWS: i64 = 10_000;
const PROGRESS_PAUSE: Duration = Duration::from_millis(500);

impl Keeper {
    /// Adds our columns to a big table and builds its index while others write. The table is in
    /// state `preparing` until `enable_v1` adds the triggers: its columns are hidden, its deletes
    /// are as they were. If this is interrupted, enabling again goes on from there.
    pub(crate) async fn prepare_index(
        &self,
        target: &Target,
        requested: &str,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), KeeperError> {
        let doing = format!("enabling {}", target.name);
        let sql = include_str!("queries/prepare.sql");
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&target.oid, &requested, &BIG_BYTES];
        let plan = self.rows(&doing, sql, &parameters).await?;
        let Some(plan) = plan.first() else {
            return Ok(());
        };
        if column(plan, "needs_columns")? {
            let call = Call {
                doing,
                sql: column(plan, "add_columns")?,
                parameters: &[],
            };
            self.retrying(target, progress, &call).await?;
        }
        self.build_index(
            target,
            column(plan, "index")?,
            column(plan, "create_index")?,
            progress,
        )
        .await
    }

    async fn build_index(
        &self,
        target: &Target,
        index: &str,
        create: &str,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), KeeperError> {
        const DOING: &str = "building the index";
        let other = self.another().await?;
        // It waits for transactions that are older than itself, in nobody's way.
        // The event trigger keeps out: enabling goes on here.
        let settings =
            "SET lock_timeout = 0; SET statement_timeout = 0; SET reprieve.reconciling = '1'";
        self.batch(DOING, settings).await?;
        // What an interrupted attempt left behind is not valid.
        self.batch(DOING, &format!("DROP INDEX CONCURRENTLY IF EXISTS {index}"))
            .await?;
        let build = self.batch(DOING, create);
        tokio::pin!(build);
        let built = loop {
            tokio::select! {
                built = &mut build => break built,
                () = tokio::time::sleep(PROGRESS_PAUSE) => {
                    let sql = "SELECT blocks_done, blocks_total FROM pg_stat_progress_create_index
                               WHERE relid = $1::oid AND blocks_total > 0";
                    for row in other.rows(DOING, sql, &[&target.oid]).await? {
                        let step = Step::BuildingIndex {
                            done: column(&row, "blocks_done")?,
                            total: column(&row, "blocks_total")?,
                        };
                        progress(Progress { table: target.name.clone(), step });
                    }
                }
            }
        };
        self.pin().await?;
        built
    }

    /// Moves tombstones to the graveyard in chunks until few are left, so that disabling holds its
    /// lock shortly. Left to `disable_v1` where a trigger of the user would see the deletes.
    pub(crate) async fn bury_in_chunks(
        &self,
        target: &Target,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), KeeperError> {
        let doing = format!("moving tombstones of {} to the graveyard", target.name);
        let sql = "SELECT EXISTS (
                       SELECT FROM reprieve.tables t
                       WHERE t.relid = $1::oid AND t.mode = 'mark' AND t.marking AND NOT EXISTS (
                           SELECT FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
                           WHERE g.tgrelid = t.relid AND NOT g.tgisinternal
                             AND p.pronamespace <> 'reprieve'::regnamespace)) AS possible";
        let row = self.row(&doing, sql, &[&target.oid]).await?;
        if !column::<bool>(&row, "possible")? {
            return Ok(());
        }
        let table = &target.name;
        let sql = format!(
            "DELETE FROM ONLY {table} WHERE ctid = ANY (ARRAY(
                 SELECT ctid FROM ONLY {table} WHERE deletion_id IS NOT NULL LIMIT {CHUNK_ROWS}))"
        );
        // What the graveyard says of them.
        self.batch(&doing, "SET reprieve.cause = 'disable'").await?;
        let mut rows = 0;
        loop {
            let moved = self.client.execute(&sql, &[]).await;
            let moved = moved
                .map_err(|error| self.failed(&doing, &error))?
                .cast_signed();
            rows += moved;
            if rows > 0 {
                progress(Progress {
                    table: table.clone(),
                    step: Step::Burying { rows },
                });
            }
            if moved < CHUNK_ROWS {
                return self.batch(&doing, "RESET reprieve.cause").await;
            }
        }
    }
}
