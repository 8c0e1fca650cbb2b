//! Reads `tests/corpus/*.md`, the executable specification.
//!
//! A case is a heading with a `sql` block below it. A `catalog` block (SQL that makes tables and rows, and deletes some)
//! holds from where it stands to the next one in the same file. `becomes`, `refused` or `unmarks` says what the rewriter makes of it.

use std::path::Path;

/// One case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Case {
    /// The file's stem.
    pub file: String,
    pub heading: String,
    pub line: usize,
    pub catalog: String,
    pub sql: String,
    pub becomes: Option<String>,
    pub refused: Option<String>,
}

/// All cases of a directory, in the order of file names and lines.
pub fn read(dir: &Path) -> Vec<Case> {
    let mut files = std::fs::read_dir(dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect::<Vec<_>>();
    files.sort();
    let mut cases = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        cases.extend(parse(&stem, &text));
    }
    cases
}

/// The cases of one file.
pub fn parse(file: &str, text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut catalog = String::new();
    let mut current = Case::default();
    let mut block: Option<(String, String)> = None;
    for (index, line) in text.lines().enumerate() {
        match &mut block {
            Some((kind, content)) if line.trim_end() == "```" => {
                let content = std::mem::take(content);
                match kind.as_str() {
                    "catalog" => catalog = content,
                    "sql" => {
                        current.sql = content;
                        current.catalog = catalog.clone();
                    }
                    "becomes" => current.becomes = Some(content),
                    "refused" => current.refused = Some(content),
                    _ => {}
                }
                block = None;
            }
            Some((_, content)) => {
                content.push_str(line);
                content.push('\n');
            }
            None => {
                if let Some(kind) = line.strip_prefix("```") {
                    block = Some((kind.trim().to_owned(), String::new()));
                } else if line.starts_with('#') {
                    push(&mut cases, &mut current);
                    current.file = file.to_owned();
                    current.heading = line.trim_start_matches('#').trim().to_owned();
                    current.line = index + 1;
                }
            }
        }
    }
    assert!(block.is_none(), "{file}.md ends inside a block");
    push(&mut cases, &mut current);
    cases
}

fn push(cases: &mut Vec<Case>, current: &mut Case) {
    let case = std::mem::take(current);
    if !case.sql.is_empty() {
        cases.push(case);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_holds_until_the_next_one() {
        let text = "# file\n```catalog\nA\n```\n## one\nprose\n```sql\nS1\n```\n```becomes\nB\n```\n\
                    ## two\n```catalog\nC\n```\n```sql\nS2\n```\n```refused\nR\n```\n";
        let cases = parse("f", text);
        assert_eq!(cases.len(), 2);
        assert_eq!(
            (cases[0].heading.as_str(), cases[0].catalog.as_str()),
            ("one", "A\n")
        );
        assert_eq!(cases[0].becomes.as_deref(), Some("B\n"));
        assert_eq!(
            (cases[1].catalog.as_str(), cases[1].refused.as_deref()),
            ("C\n", Some("R\n"))
        );
    }
}
