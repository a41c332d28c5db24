//! The bare loops: what the machine can do with the codes when nothing else is in the way.
//!
//! Each loop is written once. It is compiled twice, with AVX-512 and for any machine, and the better one is taken at run time.

// The only unsafe code: calls of functions compiled for features that were just found to be there.
#![allow(unsafe_code)]

/// Columns of a stretch of rows, all of one length.
#[derive(Clone, Copy)]
pub(super) struct Codes<'a> {
    /// Years since 1992.
    pub(super) year: &'a [u8],
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

macro_rules! compiled_twice {
    ($name:ident, $body:ident) => {
        pub(super) fn $name(codes: &Codes<'_>, sums: &mut [i64]) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,bmi1,bmi2")]
                fn wide(codes: &Codes<'_>, sums: &mut [i64]) {
                    $body(codes, sums);
                }
                if is_wide() {
                    // SAFETY: every feature that the function is compiled with was found on this machine.
                    unsafe { wide(codes, sums) };
                    return;
                }
            }
            $body(codes, sums);
        }
    };
}

#[cfg(target_arch = "x86_64")]
fn is_wide() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
}

compiled_twice!(discounted, discounted_body);
compiled_twice!(by_brand, by_brand_body);
compiled_twice!(profit, profit_body);
compiled_twice!(all_by_brand, all_by_brand_body);

/// Q1.1, within the rows of 1993: the sum of price times discount.
#[inline(always)]
fn discounted_body(codes: &Codes<'_>, sums: &mut [i64]) {
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

/// Rows that become one word of a mask.
const WORD_ROWS: usize = 64;

/// Calls `row` with the numbers of the rows that `taken` holds for, a word at a time. `taken` sees one value of each filter
/// column. The comparisons fill bytes of 0 and 1, which vectorises, and eight of them become eight bits by one product.
#[inline(always)]
fn select<const N: usize>(filters: [&[u8]; N], taken: impl Fn([u8; N]) -> bool, mut row: impl FnMut(usize)) {
    let count = filters.iter().map(|filter| filter.len()).min().unwrap_or(0);
    let mut flags = [0_u8; WORD_ROWS];
    for start in (0..count).step_by(WORD_ROWS) {
        let length = WORD_ROWS.min(count - start);
        let words = filters.map(|filter| filter[start..].first_chunk::<WORD_ROWS>());
        match words.iter().all(Option::is_some) {
            true => {
                let words = words.map(|word| word.unwrap_or(&[0; WORD_ROWS]));
                for (index, flag) in flags.iter_mut().enumerate() {
                    *flag = u8::from(taken(words.map(|word| word[index])));
                }
            }
            false => {
                flags = [0; WORD_ROWS];
                for (index, flag) in flags[..length].iter_mut().enumerate() {
                    *flag = u8::from(taken(filters.map(|filter| filter[start + index])));
                }
            }
        }
        let mut mask = 0_u64;
        for (byte, eight) in flags.as_chunks::<8>().0.iter().enumerate() {
            mask |= (u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * byte);
        }
        while mask != 0 {
            row(start + mask.trailing_zeros() as usize);
            mask &= mask - 1;
        }
    }
}

/// Q2.1: revenue by year and brand, of one category and one region.
#[inline(always)]
fn by_brand_body(codes: &Codes<'_>, sums: &mut [i64]) {
    select(
        [codes.category, codes.supplier_region],
        |[category, region]| (category == CATEGORY) & (region == REGION),
        |row| {
            let group = usize::from(codes.year[row]) * BRANDS + usize::from(codes.brand[row]);
            sums[group] += i64::from(codes.revenue[row]);
        },
    );
}

/// Q4.1: profit by year and nation of the customer, of one region and two manufacturers.
#[inline(always)]
fn profit_body(codes: &Codes<'_>, sums: &mut [i64]) {
    select(
        [codes.customer_region, codes.supplier_region, codes.manufacturer],
        |[customer, supplier, manufacturer]| (customer == REGION) & (supplier == REGION) & (manufacturer < 2),
        |row| {
            let group = usize::from(codes.year[row]) * NATIONS + usize::from(codes.customer_nation[row]);
            sums[group] += i64::from(codes.revenue[row]) - i64::from(codes.supply_cost[row]);
        },
    );
}

/// Revenue by brand, of all rows.
#[inline(always)]
fn all_by_brand_body(codes: &Codes<'_>, sums: &mut [i64]) {
    let revenue = &codes.revenue[..codes.brand.len()];
    for (brand, revenue) in codes.brand.iter().zip(revenue) {
        sums[usize::from(*brand)] += i64::from(*revenue);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Random;

    #[test]
    fn both_compilations_of_a_loop_agree() {
        let mut random = Random::new(5, 5, 5);
        let rows = 10_007;
        let mut small = |below| -> Vec<u8> { (0..rows).map(|_| random.below(below) as u8).collect() };
        let (year, discount, quantity) = (small(7), small(11), small(50));
        let (category, manufacturer, nation) = (small(25), small(5), small(25));
        let (customer_region, supplier_region) = (small(5), small(5));
        let brand: Vec<u16> = (0..rows).map(|_| random.below(1000) as u16).collect();
        let mut large = || -> Vec<u32> { (0..rows).map(|_| random.below(10_000_000) as u32).collect() };
        let (extended_price, revenue, supply_cost) = (large(), large(), large());
        let codes = Codes {
            year: &year,
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
        let pairs: [(Kernel, Kernel); 4] = [
            (discounted, discounted_body),
            (by_brand, by_brand_body),
            (profit, profit_body),
            (all_by_brand, all_by_brand_body),
        ];
        for (index, (wide, plain)) in pairs.into_iter().enumerate() {
            let mut sums = [vec![0; YEARS * BRANDS], vec![0; YEARS * BRANDS]];
            wide(&codes, &mut sums[0]);
            plain(&codes, &mut sums[1]);
            assert_eq!(sums[0], sums[1], "loop {index}");
            assert!(sums[0].iter().any(|sum| *sum != 0));
        }
    }
}
