//! The table of figures: what was measured, beside the budget of the design, with the ratio of the two.
//!
//! Figures are printed as they come, so that a run that is cut short still says what it found. Nothing is asserted: a
//! figure from a busy machine is still a figure.

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// A rate.
    Higher,
    /// A duration or a size.
    Lower,
}

/// The table so far.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<[String; 5]>,
}

impl Report {
    /// Adds and prints a figure; `budget` is NaN where the design has none.
    pub fn figure(&mut self, what: &str, value: f64, unit: &str, budget: f64, better: Better) {
        let (ratio, verdict) = if budget.is_nan() {
            (String::new(), "")
        } else {
            // Above 1 means better than the budget, whichever way is better.
            let ratio = if better == Better::Higher { value / budget } else { budget / value };
            (format!("{ratio:.2}x"), if ratio >= 1.0 { "met" } else { "missed" })
        };
        let budget = if budget.is_nan() { String::new() } else { format!("{} {unit}", number(budget)) };
        let row = [what.to_string(), format!("{} {unit}", number(value)), budget, ratio, verdict.to_string()];
        println!("  {:<62} {:>16} {:>16} {:>8} {}", row[0], row[1], row[2], row[3], row[4]);
        self.rows.push(row);
    }

    /// A figure without a budget.
    pub fn note(&mut self, what: &str, value: f64, unit: &str) {
        self.figure(what, value, unit, f64::NAN, Better::Lower);
    }

    /// The whole table as Markdown, for the README.
    pub fn markdown(&self) -> String {
        let mut table = String::from("| what | measured | budget | ratio | |\n|---|---:|---:|---:|---|\n");
        for row in &self.rows {
            table.push_str(&format!("| {} |\n", row.join(" | ")));
        }
        table
    }
}

/// Thousands separated, and as many decimals as say something.
fn number(value: f64) -> String {
    if value.abs() < 10.0 {
        return format!("{value:.2}");
    }
    if value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{:.0}", value);
    let mut grouped = String::new();
    for (n, c) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 && grouped != "-" {
            grouped.push(',');
        }
        grouped.push(c);
    }
    grouped
}
