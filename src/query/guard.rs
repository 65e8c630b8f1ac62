//! The guard before the parser: counts tokens, so that no statement reaches recursive code it could overflow.
//!
//! Invariant: linear in the length of the text; what passes is one statement that starts like a reading one, and whose
//! nesting and chains stay far below what the engine's 32 MiB stacks bear.
//!
//! It uses the parser's own tokenizer and dialect, so that both see the same tokens (comments, quotes, dollar quotes).

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::error::QueryError;

/// Longest statement: 64 KiB.
pub const MAX_SQL_BYTES: usize = 64 * 1024;
/// Most operators (`+`, `AND`, `LIKE`, `::` …) of one statement.
pub const MAX_OPERATORS: usize = 500;
/// Most set operations (`UNION`, `EXCEPT`, `INTERSECT`) of one statement.
pub const MAX_SET_OPERATIONS: usize = 100;
/// Deepest nesting of parentheses, brackets and `CASE`.
pub const MAX_DEPTH: usize = 40;
/// Most `JOIN`s written in one statement.
pub const MAX_JOINS: usize = 64;
/// Most commas: bounds select lists, `IN` lists, `VALUES` and arguments.
pub const MAX_COMMAS: usize = 4_000;
/// Most elements of one parenthesised list.
pub const MAX_LIST: usize = 2_000;
/// Longest text literal or parameter, in bytes.
pub const MAX_LITERAL_BYTES: usize = 8 * 1024;
/// Most function calls and parenthesised expressions.
const MAX_PARENTHESES: usize = 2_000;
/// Most arms of all `CASE` expressions.
const MAX_WHEN: usize = 500;
/// Longest dotted name.
const MAX_DOTS: usize = 6;
/// Keywords that may begin a statement.
const READS: [&str; 9] = ["SELECT", "WITH", "VALUES", "TABLE", "FROM", "SHOW", "DESCRIBE", "DESC", "EXPLAIN"];
/// Keywords that begin statements which change something.
const WRITES: [&str; 33] = [
    "INSERT",
    "UPDATE",
    "DELETE",
    "MERGE",
    "REPLACE",
    "UPSERT",
    "CREATE",
    "DROP",
    "ALTER",
    "TRUNCATE",
    "RENAME",
    "COPY",
    "UNLOAD",
    "LOAD",
    "EXPORT",
    "IMPORT",
    "INSTALL",
    "ATTACH",
    "DETACH",
    "SET",
    "RESET",
    "PREPARE",
    "EXECUTE",
    "DEALLOCATE",
    "BEGIN",
    "START",
    "COMMIT",
    "ROLLBACK",
    "GRANT",
    "REVOKE",
    "CALL",
    "VACUUM",
    "PRAGMA",
];
/// Keywords that chain or nest expressions as operators do.
const WORD_OPERATORS: [&str; 20] = [
    "AND", "OR", "XOR", "NOT", "IN", "IS", "ISNULL", "NOTNULL", "LIKE", "ILIKE", "RLIKE", "REGEXP", "SIMILAR",
    "BETWEEN", "COLLATE", "AT", "DIV", "OVERLAPS", "INTERVAL", "PRIOR",
];

/// What the statement asks for, as far as the tokens tell.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tokens {
    /// Names of the placeholders, without the dollar sign, in order of appearance.
    pub(super) placeholders: Vec<String>,
}

/// Refuses what must not reach the parser.
pub(super) fn check(sql: &str) -> Result<Tokens, QueryError> {
    if sql.len() > MAX_SQL_BYTES {
        return Err(QueryError::refused(
            "The statement is too long",
            format!(
                "It has {} bytes; at most {MAX_SQL_BYTES} are accepted. Use parameters or a join for long lists.",
                sql.len()
            ),
        ));
    }
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize().map_err(|e| {
        QueryError::invalid("The statement is not valid SQL", format!("{e}. Check quotes and comments."))
    })?;
    let mut scan = Scan::default();
    for token in tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_) | Token::EOF)) {
        scan.token(token)?;
    }
    scan.finish()
}

#[derive(Default)]
struct Scan {
    seen: usize,
    first: String,
    ended: bool,
    operators: usize,
    set_operations: usize,
    joins: usize,
    whens: usize,
    groupings: usize,
    commas: usize,
    parentheses: usize,
    cases: usize,
    dots: usize,
    after_name: bool,
    open: Vec<(Token, usize)>,
    placeholders: Vec<String>,
}

impl Scan {
    fn token(&mut self, token: &Token) -> Result<(), QueryError> {
        if self.ended {
            return Err(match token {
                Token::SemiColon => return Ok(()),
                _ => QueryError::refused("Only one statement is accepted", "Send further statements one by one."),
            });
        }
        self.seen += 1;
        // A dotted name alternates names and periods; anything else ends it.
        let (dotted, name) = (matches!(token, Token::Period), matches!(token, Token::Word(_)));
        let continues = dotted || (name && !self.after_name);
        if !continues {
            self.dots = 0;
        }
        self.after_name = name;
        match token {
            Token::Word(word) if word.quote_style.is_none() => self.word(&word.value.to_ascii_uppercase())?,
            Token::Word(_) | Token::Number(..) | Token::Char(_) => {}
            Token::Period => {
                self.dots += 1;
                limit(self.dots, MAX_DOTS, "parts in one dotted name")?;
            }
            Token::Comma => {
                self.commas += 1;
                limit(self.commas, MAX_COMMAS, "commas")?;
                if let Some((_, elements)) = self.open.last_mut() {
                    *elements += 1;
                    limit(*elements, MAX_LIST, "elements in one list")?;
                }
            }
            Token::LParen | Token::LBracket | Token::LBrace => {
                self.parentheses += 1;
                limit(self.parentheses, MAX_PARENTHESES, "calls and parentheses")?;
                self.open.push((token.clone(), 0));
                self.depth()?;
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                self.open.pop();
            }
            Token::SemiColon => self.ended = true,
            Token::Placeholder(name) => self.placeholders.push(placeholder(name)?),
            other => match literal(other) {
                Some(text) => limit(text, MAX_LITERAL_BYTES, "bytes in one text literal")?,
                None => self.operator()?,
            },
        }
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<(), QueryError> {
        if self.seen == 1 {
            self.first = word.to_string();
        }
        if self.first.is_empty() {
            // Only opening parentheses came before.
            self.first = word.to_string();
        }
        match word {
            "UNION" | "EXCEPT" | "INTERSECT" | "MINUS" => {
                self.set_operations += 1;
                limit(self.set_operations, MAX_SET_OPERATIONS, "set operations")
            }
            "JOIN" | "APPLY" => {
                self.joins += 1;
                limit(self.joins, MAX_JOINS, "joins")
            }
            "CASE" => {
                self.cases += 1;
                self.depth()
            }
            "END" => {
                self.cases = self.cases.saturating_sub(1);
                Ok(())
            }
            "WHEN" => {
                self.whens += 1;
                limit(self.whens, MAX_WHEN, "arms of CASE")
            }
            "CUBE" | "ROLLUP" | "GROUPING" => {
                self.groupings += 1;
                if word == "CUBE" || self.groupings > 2 {
                    let detail = "CUBE and several ROLLUPs multiply; use one ROLLUP or GROUPING SETS, or UNION ALL.";
                    return Err(QueryError::refused("The statement groups in too many ways", detail));
                }
                Ok(())
            }
            "RECURSIVE" => Err(QueryError::refused(
                "Recursive statements are not accepted",
                "WITH RECURSIVE may never end. The views already hold what the hub derives.",
            )),
            "EXPLAIN" | "DESCRIBE" if self.seen > 1 => {
                Err(QueryError::refused(format!("{word} may only stand first, once"), "Quote it if it is a name."))
            }
            "ANALYZE" | "VERBOSE" if self.first == "EXPLAIN" && self.seen <= 8 && self.open.len() <= 1 => {
                let detail = "Plain EXPLAIN shows the plan without running it.";
                Err(QueryError::refused(format!("EXPLAIN {word} is not accepted"), detail))
            }
            word if WORD_OPERATORS.contains(&word) => self.operator(),
            _ => Ok(()),
        }
    }

    fn operator(&mut self) -> Result<(), QueryError> {
        self.operators += 1;
        limit(self.operators, MAX_OPERATORS, "operators")
    }

    fn depth(&self) -> Result<(), QueryError> {
        limit(self.open.len() + self.cases, MAX_DEPTH, "levels of nesting")
    }

    fn finish(self) -> Result<Tokens, QueryError> {
        if self.seen == 0 {
            return Err(QueryError::invalid("There is no statement", "Send one SELECT."));
        }
        if !READS.contains(&self.first.as_str()) {
            let detail = format!("A statement begins with one of {}.", READS.join(", "));
            return Err(match WRITES.contains(&self.first.as_str()) {
                true => QueryError::refused("The SQL interface is read-only", detail),
                false => QueryError::invalid("The statement does not begin like a query", detail),
            });
        }
        Ok(Tokens { placeholders: self.placeholders })
    }
}

fn limit(have: usize, most: usize, what: &str) -> Result<(), QueryError> {
    if have <= most {
        return Ok(());
    }
    Err(QueryError::refused(
        format!("The statement has too many {what}"),
        format!("At most {most} {what} are accepted. Split it, or replace long lists by a join or IN over a subquery."),
    ))
}

fn placeholder(token: &str) -> Result<String, QueryError> {
    match token.strip_prefix('$') {
        Some(name) if !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_') => Ok(name.to_string()),
        _ => Err(QueryError::invalid(
            format!("{token} is no parameter"),
            "Parameters are written $1, $2 … with a JSON array, or $name with a JSON object.",
        )),
    }
}

/// Length of a text literal.
fn literal(token: &Token) -> Option<usize> {
    match token {
        Token::SingleQuotedString(s)
        | Token::DoubleQuotedString(s)
        | Token::TripleSingleQuotedString(s)
        | Token::TripleDoubleQuotedString(s)
        | Token::SingleQuotedByteStringLiteral(s)
        | Token::DoubleQuotedByteStringLiteral(s)
        | Token::TripleSingleQuotedByteStringLiteral(s)
        | Token::TripleDoubleQuotedByteStringLiteral(s)
        | Token::SingleQuotedRawStringLiteral(s)
        | Token::DoubleQuotedRawStringLiteral(s)
        | Token::TripleSingleQuotedRawStringLiteral(s)
        | Token::TripleDoubleQuotedRawStringLiteral(s)
        | Token::NationalStringLiteral(s)
        | Token::EscapedStringLiteral(s)
        | Token::UnicodeStringLiteral(s)
        | Token::HexStringLiteral(s) => Some(s.len()),
        Token::DollarQuotedString(s) => Some(s.value.len()),
        Token::QuoteDelimitedStringLiteral(s) | Token::NationalQuoteDelimitedStringLiteral(s) => Some(s.value.len()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(sql: &str) -> String {
        check(sql).unwrap_err().title
    }

    #[test]
    fn ordinary_statements_pass() {
        for sql in [
            "select 1",
            "  -- hello\n SELECT a.b.c, 'x;y' from t where a in (1,2) and b like $1 or not c is null;",
            "(select 1) union all (select 2)",
            "with x as (select 1) select case when a then 1 else 2 end from x",
            "explain select 1",
            "show tables",
            "describe t",
            "values (1, 'a')",
        ] {
            check(sql).unwrap();
        }
        assert_eq!(check("select $1, $name").unwrap().placeholders, ["1", "name"]);
    }

    #[test]
    fn everything_but_one_reading_statement_is_refused() {
        for sql in ["insert into t values (1)", "drop table t", "copy t to 'x'", "set a = 1", "create external table t"]
        {
            assert_eq!(refused(sql), "The SQL interface is read-only", "{sql}");
        }
        assert_eq!(refused("select 1; select 2"), "Only one statement is accepted");
        assert_eq!(refused("explain explain select 1"), "EXPLAIN may only stand first, once");
        assert_eq!(refused("explain analyze select 1"), "EXPLAIN ANALYZE is not accepted");
        assert_eq!(refused("with recursive t as (select 1) select 1"), "Recursive statements are not accepted");
        assert_eq!(refused(" ; "), "The statement does not begin like a query");
        assert_eq!(refused("selec 1"), "The statement does not begin like a query");
        assert_eq!(check("").unwrap_err().title, "There is no statement");
    }

    #[test]
    fn long_chains_deep_nests_and_big_lists_are_refused() {
        assert!(refused(&format!("select 1{}", "+1".repeat(501))).contains("operators"));
        assert!(refused(&format!("select {}1", "not ".repeat(501))).contains("operators"));
        assert!(refused(&format!("select 1{}", "::int".repeat(501))).contains("operators"));
        assert!(refused(&format!("select 1 where a=1{}", " or a=1".repeat(300))).contains("operators"));
        assert!(refused(&format!("select 1{}", " union select 1".repeat(101))).contains("set operations"));
        assert!(refused(&format!("select {}1", "(".repeat(41))).contains("nesting"));
        assert!(refused(&format!("select {}", "case when ".repeat(41))).contains("nesting"));
        assert!(refused(&format!("select 1 in (1{})", ",1".repeat(2001))).contains("elements"));
        assert!(refused(&format!("select 1{}", ",1".repeat(4001))).contains("commas"));
        assert!(refused(&format!("select a{}", ".b".repeat(7))).contains("dotted"));
        assert!(refused(&format!("select '{}'", "x".repeat(9000))).contains("literal"));
        assert!(refused(&format!("select '{}'", "x".repeat(70_000))).contains("too long"));
        assert!(refused(&format!("select a{}", "[1]".repeat(2001))).contains("parentheses"));
    }
}
