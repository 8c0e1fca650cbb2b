//! Insertions and replacements on the client's bytes.

use std::ops::Range;

/// Replaces `start..end` of the client's text (`start == end`: an insertion).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub start: usize,
    pub end: usize,
    pub text: String,
    place: Place,
    /// `start` and `end` in characters, known once sealed.
    characters: Range<u32>,
}

/// Order of edits that begin at one offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Belongs to what ends here.
    Behind,
    /// Belongs to what begins here.
    InFront,
    Replacement,
}

/// Disjoint edits in order of their place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edits {
    edits: Vec<Edit>,
    /// Two edits wanted the same bytes: the result would lack one of them, so there is none.
    conflict: bool,
}

impl Edit {
    pub(crate) fn new(range: Range<usize>, text: String, place: Place) -> Self {
        Self {
            start: range.start,
            end: range.end,
            text,
            place,
            characters: 0..0,
        }
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }
}

impl Edits {
    /// Edits that are known to be in order and disjoint.
    pub(crate) fn sealed(edits: Vec<Edit>, text: &[u8]) -> Self {
        let mut edits = Self {
            edits,
            conflict: false,
        };
        edits.seal(text);
        edits
    }

    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Edit> {
        self.edits.iter()
    }

    /// True if two edits overlap. Such edits must not be applied.
    pub fn has_conflict(&self) -> bool {
        self.conflict
    }

    /// Puts text in front of what begins at `offset`. Called again, it adds to the right: what is
    /// inserted first stands outermost.
    pub fn insert_before(&mut self, offset: usize, text: &str) {
        if let Some(edit) = self.at(offset, Place::InFront) {
            edit.text.push_str(text);
        }
    }

    /// Puts text behind what ends at `offset`. Called again, it adds to the right: what is inserted
    /// first stands innermost.
    pub fn insert_after(&mut self, offset: usize, text: &str) {
        if let Some(edit) = self.at(offset, Place::Behind) {
            edit.text.push_str(text);
        }
    }

    /// Puts `open` and `close` around a range, outside of everything inserted so far at its two
    /// ends: children first, then their parent.
    pub fn wrap(&mut self, range: Range<usize>, open: &str, close: &str) {
        if let Some(edit) = self.at(range.start, Place::InFront) {
            edit.text.insert_str(0, open);
        }
        self.insert_after(range.end, close);
    }

    /// Puts `open` and `close` around a range, inside of everything inserted so far at its two
    /// ends: the parent first, then its children.
    pub fn wrap_inside(&mut self, range: Range<usize>, open: &str, close: &str) {
        self.insert_before(range.start, open);
        if let Some(edit) = self.at(range.end, Place::Behind) {
            edit.text.insert_str(0, close);
        }
    }

    /// Replaces a range; an empty one is an insertion in front of `range.start`. Insertions at its
    /// two ends stay; anything inside of it is a conflict.
    pub fn replace(&mut self, range: Range<usize>, text: &str) {
        if range.is_empty() {
            return self.insert_before(range.start, text);
        }
        let index = self.position(range.start, Place::Replacement);
        let before = index
            .checked_sub(1)
            .and_then(|before| self.edits.get(before));
        let collides = |edit: &Edit| {
            edit.start < range.end && (edit.end > range.start || edit.start > range.start)
        };
        if before.is_some_and(collides) || self.edits.get(index).is_some_and(collides) {
            self.conflict = true;
            return;
        }
        self.edits.insert(
            index,
            Edit {
                start: range.start,
                end: range.end,
                text: text.to_owned(),
                place: Place::Replacement,
                characters: 0..0,
            },
        );
    }

    /// Removes a range.
    pub fn remove(&mut self, range: Range<usize>) {
        self.replace(range, "");
    }

    /// Index of the first edit that does not come before (`offset`, `place`).
    fn position(&self, offset: usize, place: Place) -> usize {
        self.edits
            .partition_point(|edit| (edit.start, edit.place) < (offset, place))
    }

    /// The insertion at this place, made where there is none. `None`: those bytes are replaced.
    fn at(&mut self, offset: usize, place: Place) -> Option<&mut Edit> {
        let index = self.position(offset, place);
        let found = self.edits.get(index);
        if found.is_none_or(|edit| (edit.start, edit.place) != (offset, place)) {
            let before = index
                .checked_sub(1)
                .and_then(|before| self.edits.get(before));
            if before.is_some_and(|edit| edit.start < offset && offset < edit.end) {
                self.conflict = true;
                return None;
            }
            self.edits.insert(
                index,
                Edit {
                    start: offset,
                    end: offset,
                    text: String::new(),
                    place,
                    characters: 0..0,
                },
            );
        }
        self.edits.get_mut(index)
    }

    /// Notes the places in characters too, as [`original_position`](Self::original_position) wants
    /// them. Bytes that are not UTF-8 count as one character each.
    pub(crate) fn seal(&mut self, text: &[u8]) {
        if text.is_ascii() && u32::try_from(text.len()).is_ok() {
            for edit in &mut self.edits {
                let (start, end) = (edit.start.min(text.len()), edit.end.min(text.len()));
                edit.characters = start as u32..end as u32;
            }
            return;
        }
        let mut byte = 0;
        let mut character = 0;
        let mut characters_until = |offset: usize| {
            let offset = offset.min(text.len());
            character += count_characters(text.get(byte..offset).unwrap_or_default());
            byte = offset;
            character
        };
        for edit in &mut self.edits {
            let start = characters_until(edit.start);
            edit.characters = start..characters_until(edit.end);
        }
    }

    /// The text to send instead of the client's.
    pub fn apply(&self, text: &[u8]) -> Vec<u8> {
        let added = self.edits.iter().map(|edit| edit.text.len()).sum::<usize>();
        let mut sent = Vec::with_capacity(text.len() + added);
        let mut copied = 0;
        for edit in &self.edits {
            sent.extend_from_slice(text.get(copied..edit.start).unwrap_or_default());
            sent.extend_from_slice(edit.text.as_bytes());
            copied = edit.end;
        }
        sent.extend_from_slice(text.get(copied..).unwrap_or_default());
        sent
    }

    /// Where in the client's text a place of the sent text lies; both in characters, from 1, as in
    /// field `P` of an ErrorResponse. A place in text of ours becomes the client's character that
    /// follows it. `None` if the position is none (0).
    pub fn original_position(&self, sent: u32) -> Option<u32> {
        let sent = sent.checked_sub(1)?;
        let mut removed = 0u32;
        let mut added = 0u32;
        for edit in &self.edits {
            let start = edit.characters.start + added - removed;
            let length = count_characters(edit.text.as_bytes());
            if sent < start {
                break;
            }
            if sent < start + length {
                return Some(edit.characters.start + 1);
            }
            added += length;
            removed += edit.characters.end - edit.characters.start;
        }
        Some(sent + removed - added + 1)
    }
}

fn count_characters(bytes: &[u8]) -> u32 {
    if bytes.is_ascii() {
        return u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    }
    let count = match std::str::from_utf8(bytes) {
        Ok(text) => text.chars().count(),
        Err(_) => bytes.len(),
    };
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn applied(text: &str, build: impl FnOnce(&mut Edits)) -> String {
        let mut edits = Edits::default();
        build(&mut edits);
        assert!(!edits.has_conflict());
        String::from_utf8(edits.apply(text.as_bytes())).unwrap()
    }

    #[test]
    fn insertions_at_one_offset_have_an_order() {
        // Between "a" and "b": what belongs to "a" first.
        let between = applied("ab", |edits| {
            edits.insert_before(1, "<");
            edits.insert_after(1, ">");
            edits.insert_before(1, "[");
            edits.insert_after(1, "]");
        });
        assert_eq!(between, "a>]<[b");
    }

    #[test]
    fn wraps_nest() {
        let outside = applied("ab", |edits| {
            edits.wrap(0..1, "(", ")");
            edits.wrap(0..1, "[", "]");
            edits.wrap(0..2, "{", "}");
        });
        assert_eq!(outside, "{[(a)]b}");
        let inside = applied("ab", |edits| {
            edits.wrap_inside(0..2, "{", "}");
            edits.wrap_inside(0..1, "[", "]");
            edits.wrap_inside(0..1, "(", ")");
        });
        assert_eq!(inside, "{[(a)]b}");
    }

    #[test]
    fn a_replacement_keeps_what_stands_at_its_ends() {
        let replaced = applied("a bc d", |edits| {
            edits.wrap(2..4, "(", ")");
            edits.replace(2..4, "x");
            edits.remove(5..6);
        });
        assert_eq!(replaced, "a (x) ");
    }

    #[test]
    fn edits_of_the_same_bytes_are_a_conflict() {
        let conflict = |build: fn(&mut Edits)| {
            let mut edits = Edits::default();
            build(&mut edits);
            edits.has_conflict()
        };
        assert!(conflict(|edits| {
            edits.insert_before(3, "x");
            edits.replace(2..4, "y");
        }));
        assert!(conflict(|edits| {
            edits.replace(2..4, "y");
            edits.insert_after(3, "x");
        }));
        assert!(conflict(|edits| {
            edits.replace(2..4, "y");
            edits.replace(3..5, "x");
        }));
        assert!(conflict(|edits| {
            edits.replace(2..4, "y");
            edits.replace(2..3, "x");
        }));
        assert!(conflict(|edits| {
            edits.replace(2..3, "y");
            edits.replace(1..5, "x");
        }));
        assert!(!conflict(|edits| {
            edits.replace(2..4, "y");
            edits.replace(4..5, "x");
        }));
    }

    #[test]
    fn positions_in_our_text_become_the_next_character_of_the_client() {
        let mut edits = Edits::default();
        edits.insert_before(3, "üü");
        edits.seal("éab".as_bytes());
        let mapped = (1..=5)
            .map(|sent| edits.original_position(sent).unwrap())
            .collect::<Vec<_>>();
        assert_eq!(mapped, [1, 2, 3, 3, 3]);
        assert_eq!(edits.original_position(0), None);
    }

    proptest! {
        /// The model: a list of characters, each with its own index or none (ours).
        #[test]
        fn applying_and_mapping_back_agree(
            text in "[aé☃]{0,20}",
            wanted in prop::collection::vec((0usize..21, 0usize..4, "[XÜ]{0,3}"), 0..8),
        ) {
            let offsets: Vec<usize> =
                text.char_indices().map(|(i, _)| i).chain([text.len()]).collect();
            let mut edits = Edits::default();
            let mut model: Vec<(String, bool)> =
                text.chars().map(|c| (c.to_string(), true)).collect();
            model.push((String::new(), true));
            let mut taken = vec![false; model.len()];
            for (start, length, new) in wanted {
                let start = start.min(offsets.len() - 1);
                let end = (start + length).min(offsets.len() - 1);
                if (start..=end).any(|i| taken[i]) {
                    continue;
                }
                (start..=end).for_each(|i| taken[i] = true);
                edits.replace(offsets[start]..offsets[end], &new);
                for slot in &mut model[start..end] {
                    *slot = (String::new(), false);
                }
                model[start].0.insert_str(0, &new);
            }
            prop_assert!(!edits.has_conflict());
            edits.seal(text.as_bytes());
            let sent = String::from_utf8(edits.apply(text.as_bytes())).unwrap();
            let expected: String = model.iter().map(|(s, _)| s.as_str()).collect();
            prop_assert_eq!(&sent, &expected);
            let mut at = 1u32;
            for (index, (slot, kept)) in model.iter().enumerate() {
                let ours = slot.chars().count() - usize::from(*kept && index < model.len() - 1);
                for _ in 0..ours {
                    prop_assert_eq!(edits.original_position(at), Some(index as u32 + 1));
                    at += 1;
                }
                if *kept {
                    prop_assert_eq!(edits.original_position(at), Some(index as u32 + 1));
                    at += 1;
                }
            }
        }
    }
}
