//! The incident with 3 of 1000 of its rows; `make incident` replays all of it.

use std::process::Command;

use tests::process::run;

#[test]
fn the_incident_is_told_of_and_undone() {
    if tests::pair::direct() {
        return;
    }
    let told = run(Command::new(env!("CARGO_BIN_EXE_incident")).arg("scale=0.003"));
    println!("{told}");
    assert!(
        told.contains("the guard stops the script after 0 accounts: RV001"),
        "{told}"
    );
    assert!(told.ends_with("ok\n"), "{told}");
}
