//! `numeric` as an unsigned number of 64 bits, in the binary format: exact, and without a text per value.

use std::error::Error;

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// Digits of Postgres's numeric are of base ten thousand.
const BASE: u64 = 10_000;

/// Its sign, if not negative.
const POSITIVE: u16 = 0;

/// A slot, an epoch, an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Uint(pub(super) u64);

impl ToSql for Uint {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let mut digits = [0_u16; 5];
        let (mut count, mut rest) = (0_u16, self.0);
        for digit in digits.iter_mut().rev() {
            if rest == 0 {
                break;
            }
            *digit = u16::try_from(rest % BASE)?;
            (rest, count) = (rest / BASE, count + 1);
        }
        out.put_u16(count);
        // The weight of the first digit: 0 for units.
        out.put_i16(i16::try_from(count)? - i16::from(count > 0));
        out.put_u16(POSITIVE);
        out.put_u16(0);
        for digit in digits.iter().skip(digits.len() - usize::from(count)) {
            out.put_u16(*digit);
        }
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::NUMERIC
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Uint {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let mut words = raw.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]]));
        let mut next = || words.next().ok_or("numeric: too short");
        let (count, weight, sign, scale) = (next()?, next()?.cast_signed(), next()?, next()?);
        if sign != POSITIVE || scale != 0 || raw.len() != 8 + 2 * usize::from(count) {
            return Err("numeric: not an unsigned whole number".into());
        }
        let places = if count == 0 { 0 } else { usize::try_from(weight)? + 1 };
        if places < usize::from(count) || places > 5 {
            return Err("numeric: more than 64 bits, or not whole".into());
        }
        let mut value = 0_u64;
        // Zeros at the end are left out.
        for digit in words.chain(std::iter::repeat(0)).take(places) {
            let next = value.checked_mul(BASE).and_then(|value| value.checked_add(u64::from(digit)));
            value = next.ok_or("numeric: more than 64 bits")?;
        }
        Ok(Self(value))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::NUMERIC
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn encoded(value: u64) -> Vec<u8> {
        let mut out = BytesMut::new();
        assert!(matches!(Uint(value).to_sql(&Type::NUMERIC, &mut out).unwrap(), IsNull::No));
        out.to_vec()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in any::<u64>(), shift in 0_u32..64) {
            let value = value >> shift;
            prop_assert_eq!(Uint::from_sql(&Type::NUMERIC, &encoded(value)).unwrap(), Uint(value));
        }

        #[test]
        fn nothing_that_is_read_panics(raw in proptest::collection::vec(any::<u8>(), 0..32)) {
            let _either = Uint::from_sql(&Type::NUMERIC, &raw);
        }
    }

    #[test]
    fn the_bytes_are_those_of_postgres() {
        // SELECT numeric_send(10000): one digit, weight 1; zeros at the end are left out by the server.
        assert_eq!(Uint::from_sql(&Type::NUMERIC, &[0, 1, 0, 1, 0, 0, 0, 0, 0, 1]).unwrap(), Uint(10_000));
        assert_eq!(encoded(0), [0; 8]);
        assert_eq!(encoded(12_345), [0, 2, 0, 1, 0, 0, 0, 0, 0, 1, 9, 41]);
        for bad in [&[0, 0][..], &[0, 1, 0, 0, 0x40, 0, 0, 0, 0, 1], &[0, 1, 0, 5, 0, 0, 0, 0, 0, 1]] {
            assert!(Uint::from_sql(&Type::NUMERIC, bad).is_err());
        }
        assert_eq!(Uint::from_sql(&Type::NUMERIC, &encoded(u64::MAX)).unwrap(), Uint(u64::MAX));
    }
}
