//! Codes of a block to what they stand for, for all rows or for the selected ones.
//!
//! Every function reads the rows at `rows` (numbers within the block), or all rows without. Outputs are cleared first,
//! and reused from block to block.

use crate::column::CodeSlice;

/// A code as a place in a table.
trait Code: Copy {
    fn place(self) -> usize;
    fn wide(self) -> i64;
}

macro_rules! code {
    ($($native:ty),*) => {$(
        impl Code for $native {
            fn place(self) -> usize {
                self as usize
            }
            fn wide(self) -> i64 {
                self as i64
            }
        }
    )*};
}
code!(u8, u16, u32, u64);

/// Runs `$body` with `$codes` as a slice of its own width.
macro_rules! by_width {
    ($slice:expr, $codes:ident => $body:expr) => {
        match $slice {
            CodeSlice::U8($codes) => $body,
            CodeSlice::U16($codes) => $body,
            CodeSlice::U32($codes) => $body,
            CodeSlice::U64($codes) => $body,
        }
    };
}

fn map<C: Code, V>(codes: &[C], rows: Option<&[u16]>, out: &mut Vec<V>, value: impl Fn(C) -> V) {
    out.clear();
    match rows {
        None => out.extend(codes.iter().map(|code| value(*code))),
        Some(rows) => out.extend(rows.iter().map(|row| value(codes[usize::from(*row)]))),
    }
}

/// The entry of `table` for each row's code; a code beyond the table gets its last entry. Nothing if the table is empty.
pub fn lookup<V: Copy>(codes: CodeSlice<'_>, rows: Option<&[u16]>, table: &[V], out: &mut Vec<V>) {
    let Some(last) = table.len().checked_sub(1) else { return out.clear() };
    by_width!(codes, codes => map(codes, rows, out, |code| table[code.place().min(last)]));
}

/// Joins the entry of `table` for each row's code to what `out` holds for the row, by OR. Rows that `out` does not have
/// are left out.
pub fn lookup_or(codes: CodeSlice<'_>, rows: Option<&[u16]>, table: &[u32], out: &mut [u32]) {
    let Some(last) = table.len().checked_sub(1) else { return };
    fn join<C: Code>(codes: &[C], rows: Option<&[u16]>, table: &[u32], last: usize, out: &mut [u32]) {
        match rows {
            None => out.iter_mut().zip(codes).for_each(|(out, code)| *out |= table[code.place().min(last)]),
            Some(rows) => out.iter_mut().zip(rows).for_each(|(out, row)| {
                *out |= table[codes[usize::from(*row)].place().min(last)];
            }),
        }
    }
    by_width!(codes, codes => join(codes, rows, table, last, out));
}

/// `base + step * code` of each row, wrapping around.
pub fn linear(codes: CodeSlice<'_>, rows: Option<&[u16]>, base: i64, step: i64, out: &mut Vec<i64>) {
    if step == 1 {
        by_width!(codes, codes => map(codes, rows, out, |code| base.wrapping_add(code.wide())));
    } else {
        by_width!(codes, codes => map(codes, rows, out, |code| {
            base.wrapping_add(step.wrapping_mul(code.wide()))
        }));
    }
}

/// The code of each row.
pub fn plain(codes: CodeSlice<'_>, rows: Option<&[u16]>, out: &mut Vec<u64>) {
    by_width!(codes, codes => map(codes, rows, out, |code| code.wide() as u64));
}

/// 1 for each row whose code is not 0, else 0; whether there is a 0.
pub fn not_zero(codes: CodeSlice<'_>, rows: Option<&[u16]>, out: &mut Vec<u8>) -> bool {
    by_width!(codes, codes => map(codes, rows, out, |code| u8::from(code.place() != 0)));
    !all_set(out)
}

/// Whether no flag (each 0 or 1) is 0.
pub fn all_set(flags: &[u8]) -> bool {
    flags.iter().fold(1, |all, flag| all & flag) == 1
}

/// The sum of the rows' codes, wrapping around: exact for blocks of codes of up to four bytes.
pub fn sum(codes: CodeSlice<'_>, rows: Option<&[u16]>) -> u64 {
    fn of<C: Code>(codes: &[C], rows: Option<&[u16]>) -> u64 {
        let add = |sum: u64, code: C| sum.wrapping_add(code.wide() as u64);
        match rows {
            None => codes.iter().fold(0, |sum, code| add(sum, *code)),
            Some(rows) => rows.iter().fold(0, |sum, row| add(sum, codes[usize::from(*row)])),
        }
    }
    by_width!(codes, codes => of(codes, rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_row_by_row(
            codes in prop::collection::vec(0..300u16, 0..200),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 0..100),
            all: bool,
            table in prop::collection::vec(any::<u32>(), 1..400),
            base: i64,
            step in 1..5i64,
        ) {
            let mut rows: Vec<u16> = if codes.is_empty() { Vec::new() } else {
                picks.iter().map(|pick| pick.index(codes.len()) as u16).collect()
            };
            rows.sort_unstable();
            rows.dedup();
            let rows = (!all).then_some(&rows[..]);
            let read: Vec<u16> = match rows {
                None => codes.clone(),
                Some(rows) => rows.iter().map(|row| codes[*row as usize]).collect(),
            };
            let entry = |code: u16| table[usize::from(code).min(table.len() - 1)];
            let mut ids = Vec::new();
            lookup(CodeSlice::U16(&codes), rows, &table, &mut ids);
            prop_assert_eq!(&ids, &read.iter().map(|code| entry(*code)).collect::<Vec<_>>());
            let mut joined = vec![1; read.len()];
            lookup_or(CodeSlice::U16(&codes), rows, &table, &mut joined);
            prop_assert_eq!(joined, ids.iter().map(|id| id | 1).collect::<Vec<_>>());
            let mut values = Vec::new();
            linear(CodeSlice::U16(&codes), rows, base, step, &mut values);
            let expected: Vec<i64> = read.iter().map(|c| base.wrapping_add(step * i64::from(*c))).collect();
            prop_assert_eq!(values, expected);
            let mut flags = Vec::new();
            let has_zero = not_zero(CodeSlice::U16(&codes), rows, &mut flags);
            prop_assert_eq!(has_zero, read.contains(&0));
            prop_assert_eq!(flags, read.iter().map(|code| u8::from(*code != 0)).collect::<Vec<_>>());
            prop_assert_eq!(sum(CodeSlice::U16(&codes), rows), read.iter().map(|c| u64::from(*c)).sum::<u64>());
        }
    }
}
