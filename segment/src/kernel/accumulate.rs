//! Values of a block's rows into accumulators, one per group.
//!
//! `groups` holds each row's group, a place in the accumulators; a row whose group is beyond them is a bug and, where
//! groups are many, panics as slices do. `valid`, where given, holds 1 for the rows that count and 0 for the others.
//!
//! With few groups, neighbouring rows meet in the same accumulator, and each addition would wait for the one before it
//! to leave the store buffer. So rows take turns between [`LANES`] copies of the accumulators, which are added up at the
//! end of the block.

/// Copies of the accumulators when groups are few.
const LANES: usize = 4;
/// Most groups that are few.
const FEW: usize = 64;

/// Adds 1 to the group of each row.
pub fn count(groups: &[u32], counts: &mut [i64]) {
    if counts.len() <= FEW && groups.len() >= LANES * FEW {
        return count_few(groups, counts);
    }
    for group in groups {
        counts[*group as usize] += 1;
    }
}

fn count_few(groups: &[u32], counts: &mut [i64]) {
    let mut lanes = [[0u32; FEW]; LANES];
    let (fours, rest) = groups.as_chunks::<LANES>();
    for four in fours {
        for lane in 0..LANES {
            lanes[lane][four[lane] as usize % FEW] += 1;
        }
    }
    for group in rest {
        lanes[0][*group as usize % FEW] += 1;
    }
    for (group, count) in counts.iter_mut().enumerate() {
        *count += lanes.iter().map(|lane| i64::from(lane[group])).sum::<i64>();
    }
}

/// Adds each row's value to its group, in 128 bits: `sums` hold the lower half, and `carry(group, ±1)` is called for what
/// goes to the upper half (practically never).
pub fn sum_i64(groups: &[u32], values: &[i64], sums: &mut [i64], mut carry: impl FnMut(usize, i64)) {
    if sums.len() <= FEW && groups.len() >= LANES * FEW {
        return sum_few(groups, values, sums, carry);
    }
    for (group, value) in groups.iter().zip(values) {
        let group = *group as usize;
        add(&mut sums[group], *value, || group, &mut carry);
    }
}

fn add(sum: &mut i64, value: i64, group: impl Fn() -> usize, carry: &mut impl FnMut(usize, i64)) {
    let (added, overflows) = sum.overflowing_add(value);
    *sum = added;
    if overflows {
        carry(group(), value.signum());
    }
}

fn sum_few(groups: &[u32], values: &[i64], sums: &mut [i64], mut carry: impl FnMut(usize, i64)) {
    let mut lanes = [[0i64; FEW]; LANES];
    let (fours, rest) = groups.as_chunks::<LANES>();
    let (value_fours, value_rest) = values.as_chunks::<LANES>();
    for (four, values) in fours.iter().zip(value_fours) {
        for lane in 0..LANES {
            let group = four[lane] as usize % FEW;
            add(&mut lanes[lane][group], values[lane], || group, &mut carry);
        }
    }
    for (group, value) in rest.iter().zip(value_rest) {
        let group = *group as usize % FEW;
        add(&mut lanes[0][group], *value, || group, &mut carry);
    }
    for (group, sum) in sums.iter_mut().enumerate() {
        for lane in &lanes {
            add(sum, lane[group], || group, &mut carry);
        }
    }
}

/// The exact sum of the values (at most 2^32).
pub fn total_i64(values: &[i64]) -> i128 {
    // Halves of 32 bits each, so that the loop has no carries and is vectorised.
    let (low, high) = values.iter().fold((0u64, 0i64), |(low, high), value| {
        (low + (*value as u64 & 0xffff_ffff), high + (*value >> 32))
    });
    (i128::from(high) << 32) + i128::from(low)
}

/// Adds each row's value to its group, in the order of the rows.
pub fn sum_f64(groups: &[u32], values: &[f64], sums: &mut [f64]) {
    for (group, value) in groups.iter().zip(values) {
        sums[*group as usize] += value;
    }
}

/// As [`sum_f64`] for the rows that count.
pub fn sum_f64_valid(groups: &[u32], values: &[f64], valid: &[u8], sums: &mut [f64]) {
    for ((group, value), valid) in groups.iter().zip(values).zip(valid) {
        if *valid != 0 {
            sums[*group as usize] += value;
        }
    }
}

/// Sets each group to what `choose` makes of what it holds and each row's value.
pub fn fold<V: Copy>(groups: &[u32], values: &[V], kept: &mut [V], choose: impl Fn(V, V) -> V) {
    for (group, value) in groups.iter().zip(values) {
        let kept = &mut kept[*group as usize];
        *kept = choose(*kept, *value);
    }
}

/// As [`fold`] for the rows that count.
pub fn fold_valid<V: Copy>(
    groups: &[u32],
    values: &[V],
    valid: &[u8],
    kept: &mut [V],
    choose: impl Fn(V, V) -> V,
) {
    for ((group, value), valid) in groups.iter().zip(values).zip(valid) {
        if *valid != 0 {
            let kept = &mut kept[*group as usize];
            *kept = choose(*kept, *value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sums_and_counts_equal_those_in_128_bits(
            rows in prop::collection::vec(
                (any::<u32>(), prop_oneof![any::<i64>(), Just(i64::MAX), Just(i64::MIN), -9..9i64]), 0..700),
            group_count in 1..200usize,
        ) {
            let groups: Vec<u32> = rows.iter().map(|(group, _)| group % group_count as u32).collect();
            let values: Vec<i64> = rows.iter().map(|(_, value)| *value).collect();
            let (mut sums, mut carries) = (vec![0; group_count], vec![0i64; group_count]);
            sum_i64(&groups, &values, &mut sums, |group, carry| carries[group] += carry);
            let mut counts = vec![0; group_count];
            count(&groups, &mut counts);
            let (mut exact, mut rows) = (vec![0i128; group_count], vec![0; group_count]);
            for (group, value) in groups.iter().zip(&values) {
                exact[*group as usize] += i128::from(*value);
                rows[*group as usize] += 1;
            }
            let found: Vec<i128> =
                sums.iter().zip(&carries).map(|(sum, carry)| i128::from(*sum) + (i128::from(*carry) << 64)).collect();
            prop_assert_eq!(found, exact);
            prop_assert_eq!(counts, rows);
            prop_assert_eq!(total_i64(&values), values.iter().map(|value| i128::from(*value)).sum::<i128>());
        }
    }
}
