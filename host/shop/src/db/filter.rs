//! Conditions of a SELECT that are written at run time: text and values, the same for both engines.

use std::fmt;

use sqlx::{Encode, Postgres, Sqlite, Type, postgres::PgArguments, sqlite::SqliteArguments};

use super::batch::bind;

/// A value that both engines can be sent.
pub trait Value: Send + Sync {
    /// Adds the value to a statement of SQLite.
    ///
    /// # Errors
    /// When the value cannot be encoded.
    fn add_to_sqlite(&self, arguments: &mut SqliteArguments) -> sqlx::Result<()>;

    /// Adds the value to a statement of PostgreSQL.
    ///
    /// # Errors
    /// When the value cannot be encoded.
    fn add_to_postgres(&self, arguments: &mut PgArguments) -> sqlx::Result<()>;
}

impl<T> Value for T
where
    T: for<'q> Encode<'q, Sqlite> + Type<Sqlite>,
    T: for<'q> Encode<'q, Postgres> + Type<Postgres>,
    T: Send + Sync,
{
    fn add_to_sqlite(&self, arguments: &mut SqliteArguments) -> sqlx::Result<()> {
        bind(arguments, self)
    }

    fn add_to_postgres(&self, arguments: &mut PgArguments) -> sqlx::Result<()> {
        bind(arguments, self)
    }
}

/// Conditions that all hold, and their values; without conditions, all rows.
///
/// Conditions are texts of the code, and values are always arguments, so a filter cannot be
/// written by a client.
#[derive(Default)]
pub struct Filter<'v> {
    text: String,
    values: Vec<Box<dyn Value + 'v>>,
}

impl<'v> Filter<'v> {
    /// Returns a filter with one condition; as [`with`](Self::with).
    #[must_use]
    pub fn of(condition: &'static str, value: impl Value + 'v) -> Self {
        Self::default().with(condition, value)
    }

    /// Adds a condition without a value.
    #[must_use]
    pub fn and(mut self, condition: &str) -> Self {
        let joined = if self.text.is_empty() {
            " WHERE "
        } else {
            " AND "
        };
        self.text.push_str(joined);
        self.text.push_str(condition);
        self
    }

    /// Adds a condition without a value, if there is one.
    #[must_use]
    pub fn and_some(self, condition: Option<&'static str>) -> Self {
        match condition {
            Some(condition) => self.and(condition),
            None => self,
        }
    }

    /// Adds a condition in which every `?` is the value.
    #[must_use]
    pub fn with(mut self, condition: &'static str, value: impl Value + 'v) -> Self {
        let place = self.place_of(value);
        self.and(&condition.replace('?', &place))
    }

    /// Adds a condition as [`with`](Self::with) does, if there is a value.
    #[must_use]
    pub fn with_some(self, condition: &'static str, value: Option<impl Value + 'v>) -> Self {
        match value {
            Some(value) => self.with(condition, value),
            None => self,
        }
    }

    /// Adds a condition whose first `?` is the first value, and whose second is the second.
    #[must_use]
    pub fn with_pair(
        mut self,
        condition: &'static str,
        first: impl Value + 'v,
        second: impl Value + 'v,
    ) -> Self {
        let first = self.place_of(first);
        let second = self.place_of(second);
        let condition = condition.replacen('?', &first, 1).replacen('?', &second, 1);
        self.and(&condition)
    }

    /// Adds the condition that a column has one of the values.
    #[must_use]
    pub fn with_any<T: Value + 'v>(
        mut self,
        column: &'static str,
        values: impl IntoIterator<Item = T>,
    ) -> Self {
        let places: Vec<String> = values
            .into_iter()
            .map(|value| self.place_of(value))
            .collect();
        if places.is_empty() {
            // PostgreSQL has no empty list.
            return self.and("FALSE");
        }
        self.and(&format!("{column} IN ({})", places.join(", ")))
    }

    /// Adds the condition that one of the expressions contains a text, in any case, if there is a
    /// text.
    #[must_use]
    pub fn containing(mut self, expressions: &[&'static str], text: Option<&str>) -> Self {
        let Some(text) = text else {
            return self;
        };
        let place = self.place_of(pattern(text));
        let alternatives: Vec<String> = expressions
            .iter()
            .map(|expression| format!("lower({expression}) LIKE {place} ESCAPE '!'"))
            .collect();
        self.and(&format!("({})", alternatives.join(" OR ")))
    }

    /// Keeps a value and returns its place in the text.
    fn place_of(&mut self, value: impl Value + 'v) -> String {
        self.values.push(Box::new(value));
        format!("${}", self.values.len())
    }

    /// Returns the conditions with their WHERE.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the number of values.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn for_sqlite(&self) -> sqlx::Result<SqliteArguments> {
        let mut arguments = SqliteArguments::default();
        for value in &self.values {
            value.add_to_sqlite(&mut arguments)?;
        }
        Ok(arguments)
    }

    pub(super) fn for_postgres(&self) -> sqlx::Result<PgArguments> {
        let mut arguments = PgArguments::default();
        for value in &self.values {
            value.add_to_postgres(&mut arguments)?;
        }
        Ok(arguments)
    }
}

impl fmt::Debug for Filter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.text).finish()
    }
}

/// Returns a pattern for LIKE (after `lower`, with `ESCAPE '!'`) that matches exactly this text.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.to_lowercase().chars() {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern + "%"
}

#[cfg(test)]
mod tests {
    use sqlx::Arguments as _;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_search_means_its_characters() {
        assert_eq!(pattern("Sari"), "%sari%");
        assert_eq!(pattern("50%_!"), "%50!%!_!!%");
    }

    #[test]
    fn without_conditions_there_is_no_where() {
        let filter = Filter::default()
            .and_some(None)
            .with_some("a = ?", None::<i64>)
            .containing(&["b"], None);
        assert_eq!((filter.text(), filter.len()), ("", 0));
    }

    #[test]
    fn both_engines_number_values_in_the_order_of_the_arguments() {
        let filter = Filter::of("a = ?", 1_i64)
            .and("b IS NULL")
            .with_some("(c > ? OR d > ?)", Some("x"))
            .with_any("e", [Uuid::nil(), Uuid::max()])
            .containing(&["f", "g"], Some("y"))
            .with_pair("(h, i) < (?, ?)", 2_i64, "z");
        let expected = " WHERE a = $1 AND b IS NULL AND (c > $2 OR d > $2) AND e IN ($3, $4) \
                        AND (lower(f) LIKE $5 ESCAPE '!' OR lower(g) LIKE $5 ESCAPE '!') \
                        AND (h, i) < ($6, $7)";
        assert_eq!(filter.text(), expected);
        assert_eq!(filter.len(), 7);
        assert_eq!(filter.for_sqlite().unwrap().len(), 7);
        assert_eq!(filter.for_postgres().unwrap().len(), 7);
    }

    #[test]
    fn none_of_no_values_holds() {
        let filter = Filter::default().with_any("a", Vec::<i64>::new());
        assert_eq!((filter.text(), filter.len()), (" WHERE FALSE", 0));
    }
}
