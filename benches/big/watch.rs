//! Memory of a process while something runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::load::resident_kib;

const INTERVAL: Duration = Duration::from_millis(20);

/// Runs `what`; returns what it returns, and by how many MiB the process was larger than before at most.
pub fn growth<T>(process: Option<u32>, what: impl FnOnce() -> T) -> (T, f64) {
    let Some(pid) = process else {
        return (what(), 0.0);
    };
    let before = resident_kib(pid);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut most = before;
            while !done.load(Ordering::Relaxed) {
                most = most.max(resident_kib(pid));
                std::thread::sleep(INTERVAL);
            }
            most
        });
        let result = what();
        done.store(true, Ordering::Relaxed);
        let most = watcher.join().expect("the watcher ends");
        (result, (most - before) / 1024.0)
    })
}
