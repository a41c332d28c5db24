//! The bare loops: what the machine can do with the codes when nothing else is in the way.
//!
//! Filters are written so that the compiler vectorises them. The loops of Q2.1 and Q4.1 read memory about as fast as a plain
//! sum of one column does.

/// Columns of a stretch of rows of one year, all of one length.
#[derive(Clone, Copy)]
pub(super) struct Codes<'a> {
    /// Since 1992.
    pub(super) year: usize,
    pub(super) discount: &'a [u8],
    pub(super) quantity: &'a [u8],
    pub(super) extended_price: &'a [u32],
    pub(super) revenue: &'a [u32],
    pub(super) supply_cost: &'a [u32],
    pub(super) category: &'a [u8],
    pub(super) brand: &'a [u16],
    pub(super) manufacturer: &'a [u8],
    pub(super) customer_region: &'a [u8],
    pub(super) customer_nation: &'a [u8],
    pub(super) supplier_region: &'a [u8],
}

/// Groups by year times this.
pub(super) const BRANDS: usize = 1_000;
pub(super) const NATIONS: usize = 25;
pub(super) const YEARS: usize = 7;
/// AMERICA.
const REGION: u8 = 1;
/// MFGR#12.
const CATEGORY: u8 = 1;

/// A loop: adds what the rows give to the sums of their groups.
pub(super) type Kernel = fn(&Codes<'_>, &mut [i64]);

/// Q1.1, within the rows of 1993: the sum of price times discount.
pub(super) fn discounted(codes: &Codes<'_>, sums: &mut [i64]) {
    let count = codes.discount.len();
    let (quantity, price) = (&codes.quantity[..count], &codes.extended_price[..count]);
    let mut sum = 0_u64;
    for row in 0..count {
        let discount = codes.discount[row];
        let taken = (discount.wrapping_sub(1) < 3) & (quantity[row] < 25);
        // At most 10.5 million times 3: below 2^32.
        sum += u64::from(price[row] * u32::from(discount) * u32::from(taken));
    }
    sums[0] += sum as i64;
}

/// Rows that are filtered at once; their flags stay in the first-level cache.
const BLOCK_ROWS: usize = 4096;
/// Rows that become one word of a mask.
const WORD_ROWS: usize = 64;

/// Calls `row` with the numbers of the rows that `taken` holds for. `taken` sees one value of each filter column; all are of
/// the first one's length. Block by block the comparisons fill bytes of 0 and 1, eight bytes become eight bits by one product, and
/// the bits of a word are taken one by one. The three are loops of their own because only then is the first one vectorised.
#[inline(always)]
fn select<const N: usize>(filters: [&[u8]; N], taken: impl Fn([u8; N]) -> bool, mut row: impl FnMut(usize)) {
    let count = filters.first().map_or(0, |filter| filter.len());
    let (mut flags, mut words) = ([0_u8; BLOCK_ROWS], [0_u64; BLOCK_ROWS / WORD_ROWS]);
    for start in (0..count).step_by(BLOCK_ROWS) {
        let length = BLOCK_ROWS.min(count - start);
        let block = filters.map(|filter| &filter[start..start + length]);
        for (index, flag) in flags[..length].iter_mut().enumerate() {
            *flag = u8::from(taken(block.map(|filter| filter[index])));
        }
        flags[length..].fill(0);
        for (word, flags) in words.iter_mut().zip(flags.as_chunks::<WORD_ROWS>().0) {
            *word = 0;
            for (byte, eight) in flags.as_chunks::<8>().0.iter().enumerate() {
                *word |= (u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * byte);
            }
        }
        for (number, word) in words.iter().enumerate() {
            let mut mask = *word;
            while mask != 0 {
                row(start + number * WORD_ROWS + mask.trailing_zeros() as usize);
                mask &= mask - 1;
            }
        }
    }
}

/// Q2.1: revenue by year and brand, of one category and one region.
pub(super) fn by_brand(codes: &Codes<'_>, sums: &mut [i64]) {
    let (brand, revenue) = (codes.brand, &codes.revenue[..codes.brand.len()]);
    // An array: whether a brand is below its length costs nothing, unlike that of a slice.
    let Some(sums) = sums[codes.year * BRANDS..].first_chunk_mut::<BRANDS>() else { return };
    select(
        [codes.category, codes.supplier_region],
        |[category, region]| (category == CATEGORY) & (region == REGION),
        |row| sums[usize::from(brand[row])] += i64::from(revenue[row]),
    );
}

/// Q4.1: profit by year and nation of the customer, of one region and two manufacturers.
pub(super) fn profit(codes: &Codes<'_>, sums: &mut [i64]) {
    let nation = codes.customer_nation;
    let (revenue, cost) = (&codes.revenue[..nation.len()], &codes.supply_cost[..nation.len()]);
    let Some(sums) = sums[codes.year * NATIONS..].first_chunk_mut::<NATIONS>() else { return };
    select(
        [codes.customer_region, codes.supplier_region, codes.manufacturer],
        |[customer, supplier, manufacturer]| (customer == REGION) & (supplier == REGION) & (manufacturer < 2),
        |row| sums[usize::from(nation[row])] += i64::from(revenue[row]) - i64::from(cost[row]),
    );
}

/// Revenue by brand, of all rows.
pub(super) fn all_by_brand(codes: &Codes<'_>, sums: &mut [i64]) {
    let revenue = &codes.revenue[..codes.brand.len()];
    let Some(sums) = sums.first_chunk_mut::<BRANDS>() else { return };
    for (brand, revenue) in codes.brand.iter().zip(revenue) {
        sums[usize::from(*brand)] += i64::from(*revenue);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Random;

    /// The sums as the statements say them, row by row: each row's group and value, if its conditions hold.
    fn plainly(codes: &Codes<'_>, groups: usize, row: impl Fn(usize) -> Option<(usize, i64)>) -> Vec<i64> {
        let mut sums = vec![0; groups];
        for (group, value) in (0..codes.brand.len()).filter_map(row) {
            sums[group] += value;
        }
        sums
    }

    #[test]
    fn loops_sum_what_their_conditions_hold_for() {
        let mut random = Random::new(5, 5, 5);
        // Two whole blocks, one whole word more, and a rest.
        let rows = 2 * BLOCK_ROWS + WORD_ROWS + 7;
        let mut small = |below| -> Vec<u8> { (0..rows).map(|_| random.below(below) as u8).collect() };
        let (discount, quantity) = (small(11), small(50));
        let (category, manufacturer, nation) = (small(25), small(5), small(25));
        let (customer_region, supplier_region) = (small(5), small(5));
        let brand: Vec<u16> = (0..rows).map(|_| random.below(1000) as u16).collect();
        let mut large = || -> Vec<u32> { (0..rows).map(|_| random.below(10_000_000) as u32).collect() };
        let (extended_price, revenue, supply_cost) = (large(), large(), large());
        let codes = Codes {
            year: 6,
            discount: &discount,
            quantity: &quantity,
            extended_price: &extended_price,
            revenue: &revenue,
            supply_cost: &supply_cost,
            category: &category,
            brand: &brand,
            manufacturer: &manufacturer,
            customer_region: &customer_region,
            customer_nation: &nation,
            supplier_region: &supplier_region,
        };
        let discounted_plainly = plainly(&codes, 1, |row| {
            let taken = (1..=3).contains(&discount[row]) && quantity[row] < 25;
            taken.then(|| (0, i64::from(extended_price[row]) * i64::from(discount[row])))
        });
        let by_brand_plainly = plainly(&codes, YEARS * BRANDS, |row| {
            let taken = category[row] == CATEGORY && supplier_region[row] == REGION;
            taken.then(|| (6 * BRANDS + usize::from(brand[row]), i64::from(revenue[row])))
        });
        let profit_plainly = plainly(&codes, YEARS * NATIONS, |row| {
            let regions = customer_region[row] == REGION && supplier_region[row] == REGION;
            let profit = i64::from(revenue[row]) - i64::from(supply_cost[row]);
            (regions && manufacturer[row] < 2).then(|| (6 * NATIONS + usize::from(nation[row]), profit))
        });
        let all_plainly =
            plainly(&codes, BRANDS, |row| Some((usize::from(brand[row]), i64::from(revenue[row]))));
        let pairs: [(Kernel, Vec<i64>); 4] = [
            (discounted, discounted_plainly),
            (by_brand, by_brand_plainly),
            (profit, profit_plainly),
            (all_by_brand, all_plainly),
        ];
        for (index, (kernel, expected)) in pairs.into_iter().enumerate() {
            let mut sums = vec![0; expected.len()];
            kernel(&codes, &mut sums);
            assert_eq!(sums, expected, "loop {index}");
            assert!(sums.iter().any(|sum| *sum != 0));
        }
    }
}
