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
            cuts: Vec::new(),
        };
        let mut at = 0;
        for token in tokens.iter() {
            shape.space(text, at..token.start as usize)?;
            at = token.end as usize;
            match mark(token) {
                Some(mark) => shape.cut(token.range(), mark),
                None => shape.copy(text, token.range())?,
            }
        }
        shape.space(text, at..text.len())?;
        shape.cuts.shrink_to_fit();
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

    /// Space, semicolons and comments between tokens. What a comment says is not looked at anywhere; where it begins and
    /// ends is.
    fn space(&mut self, text: &[u8], range: Range<usize>) -> Option<()> {
        let bytes = text.get(range.clone())?;
        let is_space = |byte: &&u8| byte.is_ascii_whitespace() || **byte == b';';
        if bytes.iter().all(|byte| is_space(&byte)) {
            self.key.extend_from_slice(bytes);
            return Some(());
        }
        let leading = bytes.iter().take_while(is_space).count();
        let trailing = bytes.iter().rev().take_while(is_space).count();
        let comment = range.start + leading..range.end - trailing;
        self.copy(text, range.start..comment.start)?;
        self.cut(comment.clone(), COMMENT);
        self.copy(text, comment.end..range.end)
    }

    fn copy(&mut self, text: &[u8], range: Range<usize>) -> Option<()> {
        let bytes = text.get(range)?;
        let is_unmistakable = bytes.iter().all(|byte| *byte >= MARKS_END);
        self.key.extend_from_slice(bytes);
        is_unmistakable.then_some(())
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
        Plan {
            edits: Edits::sealed(edits.collect(), text),
            statements: vec![Statement {
                range,
                reply: self.reply(),
                effect: Effect::None,
            }],
            ..self.plan.clone()
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
