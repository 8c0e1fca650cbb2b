//! Running the specs, as pg_isolation_regress does: one database, schedule order, one spec at a time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::cluster::{Cluster, Options};
use tests::process::{root, run};
use tests::proxy::Proxy;

use crate::output::{Permutation, permutations};
use crate::spec::{Additions, with_additions};

/// A spec that takes longer is killed, and its last permutations are missing.
const SPEC_TIME_MAX: Duration = Duration::from_secs(400);
/// A step that takes longer is cancelled.
const STEP_SECONDS_MAX: &str = "40";
const DATABASE: &str = "isolation_regression";

/// Tables are marked once every sidecar hides tombstones, and a permutation is over before that: waits for it.
const WAIT_FOR_MARKS: &str = r#"DO $isolation$ BEGIN
    IF EXISTS (SELECT FROM reprieve.tables WHERE mode = 'mark') THEN
        FOR i IN 1 .. 400 LOOP
            EXIT WHEN NOT EXISTS (SELECT FROM reprieve.tables WHERE mode = 'mark' AND NOT marking);
            PERFORM pg_sleep(0.01);
        END LOOP;
        PERFORM pg_sleep(0.05);
    END IF;
END $isolation$"#;

/// Into the server's log, before the tables are dropped: modes, what lies in the bin, whether all agrees.
const NOTE: &str = r#"DO $isolation$ DECLARE
    t record;
    n int8;
    tombstones int8 := 0;
BEGIN
    FOR t IN SELECT relid::regclass AS name FROM reprieve.tables JOIN pg_class c ON c.oid = relid WHERE mode = 'mark' LOOP
        EXECUTE format('SELECT count(*) FROM ONLY %s WHERE deletion_id IS NOT NULL', t.name) INTO n;
        tombstones := tombstones + n;
    END LOOP;
    RAISE LOG 'isolation noted: % mark % bin % preparing % tombstones',
        (SELECT count(*) FROM reprieve.tables WHERE mode = 'mark' AND marking), (SELECT count(*) FROM reprieve.tables WHERE mode = 'bin'),
        (SELECT count(*) FROM reprieve.tables WHERE mode = 'mark' AND NOT marking), tombstones;
    FOR t IN SELECT * FROM reprieve.check_v1() WHERE severity <> 'notice' LOOP
        RAISE LOG 'isolation found: %', t;
    END LOOP;
EXCEPTION WHEN OTHERS THEN
    RAISE LOG 'isolation found: %', SQLERRM;
END $isolation$;"#;

/// Between two specs.
const FORGET: &str = "TRUNCATE reprieve.deletions, reprieve.deletion_tables, reprieve.graveyard, reprieve.relinks, reprieve.dropped, reprieve.acts CASCADE";

/// Which tables are enabled behind a proxy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tables {
    None,
    All,
    /// And marked wherever that is possible at all.
    AllMarked,
}

/// What one run of some specs gave.
pub struct Run {
    /// What each spec printed.
    pub outputs: BTreeMap<String, String>,
    /// At the ends of permutations: how many tables were marked, in the bin mode, not yet marking; tombstones.
    pub noted: [u64; 4],
    /// What `reprieve.check_v1()` found there, with the spec.
    pub found: Vec<String>,
}

/// The specs, ready to run.
pub struct Suite {
    /// Names in the order of the schedule.
    pub names: Vec<String>,
    texts: BTreeMap<String, String>,
    expected: BTreeMap<String, Vec<Vec<Permutation>>>,
    tester: PathBuf,
    results: PathBuf,
}

impl Suite {
    /// Finds the tester, and the specs of the installed server's source.
    pub fn prepare(only: Option<&str>) -> Suite {
        let source = run(&mut Command::new(root().join("tests/setup/pg_source.sh")));
        let source = Path::new(source.trim()).join("src/test/isolation");
        let tester = run(&mut Command::new(
            root().join("tests/setup/isolation_tester.sh"),
        ));
        let read = |path: &Path| {
            let bytes =
                std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let mut names = read(&source.join("isolation_schedule"))
            .lines()
            .filter_map(|line| line.strip_prefix("test:"))
            .flat_map(str::split_whitespace)
            .map(str::to_owned)
            .collect::<Vec<_>>();
        // Ours come behind PostgreSQL's.
        let own = root().join("tests/isolation/specs");
        let mut added = std::fs::read_dir(&own)
            .expect("our own specs")
            .filter_map(|entry| {
                let name = entry.expect("an entry").file_name();
                Some(name.to_str()?.strip_suffix(".spec")?.to_owned())
            })
            .collect::<Vec<_>>();
        added.sort();
        names.extend(added);
        names.retain(|name| only.is_none_or(|only| only.split(',').any(|wanted| wanted == name)));
        assert!(!names.is_empty(), "the schedule names no such spec");
        let mut texts = BTreeMap::new();
        let mut expected = BTreeMap::new();
        for name in &names {
            let file = format!("{name}.spec");
            let path = match own.join(&file) {
                path if path.exists() => path,
                _ => source.join("specs").join(&file),
            };
            texts.insert(name.clone(), read(&path));
            let variants = ["", "_1", "_2", "_3"]
                .iter()
                .map(|variant| source.join("expected").join(format!("{name}{variant}.out")))
                .filter(|path| path.exists())
                .map(|path| permutations(&read(&path)))
                .collect();
            expected.insert(name.clone(), variants);
        }
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root().join("target"), PathBuf::from);
        Suite {
            names,
            texts,
            expected,
            tester: PathBuf::from(tester.trim()),
            results: target.join("isolation"),
        }
    }

    /// Where reports go.
    pub fn results(&self) -> &Path {
        &self.results
    }

    /// What PostgreSQL's developers expect of a spec, in all variants.
    pub fn expected(&self, name: &str) -> &[Vec<Permutation>] {
        &self.expected[name]
    }

    /// Runs specs on a cluster of their own, through a proxy if `tables` is given. `done` is told of each: its name and what
    /// it printed.
    pub fn run(
        &self,
        name: &str,
        tables: Option<Tables>,
        specs: &[String],
        done: impl Fn(&str, &str),
    ) -> Run {
        let cluster = Cluster::with(&Options {
            conf: "autovacuum = off\njit = off\ntimezone = 'UTC'\n".to_owned(),
            unchecked: Some("its specifications end where they want to"),
            ..Options::default()
        });
        cluster.superuser("postgres").run(&format!(
            "CREATE DATABASE {DATABASE} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        ));
        let proxy = tables.map(|tables| {
            let (enable, mark) = match tables {
                Tables::None => ("", ""),
                Tables::All => ("*.*", ""),
                Tables::AllMarked => ("*.*", "*.*"),
            };
            Proxy::with(cluster.port(), enable, &[("REPRIEVE__TABLES__MARK", mark)])
        });
        let port = proxy
            .as_ref()
            .map_or(cluster.port(), |proxy| proxy.app().port());
        let kept = self.results.join(name);
        std::fs::create_dir_all(&kept).expect("mkdir");
        let mut result = Run {
            outputs: BTreeMap::new(),
            noted: [0; 4],
            found: Vec::new(),
        };
        let enabled = matches!(tables, Some(Tables::All | Tables::AllMarked));
        for spec in specs {
            let mut text = self.texts[spec].clone();
            if enabled {
                text = with_additions(
                    &text,
                    &Additions {
                        after_setup: WAIT_FOR_MARKS,
                        before_teardown: NOTE,
                    },
                );
            }
            let logged = cluster.log().len();
            let output = self.spec(&kept, spec, &text, port);
            result.note(spec, &cluster.log()[logged..]);
            if enabled {
                // Kept tables of thousands of permutations would make every look at the ledger slow.
                cluster.superuser(DATABASE).run(FORGET);
            }
            done(spec, &output);
            result.outputs.insert(spec.clone(), output);
        }
        if let Some(proxy) = &proxy {
            std::fs::write(kept.join("proxy.log"), proxy.log()).expect("a log is written");
            assert!(proxy.alive(), "the proxy died: {}", kept.display());
        }
        std::fs::write(kept.join("server.log"), cluster.log()).expect("a log is written");
        result
    }

    fn spec(&self, kept: &Path, name: &str, text: &str, port: u16) -> String {
        let (input, output) = (
            kept.join(format!("{name}.spec")),
            kept.join(format!("{name}.out")),
        );
        std::fs::write(&input, text).expect("a spec is written");
        let out = std::fs::File::create(&output).expect("an output file");
        let mut tester = Command::new(&self.tester);
        tester
            .arg(format!("dbname={DATABASE}"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs([
                ("LANG", "C"),
                ("LC_MESSAGES", "C"),
                ("PGUSER", "postgres"),
                ("PGHOST", "127.0.0.1"),
                ("PGTZ", "America/Los_Angeles"),
                ("PGDATESTYLE", "Postgres, MDY"),
                ("PGOPTIONS", "-c intervalstyle=postgres_verbose"),
                ("PGISOLATIONTIMEOUT", STEP_SECONDS_MAX),
            ])
            .env("PGPORT", port.to_string())
            .env("PGAPPNAME", format!("isolation/{name}"))
            .stdin(std::fs::File::open(&input).expect("an input file"))
            .stdout(out.try_clone().expect("dup"))
            .stderr(Stdio::from(out));
        let mut child = tester.spawn().expect("isolationtester starts");
        let started = Instant::now();
        let mut killed = false;
        while child.try_wait().expect("it is waited for").is_none() {
            if started.elapsed() > SPEC_TIME_MAX && !killed {
                child.kill().expect("it is killed");
                killed = true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let text = std::fs::read(&output).expect("an output");
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Run {
    fn note(&mut self, spec: &str, log: &str) {
        for line in log.lines() {
            if let Some((_, noted)) = line.split_once("LOG:  isolation noted: ") {
                let numbers = noted.split(' ').filter_map(|word| word.parse::<u64>().ok());
                for (sum, number) in self.noted.iter_mut().zip(numbers) {
                    *sum += number;
                }
            } else if let Some((_, found)) = line.split_once("LOG:  isolation found: ") {
                self.found.push(format!("{spec}: {found}"));
            }
        }
    }
}
