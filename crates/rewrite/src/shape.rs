//! Statements that differ in their literals only share one plan.
//!
//! Clients that write values into their statements never send the same text twice. What a plan does depends on a
//! literal's kind and on the bytes around it, not on its value: so the text with each literal and comment cut down to a
//! mark names the plan, and edits are kept at places of that shorter text. The one exception is the ledger's copy of a
//! DELETE, which is written anew.

use std::ops::Range;

use crate::edits::{Edit, Edits, Place};
use crate::lex::{Token, TokenKind};
use crate::plan::{Effect, Plan, Reply, Statement};
use crate::walk::quoted_statement;
use crate::{ClientEncoding, Scanned};

/// Longer texts are rarely sent in the same shape again.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Marks stand where no text may have such a byte.
const MARKS_END: u8 = b'\t';
const COMMENT: u8 = 1;

/// A text without its literals and comments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    key: Vec<u8>,
    cuts: Vec<Cut>,
}

/// What a mark stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    /// Bytes of the text.
    start: usize,
    end: usize,
    /// Place of the mark in the key.
    mark: usize,
}

/// The plan of all texts of one shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    plan: Plan,
    edits: Vec<TemplateEdit>,
    statement: Range<usize>,
    encoding: ClientEncoding,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct TemplateEdit {
    /// Bytes of the key.
    start: usize,
    end: usize,
    place: Place,
    text: String,
    /// Byte of `text` at which the quoted statement goes.
    quotes: Option<usize>,
}

impl Shape {
    /// `None` where nothing would be gained: no literal, or more than fits; and where more than one statement, or one that
    /// changes the session, may read its literals.
    pub fn of(scanned: &Scanned<'_>) -> Option<Self> {
        let tokens = scanned.only_tokens()?;
        let text = tokens.text();
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let mut shape = Self {
            key: Vec::with_capacity(text.len()),
            cuts: Vec::with_capacity(8),
        };
        // What lies between cuts is copied as a whole.
        let (mut copied, mut at) = (0, 0);
        for token in tokens.iter() {
            let range = token.range();
            if let Some(comment) = comment(text, at..range.start)? {
                shape.copy(text, copied..comment.start)?;
                copied = comment.end;
                shape.cut(comment, COMMENT);
            }
            at = range.end;
            if let Some(mark) = mark(token) {
                shape.copy(text, copied..range.start)?;
                copied = range.end;
                shape.cut(range, mark);
            }
        }
        if let Some(comment) = comment(text, at..text.len())? {
            shape.copy(text, copied..comment.start)?;
            copied = comment.end;
            shape.cut(comment, COMMENT);
        }
        shape.copy(text, copied..text.len())?;
        (!shape.cuts.is_empty()).then_some(shape)
    }

    /// Equal for all texts that share a plan, as far as literals go.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Bytes of the text that may be others in a text of the same shape.
    pub fn cuts(&self) -> impl Iterator<Item = Range<usize>> {
        self.cuts.iter().map(|cut| cut.start..cut.end)
    }

    fn copy(&mut self, text: &[u8], range: Range<usize>) -> Option<()> {
        let bytes = text.get(range)?;
        self.key.extend_from_slice(bytes);
        let least = bytes.iter().fold(u8::MAX, |least, byte| least.min(*byte));
        (least >= MARKS_END).then_some(())
    }

    fn cut(&mut self, range: Range<usize>, mark: u8) {
        self.cuts.push(Cut {
            start: range.start,
            end: range.end,
            mark: self.key.len(),
        });
        self.key.push(mark);
    }

    /// Where a place of the text lies in the key; `None` within a literal.
    fn to_key(&self, place: usize) -> Option<usize> {
        let index = self.cuts.partition_point(|cut| cut.end <= place);
        if self.cuts.get(index).is_some_and(|cut| cut.start < place) {
            return None;
        }
        match index.checked_sub(1).and_then(|last| self.cuts.get(last)) {
            Some(cut) => Some(place - cut.end + cut.mark + 1),
            None => Some(place),
        }
    }

    /// Where a place of the key lies in the text.
    fn to_text(&self, place: usize) -> usize {
        let index = self.cuts.partition_point(|cut| cut.mark < place);
        match index.checked_sub(1).and_then(|last| self.cuts.get(last)) {
            Some(cut) => place - cut.mark - 1 + cut.end,
            None => place,
        }
    }
}

/// What lies between two tokens without the space and the semicolons around it, if that is anything: comments. What they
/// say is not looked at anywhere; where they begin and end is.
fn comment(text: &[u8], between: Range<usize>) -> Option<Option<Range<usize>>> {
    let bytes = text.get(between.clone())?;
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == b';';
    let Some(leading) = bytes.iter().position(|byte| !is_space(byte)) else {
        return Some(None);
    };
    let trailing = bytes.iter().rev().take_while(|byte| is_space(byte)).count();
    Some(Some(between.start + leading..between.end - trailing))
}

/// Literals of different kinds are read differently.
fn mark(token: &Token) -> Option<u8> {
    match token.kind {
        TokenKind::Number => Some(2),
        TokenKind::String => Some(3),
        TokenKind::EscapeString => Some(4),
        TokenKind::DollarString => Some(5),
        _ => None,
    }
}

impl Template {
    /// `None` if the plan depends on more than the shape.
    pub fn new(plan: &Plan, text: &[u8], shape: &Shape, encoding: ClientEncoding) -> Option<Self> {
        let [
            Statement {
                range,
                effect: Effect::None,
                reply: _,
            },
        ] = plan.statements.as_slice()
        else {
            return None;
        };
        let quoted = quoted_statement(text.get(range.clone())?, encoding);
        let edits = plan.edits.iter().map(|edit| {
            let found = edit.text.find(&quoted);
            let (text, quotes) = match found.filter(|_| edit.text.contains(QUOTING)) {
                Some(at) => (edit.text.replacen(&quoted, "", 1), Some(at)),
                None => (edit.text.clone(), None),
            };
            Some(TemplateEdit {
                start: shape.to_key(edit.start)?,
                end: shape.to_key(edit.end)?,
                place: edit.place(),
                text,
                quotes,
            })
        });
        Some(Self {
            edits: edits.collect::<Option<_>>()?,
            statement: shape.to_key(range.start)?..shape.to_key(range.end)?,
            plan: Plan {
                edits: Edits::default(),
                ..plan.clone()
            },
            encoding,
        })
    }

    /// The plan for another text of this shape.
    pub fn plan(&self, text: &[u8], shape: &Shape) -> Plan {
        let range = shape.to_text(self.statement.start)..shape.to_text(self.statement.end);
        let edits = self.edits.iter().map(|edit| {
            let mut new = edit.text.clone();
            if let Some(at) = edit.quotes {
                let statement = text.get(range.clone()).unwrap_or_default();
                new.insert_str(at, &quoted_statement(statement, self.encoding));
            }
            Edit::new(
                shape.to_text(edit.start)..shape.to_text(edit.end),
                new,
                edit.place,
            )
        });
        let Plan {
            edits: _,
            statements: _,
            generation,
            depends_on_scope,
            names_row_types,
        } = self.plan;
        Plan {
            edits: Edits::sealed(edits.collect(), text),
            statements: vec![Statement {
                range,
                reply: self.reply(),
                effect: Effect::None,
            }],
            generation,
            depends_on_scope,
            names_row_types,
        }
    }

    fn reply(&self) -> Reply {
        let first = self.plan.statements.first();
        first.map_or(Reply::AsIs, |statement| statement.reply)
    }

    /// Bytes it takes, about.
    pub fn bytes(&self) -> usize {
        let edits = self.edits.iter().map(|edit| edit.text.len() + 64);
        edits.sum::<usize>() + 256
    }
}

/// What the client's statement is quoted for.
const QUOTING: &str = "begin_deletion_v1(";

#[cfg(test)]
mod tests;
