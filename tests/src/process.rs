//! Child processes that cannot outlive the test that started them.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// Waits on its standard input, which is a pipe to the test. However the test ends, panic and SIGKILL included, the
/// pipe closes, the guarded process is signalled by its pid and its directory removed.
const GUARD: &str = r#"
signal=$1 dir=$2 log=$3; shift 3
trap : INT TERM HUP
"$@" </dev/null >>"$log" 2>&1 &
pid=$!
echo $pid
cat >/dev/null
kill -"$signal" $pid 2>/dev/null
(sleep 10; kill -9 $pid 2>/dev/null) >/dev/null 2>&1 &
killer=$!
wait $pid 2>/dev/null
kill $killer 2>/dev/null
test -z "$dir" || rm -rf "$dir" || { sleep 1; rm -rf "$dir"; }
"#;

/// A process with a guard.
pub struct Guarded {
    guard: Child,
    pipe: Option<ChildStdin>,
    pid: u32,
}

impl Guarded {
    /// Starts `command` with its output in `log`. At the end it gets `signal`, and `remove` is removed.
    pub fn start(
        command: &mut Command,
        signal: &str,
        remove: Option<&Path>,
        log: &Path,
    ) -> Guarded {
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard", signal]);
        guard.arg(remove.unwrap_or(Path::new(""))).arg(log);
        guard.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => guard.env(key, value),
                None => guard.env_remove(key),
            };
        }
        let mut guard = guard
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let pipe = guard.stdin.take();
        let mut line = String::new();
        BufReader::new(guard.stdout.take().expect("stdout is piped"))
            .read_line(&mut line)
            .expect("the guard names the pid");
        let pid = line.trim().parse().expect("a pid");
        Guarded { guard, pipe, pid }
    }

    /// Removes `dir` when it is dropped, or when this process has died.
    pub fn directory(dir: &Path) -> Guarded {
        Guarded::start(
            Command::new("sleep").arg("infinity"),
            "TERM",
            Some(dir),
            Path::new("/dev/null"),
        )
    }

    /// The pid of the guarded process, not of its guard.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal, by name, to the guarded process.
    pub fn signal(&self, name: &str) {
        signal(self.pid, name);
    }

    /// Whether the guarded process still runs.
    pub fn alive(&self) -> bool {
        std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).is_ok_and(|stat| {
            !stat
                .rsplit(')')
                .next()
                .unwrap_or("")
                .trim_start()
                .starts_with('Z')
        })
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.guard.wait();
    }
}

/// Sends a signal to one process.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("sh")
        .args(["-c", "kill -\"$1\" \"$2\"", "kill", name, &pid.to_string()])
        .status()
        .expect("sh starts");
    assert!(status.success(), "kill -{name} {pid} failed");
}

/// A TCP port on 127.0.0.1 that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are one level down")
        .to_path_buf()
}

/// Runs a command to its end and returns its standard output; panics with all it said if it fails.
pub fn run(command: &mut Command) -> String {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{:?} does not start: {error}", command.get_program()));
    assert!(
        output.status.success(),
        "{command:?} failed\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Two long runs at a time: each is serial or waits for its server, and machines have two processors at least.
pub fn both<A: Send, B: Send>(
    one: impl FnOnce() -> A + Send,
    two: impl FnOnce() -> B + Send,
) -> (A, B) {
    std::thread::scope(|scope| {
        let two = scope.spawn(two);
        let one = one();
        (one, two.join().expect("the other run ends"))
    })
}
