//! Running the files, as pg_regress does: one database, schedule order, psql -X -a -q.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::cluster::{Cluster, Options};
use tests::process::{Guarded, root, run};
use tests::proxy::Proxy;

/// A file that takes longer is killed, and counts as different from there on.
const FILE_TIME_MAX: Duration = Duration::from_secs(900);

const MODES: &str =
    "SELECT mode || ' ' || count(*) FROM reprieve.tables t JOIN pg_class c ON c.oid = t.relid
                     GROUP BY mode ORDER BY mode DESC";

/// What `CHECK INTEGRITY` finds at the end.
const CHECK: &str = "SELECT concat_ws(' ', severity || ':', finding, table_name, count, detail) FROM reprieve.check_v1()";

/// What psql printed for each file.
pub type Outputs = BTreeMap<String, String>;

/// A run of all files.
pub struct Run {
    pub outputs: Outputs,
    /// How many tables ended in which mode, such as `mark 120`.
    pub modes: Vec<String>,
    /// What `CHECK INTEGRITY` found.
    pub check: Vec<String>,
}

/// Which tables are enabled behind a proxy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tables {
    None,
    All,
    /// And marked wherever that is possible at all.
    AllMarked,
}

/// The files, ready to run.
pub struct Suite {
    /// Names in the order of the schedule.
    pub files: Vec<String>,
    /// The text of each.
    pub texts: BTreeMap<String, String>,
    dir: PathBuf,
    results: PathBuf,
    _directory: Guarded,
}

impl Suite {
    /// Fetches the source package of the installed server, builds what the files load, and copies all of it to where the
    /// server's user can read it.
    pub fn prepare(only: Option<&str>) -> Suite {
        let source = run(&mut Command::new(root().join("tests/setup/pg_source.sh")));
        let source = Path::new(source.trim()).join("src/test/regress");
        let dir = tempfile::Builder::new()
            .prefix("reprieve-regress-")
            .tempdir()
            .expect("a temporary directory")
            .keep();
        let directory = Guarded::directory(&dir);
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        run(Command::new("cp")
            .arg("-r")
            .arg(source.join("sql"))
            .arg(source.join("data"))
            .arg(&dir));
        run(Command::new("chmod").arg("-R").arg("a+rX").arg(&dir));
        run(Command::new(root().join("tests/setup/regress_lib.sh")).arg(dir.join("lib")));
        let schedule =
            std::fs::read_to_string(source.join("parallel_schedule")).expect("the schedule");
        let mut files = Vec::new();
        for group in schedule
            .lines()
            .filter_map(|line| line.strip_prefix("test:"))
        {
            files.extend(group.split_whitespace().map(str::to_owned));
        }
        if let Some(only) = only {
            // The first file makes the tables that all others use.
            files.retain(|file| {
                file == "test_setup" || only.split(',').any(|wanted| wanted == file)
            });
        }
        assert!(!files.is_empty(), "the schedule names no files");
        let texts = files
            .iter()
            .map(|file| {
                let path = dir.join("sql").join(format!("{file}.sql"));
                let bytes = std::fs::read(&path)
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                (file.clone(), String::from_utf8_lossy(&bytes).into_owned())
            })
            .collect();
        let results = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root().join("target"), PathBuf::from);
        Suite {
            files,
            texts,
            dir,
            results: results.join("regress"),
            _directory: directory,
        }
    }

    /// Where reports go.
    pub fn results(&self) -> &Path {
        &self.results
    }

    /// What `run` of this name printed last time.
    pub fn kept(&self, name: &str) -> Run {
        let kept = self.results.join("out").join(name);
        let read = |file: &str| {
            let path = kept.join(file);
            std::fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let outputs = self
            .files
            .iter()
            .map(|file| (file.clone(), read(&format!("{file}.out"))))
            .collect();
        let lines = |file: &str| {
            let text = std::fs::read_to_string(kept.join(file)).unwrap_or_default();
            text.lines().map(str::to_owned).collect()
        };
        Run {
            outputs,
            modes: lines("modes"),
            check: lines("check"),
        }
    }

    /// Runs all files on a cluster of their own; through a proxy if `tables` is given. `done` is told of each file: its
    /// name, what it printed, how long it took.
    pub fn run(
        &self,
        name: &str,
        tables: Option<Tables>,
        done: impl Fn(&str, &str, Duration),
    ) -> Run {
        let conf = "autovacuum = off\njit = off\nmax_prepared_transactions = 2\ntimezone = 'UTC'\n";
        let cluster = Cluster::with(&Options {
            conf: conf.to_owned(),
            unchecked: Some("its files leave what they want to, with marks forced"),
            ..Options::default()
        });
        let mut superuser = cluster.superuser("postgres");
        superuser.run("CREATE DATABASE regression TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
        for setting in ["lc_messages", "lc_monetary", "lc_numeric", "lc_time"] {
            superuser.run(&format!("ALTER DATABASE regression SET {setting} TO 'C'"));
        }
        superuser.run("ALTER DATABASE regression SET bytea_output TO 'hex'");
        superuser.run("ALTER DATABASE regression SET timezone_abbreviations TO 'Default'");
        drop(superuser);
        let proxy = tables.map(|tables| {
            let enable = if tables == Tables::None { "" } else { "*.*" };
            let mark = if tables == Tables::AllMarked {
                "*.*"
            } else {
                ""
            };
            Proxy::with(cluster.port(), enable, &[("REPRIEVE__TABLES__MARK", mark)])
        });
        let port = proxy
            .as_ref()
            .map_or(cluster.port(), |proxy| proxy.app().port());
        let build = self.dir.join(name);
        std::fs::create_dir_all(build.join("results")).expect("mkdir");
        for dir in [&build, &build.join("results")] {
            std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777)).expect("chmod");
        }
        let kept = self.results.join("out").join(name);
        std::fs::create_dir_all(&kept).expect("mkdir");
        let mut outputs = Outputs::new();
        for file in &self.files {
            let started = Instant::now();
            let output = self.file(&build, port, file);
            std::fs::write(kept.join(format!("{file}.out")), &output)
                .expect("an output is written");
            done(file, &output, started.elapsed());
            outputs.insert(file.clone(), output);
        }
        if let Some(proxy) = &proxy {
            std::fs::write(kept.join("proxy.log"), proxy.log()).expect("a log is written");
            assert!(
                proxy.alive(),
                "the proxy died: {}",
                kept.join("proxy.log").display()
            );
        }
        let (modes, check) = match tables {
            Some(Tables::All | Tables::AllMarked) => {
                let mut superuser = cluster.superuser("regression");
                let check = superuser.try_run(CHECK);
                let check =
                    check.unwrap_or_else(|error| vec![format!("CHECK INTEGRITY fails: {error}")]);
                (superuser.run(MODES), check)
            }
            Some(Tables::None) | None => (Vec::new(), Vec::new()),
        };
        for (file, lines) in [("modes", &modes), ("check", &check)] {
            std::fs::write(kept.join(file), lines.join("\n")).expect("the end is written");
        }
        Run {
            outputs,
            modes,
            check,
        }
    }

    fn file(&self, build: &Path, port: u16, file: &str) -> String {
        let output = build.join("psql.out");
        let out = std::fs::File::create(&output).expect("an output file");
        let input = std::fs::File::open(self.dir.join("sql").join(format!("{file}.sql")))
            .expect("an input file");
        let mut psql = Command::new("psql");
        psql.args([
            "-X",
            "-a",
            "-q",
            "-d",
            "regression",
            "-v",
            "HIDE_TABLEAM=on",
            "-v",
            "HIDE_TOAST_COMPRESSION=on",
        ])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs([
            ("LANG", "C"),
            ("LC_MESSAGES", "C"),
            ("PGTZ", "America/Los_Angeles"),
            ("PGDATESTYLE", "Postgres, MDY"),
        ])
        .envs([
            ("PGOPTIONS", "-c intervalstyle=postgres_verbose"),
            ("PGUSER", "postgres"),
            ("PGHOST", "127.0.0.1"),
        ])
        .env("PGPORT", port.to_string())
        .env("PGAPPNAME", format!("pg_regress/{file}"))
        .env("PG_ABS_SRCDIR", &self.dir)
        .env("PG_ABS_BUILDDIR", build)
        .env("PG_LIBDIR", self.dir.join("lib"))
        .env("PG_DLSUFFIX", ".so")
        .stdin(input)
        .stdout(out.try_clone().expect("dup"))
        .stderr(Stdio::from(out));
        let mut child = psql.spawn().expect("psql starts");
        let started = Instant::now();
        let mut killed = false;
        while child.try_wait().expect("psql is waited for").is_none() {
            if started.elapsed() > FILE_TIME_MAX && !killed {
                child.kill().expect("psql is killed");
                killed = true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let text =
            String::from_utf8_lossy(&std::fs::read(&output).expect("an output")).into_owned();
        let text = text.replace(&*build.to_string_lossy(), "<build>");
        if killed {
            text + "\n<killed: took too long>\n"
        } else {
            text
        }
    }
}
