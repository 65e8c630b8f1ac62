//! Rows as a table of plain text, columns aligned.
//!
//! Invariant: one row is one line; what would break a line or a terminal is shown as an escape.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Draws rows; the columns are those of the first row, in its order.
pub(super) fn draw(columns: &[String], rows: &[Map<String, Value>]) -> String {
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| columns.iter().map(|c| cell(row.get(c).unwrap_or(&Value::Null))).collect()).collect();
    let numeric: Vec<bool> =
        columns.iter().map(|c| rows.iter().any(|r| r.get(c).is_some_and(Value::is_number))).collect();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(i, c)| cells.iter().map(|row| width(&row[i])).chain([width(c)]).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    line(&mut out, columns, &widths, &vec![false; columns.len()]);
    let rule: Vec<String> = widths.iter().map(|w| "-".repeat(*w)).collect();
    line(&mut out, &rule, &widths, &vec![false; columns.len()]);
    for row in &cells {
        line(&mut out, row, &widths, &numeric);
    }
    let _ = writeln!(out, "({} row{})", rows.len(), if rows.len() == 1 { "" } else { "s" });
    out
}

/// Rows without a head, columns aligned, each line after `margin`; the cells are one line each.
pub(super) fn aligned(rows: &[Vec<String>], margin: &str) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let wide = |i: usize| rows.iter().filter_map(|row| row.get(i)).map(|cell| width(cell)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(wide).collect();
    let mut out = String::new();
    for row in rows {
        out.push_str(margin);
        line(&mut out, row, &widths, &vec![false; columns]);
    }
    out.truncate(out.trim_end().len());
    out
}

fn line(out: &mut String, cells: &[String], widths: &[usize], right: &[bool]) {
    let mut text = String::new();
    for (i, cell) in cells.iter().enumerate() {
        let pad = " ".repeat(widths[i].saturating_sub(width(cell)));
        if i > 0 {
            text.push_str("  ");
        }
        if right[i] {
            text.push_str(&pad);
            text.push_str(cell);
        } else {
            text.push_str(cell);
            text.push_str(&pad);
        }
    }
    let _ = writeln!(out, "{}", text.trim_end());
}

/// A value as one line; absence is empty.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// Columns a text takes on a terminal: wide East Asian characters and emoji take two, combining marks none.
fn width(text: &str) -> usize {
    text.chars()
        .map(|c| match u32::from(c) {
            0x0300..=0x036f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
            0x1100..=0x115f
            | 0x2e80..=0xa4cf
            | 0xac00..=0xd7a3
            | 0xf900..=0xfaff
            | 0xfe30..=0xfe6f
            | 0xff00..=0xff60
            | 0xffe0..=0xffe6
            | 0x1f300..=0x1faff
            | 0x20000..=0x3fffd => 2,
            _ => 1,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_aligned_and_numbers_stand_right() {
        let rows: Vec<Map<String, Value>> = [json!({"name": "a", "n": 10}), json!({"name": "日本", "n": null})]
            .into_iter()
            .map(|v| v.as_object().cloned().unwrap())
            .collect();
        let drawn = draw(&["name".into(), "n".into()], &rows);
        assert_eq!(drawn, "name  n\n----  --\na     10\n日本\n(2 rows)\n");
    }

    #[test]
    fn a_row_stays_one_line() {
        assert_eq!(cell(&json!("a\nb\u{1b}[31m")), "a\\nb\\u{1b}[31m");
    }
}
