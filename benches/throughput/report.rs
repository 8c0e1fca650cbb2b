//! Rounds to medians, medians to ratios.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::load::{Load, Measured, median};

const DIRECT: &str = "direct";
const PGBOUNCER: &str = "pgbouncer, session";

type Cell = (Load, String, u32);

/// All rounds of all places.
#[derive(Default)]
pub struct Report {
    cells: BTreeMap<Cell, Vec<(&'static str, Vec<Measured>)>>,
}

/// Medians of one place in one cell.
pub struct Line {
    pub place: &'static str,
    pub measured: Measured,
    /// Medians of the ratios within each round.
    pub to_direct: f64,
    pub to_pgbouncer: f64,
}

impl Report {
    pub fn add(
        &mut self,
        load: Load,
        mode: &str,
        clients: u32,
        place: &'static str,
        measured: Measured,
    ) {
        let cell = self
            .cells
            .entry((load, mode.to_owned(), clients))
            .or_default();
        match cell.iter_mut().find(|(known, _)| *known == place) {
            Some((_, rounds)) => rounds.push(measured),
            None => cell.push((place, vec![measured])),
        }
    }

    pub fn cells(&self) -> impl Iterator<Item = (&Cell, Vec<Line>)> {
        self.cells
            .iter()
            .map(|(cell, places)| (cell, lines(places)))
    }

    pub fn print(&self, load: Load, mode: &str, clients: u32) {
        let Some(places) = self.cells.get(&(load, mode.to_owned(), clients)) else {
            return;
        };
        println!(
            "{load}, {mode}, {clients} clients{:>14}  of direct  of pgbouncer  p50 us  p99 us  cpu s/100k  RSS MiB",
            "tps"
        );
        for line in lines(places) {
            let Measured {
                rate,
                p50,
                p99,
                cpu,
                memory,
            } = line.measured;
            println!(
                "  {:29} {rate:9.0} {:10.2} {:13.2} {p50:7.0} {p99:7.0} {cpu:11.2} {:8.1}",
                line.place,
                line.to_direct,
                line.to_pgbouncer,
                memory / 1024.0
            );
        }
    }

    /// Geometric means over all cells of a load.
    pub fn summary(&self) {
        println!(
            "\ngeometric means of throughput{:>19}  of direct  of pgbouncer  worst of pgbouncer",
            ""
        );
        let mut means: BTreeMap<(Load, &str), Vec<(f64, f64)>> = BTreeMap::new();
        for ((load, _, _), lines) in self.cells() {
            for line in lines {
                let ratios = means.entry((*load, line.place)).or_default();
                ratios.push((line.to_direct, line.to_pgbouncer));
            }
        }
        for ((load, place), ratios) in means {
            let mean = |of: fn(&(f64, f64)) -> f64| {
                (ratios.iter().map(|ratio| of(ratio).ln()).sum::<f64>() / ratios.len() as f64).exp()
            };
            let worst = ratios
                .iter()
                .map(|ratio| ratio.1)
                .fold(f64::INFINITY, f64::min);
            println!(
                "  {:8} {place:38} {:9.2} {:13.2} {worst:19.2}",
                load.to_string(),
                mean(|ratio| ratio.0),
                mean(|ratio| ratio.1)
            );
        }
    }

    pub fn json(&self) -> String {
        let mut text = String::from("[\n");
        for ((load, mode, clients), lines) in self.cells() {
            for line in lines {
                let Measured {
                    rate,
                    p50,
                    p99,
                    cpu,
                    memory,
                } = line.measured;
                let _ = writeln!(
                    text,
                    "{{\"load\":\"{load}\",\"mode\":\"{mode}\",\"clients\":{clients},\"place\":\"{}\",\"tps\":{rate:.1},\"of_direct\":{:.4},\
                     \"of_pgbouncer\":{:.4},\"p50_us\":{p50:.0},\"p99_us\":{p99:.0},\"cpu_s_per_100k\":{cpu:.3},\"rss_kib\":{memory:.0}}},",
                    line.place, line.to_direct, line.to_pgbouncer
                );
            }
        }
        text.truncate(text.trim_end_matches([',', '\n']).len());
        text + "\n]\n"
    }
}

fn lines(places: &[(&'static str, Vec<Measured>)]) -> Vec<Line> {
    let rounds_of = |name: &str| {
        places
            .iter()
            .find(|(place, _)| *place == name)
            .map(|(_, rounds)| rounds)
    };
    let ratio = |rounds: &[Measured], base: &str| {
        let base = rounds_of(base).map_or(&[][..], Vec::as_slice);
        median(
            rounds
                .iter()
                .zip(base)
                .map(|(one, base)| one.rate / base.rate),
        )
    };
    let line = |(place, rounds): &(&'static str, Vec<Measured>)| {
        let of = |field: fn(&Measured) -> f64| median(rounds.iter().map(field));
        Line {
            place,
            measured: Measured {
                rate: of(|m| m.rate),
                p50: of(|m| m.p50),
                p99: of(|m| m.p99),
                cpu: of(|m| m.cpu),
                memory: of(|m| m.memory),
            },
            to_direct: ratio(rounds, DIRECT),
            to_pgbouncer: ratio(rounds, PGBOUNCER),
        }
    };
    places.iter().map(line).collect()
}
