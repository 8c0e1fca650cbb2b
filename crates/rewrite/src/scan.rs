//! The first look at a query text: statements, what they change in the session, and whether one of
//! them may concern a marked table or read the system catalogs. Most texts end here, unparsed.

mod head;

use std::borrow::Cow;
use std::ops::Range;

use catalog::Catalog;

use crate::lex::{LexError, Lexer, Token, TokenKind, Tokens};
use crate::parse::{Unparsed, with_statement};
use crate::plan::{Effect, Plan, Reply, Statement};
use crate::{ClientEncoding, Edits, Refusal, Scope, refusal, walk};
use crate::{block, cloak, constraints};

use head::{Head, Verdict};

/// A text cut into statements.
#[derive(Debug, Clone)]
pub struct Scanned<'t> {
    text: &'t [u8],
    standard_conforming_strings: bool,
    statements: Vec<Statement>,
    concerns: Vec<Concern<'t>>,
    doubt: Option<Doubt>,
}

/// A statement that must be looked at.
#[derive(Debug, Clone)]
struct Concern<'t> {
    /// Index of the statement.
    statement: usize,
    /// Token that gave rise to it, for the error position.
    offset: usize,
    /// Start of an earlier statement of the text that may change what names mean here.
    after: Option<usize>,
    /// Start of an earlier statement of the text that may end the marking of a table.
    after_definition: Option<usize>,
    why: Why,
    /// Its tokens; `None` where so many went by before it was known to concern us that they were
    /// not kept.
    tokens: Option<Tokens<'t>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// It may read or write rows of a marked table.
    Rows,
    /// It touches no rows through us, but names one of our columns: it is not parsed.
    Defines,
    /// It names system relations only. What is ours in them is left out where that can be done; it
    /// is sent in any case.
    System,
    /// A DO block: its code is looked at.
    Block,
    /// SET CONSTRAINTS by name: it has to reach ours, too.
    Constraints,
}

/// Why what was read may not be what the server reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// A byte below 0x80 may be the tail of a character.
    Encoding,
    /// The lexer gave up where the server may not.
    Lexer { offset: usize },
}

/// Cuts a text into statements and looks for names of marked tables. One pass, no allocation
/// besides the list of statements.
pub fn scan<'t>(
    text: &'t [u8],
    catalog: &Catalog,
    standard_conforming_strings: bool,
    encoding: ClientEncoding,
) -> Scanned<'t> {
    let mut scanner = Scanner {
        text,
        catalog,
        encoding,
        transparent: catalog.is_transparent(),
        cloaks: catalog.cloaks(),
        found: Scanned {
            text,
            standard_conforming_strings,
            statements: Vec::new(),
            concerns: Vec::new(),
            doubt: None,
        },
        head: Head::default(),
        unsettled: None,
        renamed: Vec::new(),
        defined: None,
        tokens: catalog
            .cloaks()
            .then(|| Tokens::with_room(text, standard_conforming_strings)),
    };
    let mut lexer = Lexer::new(text, standard_conforming_strings);
    let outcome = loop {
        match lexer.next_token() {
            Some(Ok(token)) => scanner.token(token),
            Some(Err(error)) => break Err(error),
            None => break Ok(()),
        }
    };
    scanner.finish(outcome)
}

struct Scanner<'t, 'c> {
    text: &'t [u8],
    catalog: &'c Catalog,
    encoding: ClientEncoding,
    /// No table is marked.
    transparent: bool,
    /// Some table is enabled.
    cloaks: bool,
    found: Scanned<'t>,
    head: Head,
    /// The first statement that may change what the names behind it mean.
    unsettled: Option<usize>,
    /// Names that earlier statements of the text give to marked tables.
    renamed: Vec<String>,
    /// Start of the first statement that may end the marking of a table.
    defined: Option<usize>,
    /// Those of the statement so far, while it is worth while to keep them.
    tokens: Option<Tokens<'t>>,
}

/// A statement that has named no table of ours within so many tokens is lexed again if it does.
const UNNAMED_TOKENS_MAX: usize = 4096;

impl<'t> Scanner<'t, '_> {
    fn token(&mut self, token: Token) {
        if token.kind == TokenKind::Semicolon && self.head.ends_statement() {
            return self.end_statement();
        }
        if !self.transparent
            && self.head.first_name.is_none()
            && (self.may_name_ours(token) || self.may_name_renamed(token))
        {
            self.head.first_name = Some(token.start as usize);
        }
        if self.cloaks && self.head.first_system.is_none() && self.may_name_system(token) {
            self.head.first_system = Some(token.start as usize);
        }
        if !self.transparent && !self.head.names_hidden && self.may_be_hidden(token) {
            self.head.names_hidden = true;
        }
        self.keep(token);
        self.head.push(self.text, token);
    }

    fn keep(&mut self, token: Token) {
        if let Some(tokens) = &mut self.tokens {
            let unnamed = self.head.first_name.is_none() && self.head.first_system.is_none();
            let worthless = unnamed && tokens.len() >= UNNAMED_TOKENS_MAX;
            if worthless || tokens.push(token).is_err() {
                self.tokens = None;
            }
        }
    }

    /// True if the token is the name of one of our columns, or might be.
    fn may_be_hidden(&self, token: Token) -> bool {
        let bytes = &self.text[token.range()];
        let mut hidden = self.catalog.hidden_names().map(str::as_bytes);
        match token.kind {
            TokenKind::Word => hidden.any(|name| name.eq_ignore_ascii_case(bytes)),
            TokenKind::QuotedIdentifier => hidden.any(|name| *name == bytes[1..bytes.len() - 1]),
            TokenKind::UnicodeIdentifier => true,
            _ => false,
        }
    }

    /// True if the token is the name of a system relation in which things of ours stand, or may be.
    fn may_name_system(&self, token: Token) -> bool {
        let bytes = &self.text[token.range()];
        match token.kind {
            TokenKind::Word => cloak::may_name(bytes),
            TokenKind::QuotedIdentifier => cloak::may_name(&bytes[1..bytes.len() - 1]),
            TokenKind::UnicodeIdentifier => true,
            _ => false,
        }
    }

    /// True if the token is the name of a marked table, in whatever spelling.
    fn may_name_ours(&self, token: Token) -> bool {
        let bytes = &self.text[token.range()];
        match token.kind {
            TokenKind::Word if self.encoding == ClientEncoding::Utf8 => self.is_marked(bytes),
            TokenKind::Word if bytes.is_ascii() => self.is_marked(bytes),
            // The names we know are UTF-8: in another encoding these bytes cannot be compared.
            TokenKind::Word | TokenKind::QuotedIdentifier
                if self.encoding != ClientEncoding::Utf8 && !bytes.is_ascii() =>
            {
                self.catalog
                    .tables()
                    .any(|table| table.is_veiled() && !table.name.is_ascii())
            }
            TokenKind::Word => self.is_marked(bytes),
            TokenKind::QuotedIdentifier => {
                let inner = &bytes[1..bytes.len() - 1];
                if inner.len() > NAME_BYTES_MAX || inner.contains(&b'"') {
                    return self.is_marked_slow(token);
                }
                self.catalog.veils_bytes(inner)
            }
            // Its UESCAPE may follow.
            TokenKind::UnicodeIdentifier => true,
            _ => false,
        }
    }

    /// True if the token is a name that a marked table has by then.
    fn may_name_renamed(&self, token: Token) -> bool {
        if self.renamed.is_empty() {
            return false;
        }
        let tokens = Tokens::lex(&self.text[token.range()], true);
        let name = tokens.as_ref().ok().and_then(|tokens| tokens.identifier(0));
        name.is_some_and(|name| self.renamed.iter().any(|renamed| *renamed == name))
    }

    /// The name that `ALTER ... RENAME TO name` gives.
    fn new_name(&self, range: Range<usize>) -> Option<String> {
        let strings = self.found.standard_conforming_strings;
        let tokens = Tokens::lex_part(self.text, range, strings).ok()?;
        let to = (1..tokens.len())
            .find(|&at| tokens.is_word(at, "to") && tokens.is_word(at - 1, "rename"))?;
        tokens.identifier(to + 1).map(Cow::into_owned)
    }

    fn is_marked(&self, word: &[u8]) -> bool {
        let mut folded = [0; NAME_BYTES_MAX];
        let Some(folded) = folded.get_mut(..word.len()) else {
            let name = std::str::from_utf8(word).map(catalog::fold_identifier);
            return name.is_ok_and(|name| self.catalog.veils_name(&name));
        };
        folded.copy_from_slice(word);
        folded.make_ascii_lowercase();
        self.catalog.veils_bytes(folded)
    }

    fn is_marked_slow(&self, token: Token) -> bool {
        let tokens = Tokens::lex(&self.text[token.range()], true);
        let name = tokens.as_ref().ok().and_then(|tokens| tokens.identifier(0));
        name.is_some_and(|name| self.catalog.veils_name(&name))
    }

    fn end_statement(&mut self) {
        let head = std::mem::take(&mut self.head);
        let Some(range) = head.range() else {
            return;
        };
        let Verdict {
            effect,
            passes,
            unsettles,
        } = head.verdict(self.text);
        // The keeper takes our columns away before the server reads it.
        let passes = passes || self.catalog.sees_ddl_start() && head.keeps_columns(self.text);
        let concern = match (head.first_name, head.first_system) {
            (Some(offset), _) if !passes => Some((offset, Why::Rows)),
            (Some(offset), _) if head.names_hidden => Some((offset, Why::Defines)),
            _ if !self.transparent && head.is_block(self.text) => Some((range.start, Why::Block)),
            (None, Some(offset)) if !passes => Some((offset, Why::System)),
            _ if self.catalog.defers() && head.sets_constraints(self.text) => {
                Some((range.start, Why::Constraints))
            }
            _ => None,
        };
        if let Some((offset, why)) = concern {
            self.found.concerns.push(Concern {
                statement: self.found.statements.len(),
                offset,
                after: self.unsettled,
                after_definition: self.defined,
                why,
                tokens: self.tokens.take(),
            });
        }
        match &mut self.tokens {
            Some(tokens) => tokens.clear(),
            None if !self.cloaks => {}
            None => {
                let strings = self.found.standard_conforming_strings;
                self.tokens = Some(Tokens::none(self.text, strings));
            }
        }
        if unsettles.applies(head.first_name.is_some()) {
            self.unsettled.get_or_insert(range.start);
        }
        if head.first_name.is_some() && head.alters(self.text) {
            let name = self.new_name(range.clone());
            self.renamed.extend(name);
        } else if !self.transparent && head.is_block(self.text) {
            self.renamed.extend(names_given(&self.text[range.clone()]));
        }
        if head.may_end_marking(self.text) {
            self.defined.get_or_insert(range.start);
        }
        self.found.statements.push(Statement {
            range,
            reply: Reply::AsIs,
            effect,
        });
    }

    fn finish(mut self, outcome: Result<(), LexError>) -> Scanned<'t> {
        self.end_statement();
        if !self.cloaks {
            return self.found;
        }
        if self.encoding == ClientEncoding::Unsafe
            && (!self.text.is_ascii() || self.found.must_be_read())
        {
            // A backslash may be the tail of a character: where strings end is a guess.
            self.found.concerns.clear();
            let doubt = !self.transparent && self.mentions_ours();
            self.found.doubt = doubt.then_some(Doubt::Encoding);
            return self.found;
        }
        match outcome {
            Ok(()) => {}
            // The server reads the whole text before it runs any of it, and fails there too.
            Err(
                LexError::Unterminated { .. }
                | LexError::EmptyIdentifier { .. }
                | LexError::TooLong,
            ) => self.found.concerns.clear(),
            Err(LexError::UnicodeEscape { .. }) if self.transparent => self.found.concerns.clear(),
            Err(LexError::UnicodeEscape { offset }) => {
                self.found.doubt = Some(Doubt::Lexer { offset });
            }
        }
        self.found
    }

    /// True if the bytes of a marked table's name occur, or might in a spelling that hides them.
    fn mentions_ours(&self) -> bool {
        let lower = self.text.to_ascii_lowercase();
        let occurs = |name: &[u8]| {
            lower
                .windows(name.len().max(1))
                .any(|window| window == name)
        };
        occurs(b"u&")
            || self
                .catalog
                .tables()
                .filter(|table| table.is_veiled())
                .any(|table| {
                    !table.name.is_ascii() || occurs(table.name.to_ascii_lowercase().as_bytes())
                })
    }
}

/// Each name behind RENAME TO in the code of a DO block.
fn names_given(code: &[u8]) -> Vec<String> {
    let is_part =
        |byte: u8| byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"_$\"".contains(&byte);
    let words: Vec<&[u8]> = code
        .split(|&byte| !is_part(byte))
        .filter(|word| !word.is_empty())
        .collect();
    let names = words.windows(3).filter_map(|words| match words {
        [rename, to, name]
            if rename.eq_ignore_ascii_case(b"rename") && to.eq_ignore_ascii_case(b"to") =>
        {
            let name = std::str::from_utf8(name).ok()?;
            Some(match name.strip_prefix('"') {
                Some(name) => name.trim_end_matches('"').to_owned(),
                None => catalog::fold_identifier(name),
            })
        }
        _ => None,
    });
    names.collect()
}

/// `NAMEDATALEN - 1`.
const NAME_BYTES_MAX: usize = 63;

impl<'t> Scanned<'t> {
    /// True if [`plan`](Self::plan) must be asked: it may change the text or refuse it. False: send
    /// the client's own bytes.
    pub fn concerns_us(&self) -> bool {
        !self.concerns.is_empty() || self.doubt.is_some()
    }

    /// True if a statement may concern a marked table. False with [`concerns_us`](Self::concerns_us):
    /// at worst, the client's own bytes may be sent as they are.
    pub fn must_be_read(&self) -> bool {
        let is_rows = |concern: &Concern<'_>| match concern.why {
            Why::Rows | Why::Defines | Why::Block => true,
            Why::System | Why::Constraints => false,
        };
        self.doubt.is_some() || self.concerns.iter().any(is_rows)
    }

    /// The first statement about rows of a marked table that follows a definition which may end the marking of one: what to
    /// send is better decided when that is done. With it the refusal where nobody can wait for that.
    pub fn behind_definition(&self) -> Option<(usize, Refusal)> {
        self.concerns.iter().find_map(|concern| match concern.why {
            Why::Rows | Why::Defines => {
                let refusal = refusal::after_change(concern.offset, concern.after_definition?);
                Some((concern.statement, refusal))
            }
            Why::Block | Why::System | Why::Constraints => None,
        })
    }

    /// In order, empty ones left out. Replies are only known from the plan where there is a concern.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    pub fn standard_conforming_strings(&self) -> bool {
        self.standard_conforming_strings
    }

    pub fn text(&self) -> &'t [u8] {
        self.text
    }

    /// Tokens of a text that is one statement about rows of marked tables, as far as they were kept.
    pub(crate) fn only_tokens(&self) -> Option<&Tokens<'t>> {
        match (self.statements.as_slice(), self.concerns.as_slice()) {
            ([statement], [concern]) if concern.why == Why::Rows && self.doubt.is_none() => concern
                .tokens
                .as_ref()
                .filter(|_| statement.effect == Effect::None),
            _ => None,
        }
    }

    /// The plan that sends the client's own bytes.
    pub fn untouched(&self, catalog: &Catalog) -> Plan {
        Plan {
            edits: Edits::default(),
            statements: self.statements.clone(),
            generation: catalog.generation(),
            depends_on_scope: false,
            names_row_types: false,
        }
    }

    /// What to send. Parses the statements that may concern a marked table, no others.
    ///
    /// # Errors
    /// A statement cannot be sent without showing deleted rows or losing rows for good.
    pub fn plan(&self, scope: &Scope<'_>) -> Result<Plan, Refusal> {
        let mut plan = self.untouched(scope.catalog);
        match self.doubt {
            Some(Doubt::Encoding) => return Err(refusal::unsafe_encoding()),
            Some(Doubt::Lexer { offset }) => return Err(refusal::unread_escape(offset)),
            None => {}
        }
        for concern in &self.concerns {
            if let Some(earlier) = concern.after {
                match concern.why {
                    Why::System | Why::Constraints | Why::Block => {}
                    Why::Defines if self.definition(concern, scope).is_ok() => {}
                    Why::Rows | Why::Defines => {
                        return Err(refusal::after_change(concern.offset, earlier));
                    }
                }
            }
            plan.depends_on_scope = true;
            let Some(statement) = plan.statements.get_mut(concern.statement) else {
                continue;
            };
            match self.walk(statement.range.clone(), concern, scope, &mut plan.edits) {
                Ok(reply) => statement.reply = reply,
                Err(_) if matches!(concern.why, Why::System | Why::Constraints) => {}
                Err(refusal) => return Err(refusal),
            }
            if let Effect::Prepare {
                reply: prepared, ..
            } = &mut statement.effect
            {
                *prepared = std::mem::take(&mut statement.reply);
            }
        }
        if plan.edits.has_conflict() {
            return if self.must_be_read() {
                Err(refusal::conflict())
            } else {
                Ok(self.untouched(scope.catalog))
            };
        }
        plan.edits.seal(self.text);
        plan.names_row_types = plan
            .edits
            .iter()
            .any(|edit| walk::names_row_type(&edit.text));
        Ok(plan)
    }

    fn tokens<'s>(
        &self,
        range: Range<usize>,
        concern: &'s Concern<'t>,
    ) -> Result<Cow<'s, Tokens<'t>>, Refusal> {
        if let Some(tokens) = &concern.tokens {
            return Ok(Cow::Borrowed(tokens));
        }
        Tokens::lex_part(self.text, range, self.standard_conforming_strings)
            .map(Cow::Owned)
            .map_err(|_| refusal::unread_escape(concern.offset))
    }

    /// For a statement that is not parsed.
    fn definition(&self, concern: &Concern<'t>, scope: &Scope<'_>) -> Result<Reply, Refusal> {
        let range = self.statements[concern.statement].range.clone();
        let tokens = self.tokens(range, concern)?;
        walk::definition(&tokens, 0..tokens.len(), scope)
    }

    fn walk(
        &self,
        range: Range<usize>,
        concern: &Concern<'t>,
        scope: &Scope<'_>,
        edits: &mut Edits,
    ) -> Result<Reply, Refusal> {
        if concern.why == Why::Defines {
            return self.definition(concern, scope);
        }
        let tokens = self.tokens(range, concern)?;
        if concern.why == Why::Block {
            return block::check(&tokens, scope).map(|()| Reply::AsIs);
        }
        if concern.why == Why::Constraints {
            constraints::add_ours(&tokens, scope, edits);
            return Ok(Reply::AsIs);
        }
        let named = tokens
            .iter()
            .position(|token| token.start as usize == concern.offset);
        let name = named
            .and_then(|token| tokens.identifier(token))
            .unwrap_or_default();
        let walked = with_statement(&tokens, 0..tokens.len(), |parsed| {
            walk::statement(&parsed.statement, &tokens, 0..tokens.len(), scope, edits)
        });
        match walked {
            Ok(walked) => walked,
            Err(Unparsed::TooDeep) => Err(refusal::too_deep(concern.offset)),
            Err(Unparsed::Syntax { message }) => {
                Err(refusal::unparsed(&name, &message, concern.offset))
            }
        }
    }
}

#[cfg(test)]
mod tests;
