//! What a proxy costs: pgbench against PostgreSQL itself and through haproxy, pgbouncer and Reprieve, in turns within one run.
//!
//! Everything runs on this machine, so a proxy takes processor time from the server and from pgbench, and other programs take
//! it from all three: read the ratios, and the medians of several rounds.

mod load;
mod places;
mod plot;
mod report;

use load::Load;
use places::Places;
use report::Report;

const USAGE: &str = "throughput [rounds=5] [seconds=3] [clients=1,8,32] [modes=simple,extended,prepared] [loads=select,mixed] [svg=FILE]

Prints ratios to a direct connection and to pgbouncer; writes target/throughput.json and, if asked, a plot.";

/// What to measure, from the command line.
pub struct Plan {
    pub rounds: usize,
    pub seconds: u32,
    pub clients: Vec<u32>,
    pub modes: Vec<String>,
    pub loads: Vec<Load>,
    pub svg: Option<String>,
}

impl Plan {
    fn read(arguments: impl Iterator<Item = String>) -> Option<Plan> {
        let mut plan = Plan {
            rounds: 5,
            seconds: 3,
            clients: vec![1, 8, 32],
            modes: ["simple", "extended", "prepared"].map(Into::into).to_vec(),
            loads: vec![Load::Select, Load::Mixed],
            svg: None,
        };
        for argument in arguments {
            let (key, value) = argument.split_once('=')?;
            let list = value.split(',');
            match key {
                "rounds" => plan.rounds = value.parse().ok()?,
                "seconds" => plan.seconds = value.parse().ok()?,
                "clients" => plan.clients = list.map(|n| n.parse().ok()).collect::<Option<_>>()?,
                "modes" => plan.modes = list.map(Into::into).collect(),
                "loads" => plan.loads = list.map(Load::parse).collect::<Option<_>>()?,
                "svg" => plan.svg = Some(value.to_owned()),
                _ => return None,
            }
        }
        Some(plan)
    }
}

fn main() {
    let Some(plan) = Plan::read(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        std::process::exit(2);
    };
    println!("making a cluster, its tables, and starting the proxies");
    let places = Places::start();
    let mut report = Report::default();
    for &load in &plan.loads {
        for mode in &plan.modes {
            for &clients in &plan.clients {
                for round in 1..=plan.rounds {
                    for place in places.all() {
                        let measured = place.measure(load, mode, clients, plan.seconds);
                        report.add(load, mode, clients, place.name, measured);
                    }
                    eprint!(
                        "\r{load} {mode} {clients} clients: round {round} of {}   ",
                        plan.rounds
                    );
                }
                eprintln!();
                report.print(load, mode, clients);
            }
        }
    }
    report.summary();
    let json = tests::process::root().join("target/throughput.json");
    std::fs::write(&json, report.json()).expect("target/throughput.json is written");
    println!("\n{}", json.display());
    if let Some(file) = &plan.svg {
        std::fs::write(file, plot::svg(&report)).expect("the plot is written");
        println!("{file}");
    }
}
