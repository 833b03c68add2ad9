//! Statements with names in the place of their values, and the texts that are sent of them.

/// Statements of one purchase or renewal. `{number}`, `{postings}` and `{others}` in them differ by engine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Script {
    /// Names of the values of the original, in the order in which they are bound.
    pub(super) model: &'static [&'static str],
    /// Names of the values of each copy, after those.
    pub(super) own: &'static [&'static str],
    /// Postings are the third, and the entry that requires them comes after.
    pub(super) statements: &'static [&'static str],
}

impl Script {
    /// Returns a transaction for SQLite with so many copies, sent as one text.
    pub(super) fn in_sequence(self, copies: usize) -> String {
        let statements = self.statements.join(";\n");
        let statements = statements
            .replace("{number}", "(SELECT max(number) + 1 FROM transactions)")
            .replace("{postings}", "")
            .replace("{others}", "");
        let copies: Vec<String> = (0..copies)
            .map(|copy| self.numbered(&statements, copy))
            .collect();
        format!("BEGIN IMMEDIATE;\n{};\nCOMMIT", copies.join(";\n"))
    }

    /// Returns one statement for PostgreSQL, which needs no transaction around it. The entry's trigger requires the
    /// postings. A last statement with `{others}` has its turn when all others are done.
    pub(super) fn in_one(self) -> String {
        let [others @ .., last] = self.statements else {
            return String::new();
        };
        let counts: Vec<String> = (0..others.len())
            .map(|number| format!("(SELECT count(*) FROM w{number})"))
            .collect();
        let others: Vec<String> = others
            .iter()
            .enumerate()
            .map(|(number, sql)| format!("w{number} AS ({sql} RETURNING 1)"))
            .collect();
        let all = format!("WITH {}\n{last}", others.join(",\n"));
        let all = all
            .replace("{number}", "nextval('transaction_numbers')")
            .replace("{postings}", " AND (SELECT count(*) FROM w2) > 1")
            .replace("{others}", &format!(" AND {} > 0", counts.join(" + ")));
        self.numbered(&all, 0)
    }

    /// Writes the numbers of values in the place of their names, for the copy with this number.
    fn numbered(self, sql: &str, copy: usize) -> String {
        let first = 1 + self.model.len() + copy * self.own.len();
        let own = self.own.iter().zip(first..);
        self.model
            .iter()
            .zip(1..)
            .chain(own)
            .fold(sql.to_owned(), |sql, (name, number)| {
                sql.replace(name, &format!("${number}"))
            })
    }

    /// Panics when a name is left in a text, or a value is bound that none of them has.
    #[cfg(test)]
    pub(super) fn check(self) {
        let two = self.in_sequence(2);
        for text in [&two, &self.in_one()] {
            assert!(!text.contains('{'), "{text}");
        }
        for number in 1..=self.model.len() + 2 * self.own.len() {
            let known = format!("${number}");
            let mut found = two.match_indices(&known);
            let is_whole = |(at, _): (usize, &str)| {
                let after = two[at + known.len()..].chars().next();
                !after.is_some_and(|after| after.is_ascii_digit())
            };
            assert!(found.any(is_whole), "{known}: {two}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: Script = Script {
        model: &["{model}"],
        own: &["{a}", "{b}"],
        statements: &[
            "INSERT {a}",
            "INSERT {number}",
            "INSERT {b}",
            "UPDATE {model}{others}",
        ],
    };

    #[test]
    fn copies_have_values_of_their_own() {
        SCRIPT.check();
        let two = SCRIPT.in_sequence(2);
        assert!(
            two.contains("INSERT $2;") && two.contains("INSERT $4;"),
            "{two}"
        );
        assert_eq!(two.matches("UPDATE $1").count(), 2);
    }

    #[test]
    fn the_last_of_one_statement_waits_for_the_others() {
        let one = SCRIPT.in_one();
        let (_, last) = one.split_once("UPDATE $1 AND ").unwrap();
        assert_eq!(last.matches("SELECT count(*) FROM w").count(), 3, "{one}");
        assert!(last.ends_with(" > 0"), "{one}");
    }
}
