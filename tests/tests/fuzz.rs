//! A short run of the random queries; `make fuzz` runs many.

use std::process::Command;

use tests::process::run;

#[test]
fn random_queries_say_the_same_through_the_proxy() {
    if tests::pair::direct() {
        return;
    }
    let mut fuzz = Command::new(env!("CARGO_BIN_EXE_fuzz"));
    fuzz.args([
        "--seed",
        "1",
        "--queries",
        "500",
        "--smith",
        "150",
        "--live",
        "30",
    ]);
    // The report, with each difference made small, is in what it prints; `run` panics with it.
    println!("{}", run(&mut fuzz));
}
