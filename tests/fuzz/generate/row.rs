//! Whole rows.

use super::{Generator, Relation};
use crate::tables::Ty;

impl Generator {
    /// A relation whose name can stand for a row, if one is in sight.
    fn row(&mut self) -> Option<Relation> {
        let mut rows = Vec::new();
        for level in self.levels.iter().rev() {
            if level.grouped.is_none() {
                rows.extend(level.relations.iter().filter(|relation| relation.row));
            }
        }
        let rows = rows.into_iter().cloned().collect::<Vec<_>>();
        if rows.is_empty() {
            return None;
        }
        Some(rows[self.pick(rows.len().min(4))].clone())
    }

    /// What is true of a row.
    pub(super) fn row_condition(&mut self) -> Option<String> {
        let row = self.row()?;
        let name = row.name;
        Some(match self.pick(12) {
            0 => format!("{name} IS NOT NULL"),
            1 => format!("{name} IS NULL"),
            2 => format!("{name} = {name}"),
            3 => format!("{name} IS DISTINCT FROM {name}"),
            4 => format!("{name}.* IS NOT NULL"),
            5 => format!("ROW({name}.*) = ROW({name}.*)"),
            6 => format!("ROW({name}.*, 1) IS NOT DISTINCT FROM ROW({name}.*, 1)"),
            7 => format!("num_nulls({name}) = 0"),
            8 => format!("{name}.* = {name}"),
            9 => format!("({name}) IS NOT NULL AND NOT {name} IS NULL"),
            10 => format!("{name} IN ({name}, {name})"),
            _ => format!("EXISTS (SELECT {name}.*)"),
        })
    }

    /// A row as text.
    pub(super) fn row_text(&mut self) -> Option<String> {
        let row = self.row()?;
        let name = row.name;
        Some(match self.pick(14) {
            0 => format!("{name}::text"),
            1 => format!("CAST({name} AS text)"),
            2 => format!("to_jsonb({name})::text"),
            3 => format!("row_to_json({name})::text"),
            4 => format!("concat({name}, '!')"),
            5 => format!("format('%s', {name})"),
            6 => format!("ROW({name}.*)::text"),
            7 => format!("ROW({name}.*, {name})::text"),
            8 => format!("to_json({name}.*)::text"),
            9 => format!("jsonb_build_object('r', {name})::text"),
            10 => format!("coalesce({name}, {name})::text"),
            11 => format!("(CASE WHEN true THEN {name} END)::text"),
            12 => format!("array[{name}]::text"),
            _ => format!("(SELECT {name})::text"),
        })
    }

    /// A column of a row, written in one of the ways that few know.
    pub(super) fn row_field(&mut self, ty: Ty) -> Option<String> {
        let row = self.row()?;
        let columns = row
            .columns
            .iter()
            .filter(|column| column.ty == ty && column.usable)
            .map(|column| column.name.clone())
            .collect::<Vec<_>>();
        if columns.is_empty() {
            return None;
        }
        let column = columns[self.pick(columns.len())].clone();
        let name = row.name;
        Some(match self.pick(4) {
            0 => format!("({name}).{column}"),
            1 => format!("(({name})).{column}"),
            2 => format!("({name}.{column})"),
            _ => format!("{column}({name})"),
        })
    }

    /// An aggregate over rows, as text.
    pub(super) fn row_aggregate(&mut self) -> Option<String> {
        let row = self.row()?;
        let name = row.name;
        Some(match self.pick(8) {
            0 => format!("count({name})::text"),
            1 => format!("count({name}.*)::text"),
            2 => format!("count(DISTINCT {name})::text"),
            3 => format!("array_agg({name} ORDER BY {name})::text"),
            4 => format!("jsonb_agg({name} ORDER BY {name})::text"),
            5 => format!("json_agg({name}.* ORDER BY {name})::text"),
            6 => format!("string_agg({name}::text, ';' ORDER BY {name}::text)"),
            _ => format!("bool_and({name} IS NOT NULL)::text"),
        })
    }
}
