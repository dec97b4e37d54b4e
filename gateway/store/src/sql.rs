//! One statement, written once for every database: `$1` placeholders, values bound in order, rows read by column name.
//!
//! Knows no table, and no connection beyond handing itself to one. Every file with an entity in it calls this; where two
//! databases want different words, the words are in the file of that database.

use crate::database::Connection;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Encode, Postgres, Row as _, SqlSafeStr, SqlStr, Sqlite, Type};

/// Begins a statement. Text that is put together at run time is wrapped in [`sqlx::AssertSqlSafe`] by whoever vouches
/// that no value is in it.
pub(crate) fn sql(text: impl SqlSafeStr) -> Statement {
    Statement {
        text: text.into_sql_str(),
        values: Vec::new(),
    }
}

/// A statement and its values so far.
#[must_use]
pub(crate) struct Statement {
    text: SqlStr,
    values: Vec<Value>,
}

impl Statement {
    /// Gives the next placeholder its value: the first call `$1`, the second `$2`.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Statement {
        self.values.push(value.into());
        self
    }

    /// Runs it and answers how many rows it wrote.
    pub(crate) async fn execute(self, connection: &mut Connection) -> Result<u64, sqlx::Error> {
        connection.execute(self.text, &self.values).await
    }

    /// All rows.
    pub(crate) async fn fetch_all(self, connection: &mut Connection) -> Result<Vec<Row>, sqlx::Error> {
        connection.fetch_all(self.text, &self.values).await
    }

    /// The first row, if there is one.
    pub(crate) async fn fetch_optional(self, connection: &mut Connection) -> Result<Option<Row>, sqlx::Error> {
        Ok(self.fetch_all(connection).await?.into_iter().next())
    }

    /// The first row, which must exist.
    pub(crate) async fn fetch_one(self, connection: &mut Connection) -> Result<Row, sqlx::Error> {
        self.fetch_optional(connection).await?.ok_or(sqlx::Error::RowNotFound)
    }
}

/// A bound value, or the NULL of its type: some databases ask for the type of a NULL, too.
pub(crate) enum Value {
    Integer(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    Boolean(Option<bool>),
}

/// The values as the arguments of one database.
pub(crate) fn arguments<A>(values: &[Value]) -> Result<A, sqlx::Error>
where
    A: sqlx::Arguments,
    for<'v> Option<i64>: Encode<'v, A::Database> + Type<A::Database>,
    for<'v> Option<&'v str>: Encode<'v, A::Database> + Type<A::Database>,
    for<'v> Option<&'v [u8]>: Encode<'v, A::Database> + Type<A::Database>,
    for<'v> Option<bool>: Encode<'v, A::Database> + Type<A::Database>,
{
    let mut arguments = A::default();
    for value in values {
        match value {
            Value::Integer(value) => arguments.add(*value),
            Value::Text(value) => arguments.add(value.as_deref()),
            Value::Bytes(value) => arguments.add(value.as_deref()),
            Value::Boolean(value) => arguments.add(*value),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

macro_rules! value_from {
    ($($type:ty => $variant:ident($convert:expr)),* $(,)?) => {
        $(
            impl From<$type> for Value {
                fn from(value: $type) -> Value {
                    Value::$variant($convert(value))
                }
            }
        )*
    };
}

value_from! {
    i64 => Integer(Some),
    Option<i64> => Integer(std::convert::identity),
    u16 => Integer(|value| Some(i64::from(value))),
    Option<u16> => Integer(|value: Option<u16>| value.map(i64::from)),
    u32 => Integer(|value| Some(i64::from(value))),
    String => Text(Some),
    &str => Text(|value: &str| Some(value.to_owned())),
    &String => Text(|value: &String| Some(value.clone())),
    Option<String> => Text(std::convert::identity),
    Option<&str> => Text(|value: Option<&str>| value.map(str::to_owned)),
    Option<&String> => Text(|value: Option<&String>| value.cloned()),
    &Option<String> => Text(Option::clone),
    Vec<u8> => Bytes(Some),
    &[u8] => Bytes(|value: &[u8]| Some(value.to_vec())),
    Option<&[u8]> => Bytes(|value: Option<&[u8]>| value.map(<[u8]>::to_vec)),
    bool => Boolean(Some),
}

/// A row of an answer.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// The value of a column, read as what the caller expects.
    pub(crate) fn try_get<'r, T: Readable<'r>>(&'r self, column: &str) -> Result<T, sqlx::Error> {
        match self {
            Row::Sqlite(row) => row.try_get(column),
            Row::Postgres(row) => row.try_get(column),
        }
    }
}

/// What a column can be read as, in every database.
pub(crate) trait Readable<'r>:
    Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>
{
}

impl<'r, T> Readable<'r> for T where T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres> {}
