//! What the first words of a statement say, and the few words behind them that matter.

use std::ops::Range;

use crate::lex::{Token, TokenKind, Tokens};
use crate::plan::{Effect, Reply};

/// First tokens that are kept: `CREATE OR REPLACE LOCAL TEMPORARY RECURSIVE VIEW name` fits.
const FIRST_TOKENS_MAX: usize = 8;

/// One statement while its tokens go by.
#[derive(Debug, Default)]
pub(super) struct Head {
    first: [Option<Token>; FIRST_TOKENS_MAX],
    count: usize,
    end: usize,
    /// Offset of the first name of a marked table.
    pub first_name: Option<usize>,
    /// Offset of the first name of a system relation in which things of ours stand.
    pub first_system: Option<usize>,
    /// True if one of our columns' names occurs.
    pub names_hidden: bool,
    /// Open parentheses: `CREATE RULE ... DO (a; b)` is one statement.
    parentheses: usize,
    /// Open `BEGIN ATOMIC` and `CASE` of a function body in SQL.
    blocks: usize,
    last_word: LastWord,
    seen: Seen,
}

/// The token before, as far as it decides what a word means.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum LastWord {
    #[default]
    Other,
    /// `.` or AS: the next word is a name.
    Label,
    Begin,
    /// INSERT or MERGE: the next INTO is theirs.
    Writes,
}

/// Words that occur somewhere in the statement.
#[derive(Debug, Default)]
struct Seen {
    select: bool,
    /// AS outside of parentheses: CREATE TABLE ... AS.
    outer_as: bool,
    /// INTO of a SELECT INTO.
    select_into: bool,
    set_config: bool,
    /// `BEGIN ATOMIC` or `RETURN`: a function body that is no string.
    sql_body: bool,
    /// TEMP, TEMPORARY or CREATE, which matter within EXPLAIN.
    create: bool,
}

/// What is known of a statement without parsing it.
pub(super) struct Verdict {
    pub effect: Effect,
    /// True if it neither reads nor writes rows through us, whatever it names.
    pub passes: bool,
    pub unsettles: Unsettles,
}

/// Whether names may mean something else behind the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsettles {
    Nothing,
    /// Only if it names a marked table.
    Named,
    Everything,
}

impl Unsettles {
    pub fn applies(self, names_ours: bool) -> bool {
        match self {
            Self::Nothing => false,
            Self::Named => names_ours,
            Self::Everything => true,
        }
    }
}

impl Head {
    pub fn push(&mut self, text: &[u8], token: Token) {
        if let Some(slot) = self.first.get_mut(self.count) {
            *slot = Some(token);
        }
        self.count += 1;
        self.end = token.end as usize;
        self.last_word = match token.kind {
            TokenKind::LeftParenthesis => {
                self.parentheses += 1;
                LastWord::Other
            }
            TokenKind::RightParenthesis => {
                self.parentheses = self.parentheses.saturating_sub(1);
                LastWord::Other
            }
            TokenKind::Dot => LastWord::Label,
            TokenKind::Word => self.word(&text[token.range()]),
            TokenKind::QuotedIdentifier if &text[token.range()] == b"\"set_config\"" => {
                self.seen.set_config = true;
                LastWord::Other
            }
            // What it spells is known once its UESCAPE is.
            TokenKind::UnicodeIdentifier => {
                self.seen.set_config = true;
                LastWord::Other
            }
            _ => LastWord::Other,
        };
    }

    fn word(&mut self, word: &[u8]) -> LastWord {
        let is = |keyword: &str| word.eq_ignore_ascii_case(keyword.as_bytes());
        let before = self.last_word;
        match word.len() {
            2 if is("as") => {
                self.seen.outer_as |= self.parentheses == 0 && before != LastWord::Label;
                return LastWord::Label;
            }
            3 if self.blocks > 0 && before != LastWord::Label && is("end") => self.blocks -= 1,
            4 if self.blocks > 0 && before != LastWord::Label && is("case") => self.blocks += 1,
            4 if is("into") => self.seen.select_into |= before != LastWord::Writes,
            5 if is("begin") => return LastWord::Begin,
            5 if is("merge") => return LastWord::Writes,
            6 if is("insert") => return LastWord::Writes,
            6 if is("select") => self.seen.select = true,
            6 if is("return") => self.seen.sql_body = true,
            6 if is("create") => self.seen.create = true,
            6 if before == LastWord::Begin && is("atomic") && self.seen.create => {
                self.seen.sql_body = true;
                self.blocks += 1;
            }
            10 if is("set_config") => self.seen.set_config = true,
            _ => {}
        }
        LastWord::Other
    }

    /// True if a semicolon here ends the statement.
    pub fn ends_statement(&self) -> bool {
        self.parentheses == 0 && self.blocks == 0
    }

    /// Bytes from the first to the last token. `None`: no token.
    pub fn range(&self) -> Option<Range<usize>> {
        let first = self.first[0]?;
        Some(first.start as usize..self.end)
    }

    /// True for definitions that the server keeps with the columns they find, and in front of which the keeper takes ours
    /// away: rules, policies, functions.
    pub fn keeps_columns(&self, text: &[u8]) -> bool {
        let words = Words {
            text,
            first: &self.first,
        };
        match words.word(0).as_str() {
            "create" => matches!(
                words.created().as_str(),
                "rule" | "policy" | "function" | "procedure"
            ),
            "alter" => words.is(1, "policy"),
            _ => false,
        }
    }

    /// True for definitions behind which a table may no longer be marked, or have other columns.
    pub fn may_end_marking(&self, text: &[u8]) -> bool {
        let words = Words {
            text,
            first: &self.first,
        };
        let is_temporary = (1..4).any(|at| words.is(at, "temp") || words.is(at, "temporary"));
        match words.word(0).as_str() {
            "alter" | "do" | "call" => true,
            "create" => match words.created().as_str() {
                "table" => !is_temporary,
                "function" | "procedure" | "trigger" | "rule" | "policy" | "materialized"
                | "index" | "publication" | "extension" => true,
                _ => false,
            },
            _ => false,
        }
    }

    pub fn alters(&self, text: &[u8]) -> bool {
        let words = Words {
            text,
            first: &self.first,
        };
        words.is(0, "alter")
    }

    pub fn sets_constraints(&self, text: &[u8]) -> bool {
        let words = Words {
            text,
            first: &self.first,
        };
        words.is(0, "set") && words.is(1, "constraints") && !words.is(2, "all")
    }

    pub fn is_block(&self, text: &[u8]) -> bool {
        let words = Words {
            text,
            first: &self.first,
        };
        words.is(0, "do")
    }

    pub fn verdict(&self, text: &[u8]) -> Verdict {
        let words = Words {
            text,
            first: &self.first,
        };
        let effect = self.effect(&words);
        Verdict {
            passes: self.passes(&words),
            unsettles: self.unsettles(&words, &effect),
            effect,
        }
    }

    fn effect(&self, words: &Words<'_>) -> Effect {
        let set_config = if self.seen.set_config {
            Effect::Settings
        } else {
            Effect::None
        };
        match words.word(0).as_str() {
            "begin" | "start" => Effect::Begin,
            "end" | "abort" => Effect::End,
            "commit" | "rollback" if words.is(1, "prepared") => Effect::Ddl,
            "commit" => Effect::End,
            "rollback" if words.is(words.after_transaction(1), "to") => Effect::RollbackTo,
            "rollback" => Effect::End,
            "prepare" if words.is(1, "transaction") => Effect::End,
            "prepare" => match words.name(1) {
                Some(name) => Effect::Prepare {
                    name,
                    reply: Reply::AsIs,
                },
                None => Effect::None,
            },
            "execute" => match words.name(1) {
                Some(name) => Effect::Execute { name },
                None => Effect::None,
            },
            "deallocate" => {
                let at = 1 + usize::from(words.is(1, "prepare") && words.name(2).is_some());
                let all = words.is(at, "all");
                Effect::Deallocate {
                    name: if all { None } else { words.name(at) },
                }
            }
            "set" | "reset" if words.changes_names() => Effect::Settings,
            "discard" => Effect::Settings,
            "create" | "alter" | "drop" | "truncate" | "grant" | "revoke" | "import"
            | "reassign" | "do" | "call" => Effect::Ddl,
            "explain" if self.seen.create || self.seen.select_into => Effect::Ddl,
            "select" | "with" | "(" if self.seen.select_into => Effect::Ddl,
            _ => set_config,
        }
    }

    /// The explicit list of what needs no reading: statements that touch no rows through us, or
    /// whose effect on rows the keeper's triggers see (TRUNCATE, CALL, DO). Everything else that
    /// names a marked table is read or refused.
    fn passes(&self, words: &Words<'_>) -> bool {
        match words.word(0).as_str() {
            "begin" | "start" | "commit" | "end" | "abort" | "rollback" | "savepoint"
            | "release" | "set" | "reset" | "show" | "discard" | "deallocate" | "fetch"
            | "move" | "close" | "listen" | "unlisten" | "notify" | "load" | "checkpoint" => true,
            "grant" | "revoke" | "drop" | "truncate" | "comment" | "security" | "reassign"
            | "import" | "vacuum" | "analyze" | "analyse" | "cluster" | "reindex" | "refresh"
            | "lock" | "do" | "call" => true,
            "prepare" => words.is(1, "transaction"),
            "alter" => words.is(1, "default") || !self.seen.select,
            "create" => self.created_passes(words),
            _ => false,
        }
    }

    fn created_passes(&self, words: &Words<'_>) -> bool {
        match words.created().as_str() {
            "table" => !self.seen.outer_as && !self.seen.select,
            "function" | "procedure" => !self.seen.sql_body && !self.seen.select,
            "index" | "trigger" | "policy" | "statistics" | "sequence" | "type" | "domain"
            | "foreign" | "publication" | "subscription" | "extension" | "server" | "role"
            | "user" | "group" | "database" | "tablespace" | "aggregate" | "operator" | "cast"
            | "collation" | "conversion" | "language" | "transform" | "access" | "event"
            | "text" => !self.seen.select,
            // Views, rules, schemas with elements.
            _ => false,
        }
    }

    fn unsettles(&self, words: &Words<'_>, effect: &Effect) -> Unsettles {
        match effect {
            Effect::Settings | Effect::RollbackTo => Unsettles::Everything,
            Effect::Ddl => match (words.word(0).as_str(), words.created().as_str()) {
                ("truncate" | "grant" | "revoke" | "reassign" | "commit" | "rollback", _)
                | ("create", "index" | "trigger" | "policy" | "statistics") => Unsettles::Nothing,
                ("alter" | "drop", "schema") => Unsettles::Everything,
                _ => Unsettles::Named,
            },
            Effect::None
            | Effect::Begin
            | Effect::End
            | Effect::Prepare { .. }
            | Effect::Execute { .. }
            | Effect::Deallocate { .. } => Unsettles::Nothing,
        }
    }
}

/// A keyword in lower case, without an allocation.
#[derive(Default)]
struct Keyword {
    bytes: [u8; 16],
    length: usize,
}

impl Keyword {
    /// Empty for what is too long to be one we know.
    fn new(word: &[u8]) -> Self {
        let mut keyword = Self::default();
        if let Some(bytes) = keyword.bytes.get_mut(..word.len()) {
            bytes.copy_from_slice(word);
            bytes.make_ascii_lowercase();
            keyword.length = word.len();
        }
        keyword
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

/// The first tokens as words.
struct Words<'a> {
    text: &'a [u8],
    first: &'a [Option<Token>],
}

impl Words<'_> {
    fn token(&self, index: usize) -> Option<Token> {
        self.first.get(index).copied().flatten()
    }

    /// Keyword in lower case; `(` for a parenthesis; empty for everything else.
    fn word(&self, index: usize) -> Keyword {
        match self.token(index) {
            Some(token) if token.kind == TokenKind::Word => Keyword::new(&self.text[token.range()]),
            Some(token) if token.kind == TokenKind::LeftParenthesis => Keyword::new(b"("),
            _ => Keyword::default(),
        }
    }

    fn is(&self, index: usize, keyword: &str) -> bool {
        self.token(index).is_some_and(|token| {
            token.kind == TokenKind::Word
                && self.text[token.range()].eq_ignore_ascii_case(keyword.as_bytes())
        })
    }

    fn name(&self, index: usize) -> Option<String> {
        let token = self.token(index)?;
        // From here to the end of the first tokens: a UESCAPE belongs to the name.
        let end = self
            .first
            .iter()
            .flatten()
            .last()
            .map_or(token.end, |last| last.end);
        let range = token.start as usize..end as usize;
        let tokens = Tokens::lex_part(self.text, range, true).ok()?;
        tokens.identifier(0).map(|name| name.into_owned())
    }

    /// Behind `WORK` or `TRANSACTION`, if one is there.
    fn after_transaction(&self, index: usize) -> usize {
        index + usize::from(self.is(index, "work") || self.is(index, "transaction"))
    }

    /// What a CREATE, ALTER or DROP is about, modifiers skipped.
    fn created(&self) -> Keyword {
        const MODIFIERS: &[&str] = &[
            "or",
            "replace",
            "global",
            "local",
            "temp",
            "temporary",
            "unlogged",
            "unique",
            "constraint",
            "recursive",
            "trusted",
            "procedural",
        ];
        (1..self.first.len())
            .map(|index| self.word(index))
            .find(|word| !MODIFIERS.contains(&word.as_str()))
            .unwrap_or_default()
    }

    /// True if a SET or RESET changes what names mean or how text is read.
    fn changes_names(&self) -> bool {
        let at = 1 + usize::from(self.is(1, "session") || self.is(1, "local"));
        match self.name(at).unwrap_or_default().as_str() {
            // SET SESSION AUTHORIZATION, SET SESSION = ..., RESET SESSION AUTHORIZATION.
            "authorization" | "session" => true,
            "constraints" | "transaction" | "characteristics" | "time" | "xml" => false,
            "search_path"
            | "schema"
            | "role"
            | "all"
            | "standard_conforming_strings"
            | "client_encoding"
            | "names"
            | "reprieve" => true,
            _ => false,
        }
    }
}
