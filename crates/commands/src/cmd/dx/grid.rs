//! Elements as a table: a line for each, a column for each of their members.

use crate::json::fields;
use crate::text::{line, put};

/// Widest cell; what is longer is cut.
const WIDTH_LIMIT: usize = 60;

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grid {
    /// What the members are called.
    pub columns: Vec<String>,
    /// What each element is called, and its members by column.
    pub rows: Vec<(String, Vec<String>)>,
    /// Whether there are more elements.
    pub more: bool,
}

fields!(Grid { columns, rows, more });

impl Grid {
    /// Adds an element with its members. A member that none had before gets a column of its own.
    pub(super) fn push(&mut self, name: &str, cells: Vec<(String, String)>) {
        let mut row = vec![String::new(); self.columns.len()];
        for (column, text) in cells {
            let at = self.columns.iter().position(|known| *known == column).unwrap_or_else(|| {
                self.columns.push(column);
                row.push(String::new());
                self.columns.len() - 1
            });
            if let Some(cell) = row.get_mut(at) {
                *cell = text.chars().take(WIDTH_LIMIT).collect();
            }
        }
        self.rows.push((name.to_owned(), row));
    }

    pub(super) fn render(&self, text: &mut String) {
        let length = |text: &String| text.chars().count();
        let names = self.rows.iter().map(|(name, _)| length(name)).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|(_, cells)| cells.get(column));
            cells.chain(self.columns.get(column)).map(length).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let ruler = "=".repeat(4 + names + widths.iter().map(|width| width + 3).sum::<usize>());
        line!(text, "{ruler}");
        put!(text, "= {:names$} =", "");
        for (column, width) in self.columns.iter().zip(&widths) {
            put!(text, " {column:width$} =");
        }
        line!(text);
        line!(text, "{ruler}");
        let empty = String::new();
        for (name, cells) in &self.rows {
            put!(text, "= {name:names$}");
            for (at, width) in widths.iter().enumerate() {
                put!(text, " - {:width$}", cells.get(at).unwrap_or(&empty));
            }
            line!(text, " =");
        }
        if self.more {
            line!(text, "= [...]");
        }
        line!(text, "{ruler}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_and_come_as_they_come_up() {
        let mut grid = Grid::default();
        let cell = |column: &str, text: &str| (column.to_owned(), text.to_owned());
        grid.push("[0]", vec![cell("Id", "0x10")]);
        grid.push("[1]", vec![cell("Name", "a"), cell("Id", "0x2")]);
        let mut text = String::new();
        grid.render(&mut text);
        let expected = "\
=====================
=     = Id   = Name =
=====================
= [0] - 0x10 -      =
= [1] - 0x2  - a    =
=====================
";
        assert_eq!(text, expected);
    }
}
