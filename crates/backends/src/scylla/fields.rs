//! The columns of a row, by name. Nothing is read by position: answers to conditional statements differ in
//! their columns between servers, and between applied and not.

use scylla::deserialize::row::{ColumnIterator, DeserializeRow, RawColumn};
use scylla::deserialize::value::DeserializeValue;
use scylla::deserialize::{DeserializationError, TypeCheckError};
use scylla::frame::response::result::ColumnSpec;

use super::error::Broken;

pub(super) struct Fields<'frame, 'metadata>(Vec<RawColumn<'frame, 'metadata>>);

impl<'frame, 'metadata> DeserializeRow<'frame, 'metadata> for Fields<'frame, 'metadata> {
    /// Types are checked column by column, when they are read.
    fn type_check(_: &[ColumnSpec<'_>]) -> Result<(), TypeCheckError> {
        Ok(())
    }

    fn deserialize(row: ColumnIterator<'frame, 'metadata>) -> Result<Self, DeserializationError> {
        row.collect::<Result<_, _>>().map(Self)
    }
}

impl<'frame, 'metadata> Fields<'frame, 'metadata> {
    pub(super) fn is_null(&self, name: &str) -> bool {
        self.column(name).is_none_or(|column| column.slice.is_none())
    }

    /// `None` for a column that is null, or not there.
    pub(super) fn get<T>(&self, name: &'static str) -> Result<Option<T>, Broken>
    where
        T: DeserializeValue<'frame, 'metadata>,
    {
        let Some(column) = self.column(name) else { return Ok(None) };
        let broken = |what: &str| format!("column `{name}` {what}");
        T::type_check(column.spec.typ()).map_err(|error| Broken::with_source(broken("has another type"), error))?;
        let Some(slice) = column.slice else { return Ok(None) };
        T::deserialize(column.spec.typ(), Some(slice))
            .map(Some)
            .map_err(|error| Broken::with_source(broken("does not hold what is written there"), error))
    }

    pub(super) fn need<T>(&self, name: &'static str) -> Result<T, Broken>
    where
        T: DeserializeValue<'frame, 'metadata>,
    {
        self.get(name)?.ok_or_else(|| Broken::new(format!("column `{name}` is empty")))
    }

    fn column(&self, name: &str) -> Option<&RawColumn<'frame, 'metadata>> {
        self.0.iter().find(|column| column.spec.name() == name)
    }
}
