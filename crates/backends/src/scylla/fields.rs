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

#[cfg(test)]
mod tests {
    use scylla::deserialize::FrameSlice;
    use scylla::frame::response::result::{ColumnType, NativeType, TableSpec};

    use super::*;

    const TABLE: TableSpec<'static> = TableSpec::borrowed("terse", "links");

    fn bytes(values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut frame = Vec::new();
        for value in values {
            let len = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
            frame.extend(len.to_be_bytes());
            frame.extend(value.unwrap_or_default());
        }
        frame
    }

    /// What a row of an answer says: applied, and the id that stood there.
    fn read(columns: &[(&'static str, NativeType)], values: &[Option<&[u8]>]) -> (bool, Option<i64>) {
        let specs: Vec<_> =
            columns.iter().map(|(name, kind)| ColumnSpec::borrowed(name, ColumnType::Native(kind.clone()), TABLE)).collect();
        let frame = bytes::Bytes::from(bytes(values));
        let fields = Fields::deserialize(ColumnIterator::new(&specs, FrameSlice::new(&frame))).unwrap();
        (fields.need("[applied]").unwrap(), fields.get("id").unwrap())
    }

    #[test]
    fn answers_are_read_alike_from_both_servers() {
        let (applied, id, code) = (("[applied]", NativeType::Boolean), ("id", NativeType::BigInt), ("code", NativeType::Text));
        let seven = 7_i64.to_be_bytes();
        // Cassandra, applied: nothing but the word.
        assert_eq!(read(std::slice::from_ref(&applied), &[Some(&[1])]), (true, None));
        // ScyllaDB, applied: the old row, which is not there.
        assert_eq!(read(&[applied.clone(), code.clone(), id.clone()], &[Some(&[1]), None, None]), (true, None));
        // Both, not applied, in whatever order.
        assert_eq!(read(&[applied.clone(), code.clone(), id.clone()], &[Some(&[0]), Some(b"x"), Some(&seven)]), (false, Some(7)));
        assert_eq!(read(&[id, code, applied], &[Some(&seven), Some(b"x"), Some(&[0])]), (false, Some(7)));
    }

    #[test]
    fn another_type_is_an_error() {
        let specs = [ColumnSpec::borrowed("id", ColumnType::Native(NativeType::Text), TABLE)];
        let frame = bytes::Bytes::from(bytes(&[Some(b"x")]));
        let fields = Fields::deserialize(ColumnIterator::new(&specs, FrameSlice::new(&frame))).unwrap();
        assert!(fields.get::<i64>("id").is_err() && fields.need::<&str>("other").is_err());
        assert_eq!(fields.need::<&str>("id").unwrap(), "x");
    }
}
