//! Customers, suppliers and parts of the star schema benchmark, as its `dbgen` makes them.
//!
//! The words are those of TPC-H 3.0.1, clause 4.2.2.13; cities, categories, brands and colours are SSB's (O'Neil, O'Neil,
//! Chen: Star Schema Benchmark, revision 3). A nation has ten cities: its name, cut or padded to nine letters, and a digit.

use crate::data::Random;

use super::SEED;

/// Kinds of entities, each with its own stream of random numbers.
pub(super) const ORDERS: u64 = 1;
const CUSTOMERS: u64 = 2;
const SUPPLIERS: u64 = 3;
const PARTS: u64 = 4;

/// The nations, with the number of their region.
pub(super) const NATIONS: [(&str, u8); 25] = [
    ("ALGERIA", 0),
    ("ARGENTINA", 1),
    ("BRAZIL", 1),
    ("CANADA", 1),
    ("EGYPT", 4),
    ("ETHIOPIA", 0),
    ("FRANCE", 3),
    ("GERMANY", 3),
    ("INDIA", 2),
    ("INDONESIA", 2),
    ("IRAN", 4),
    ("IRAQ", 4),
    ("JAPAN", 2),
    ("JORDAN", 4),
    ("KENYA", 0),
    ("MOROCCO", 0),
    ("MOZAMBIQUE", 0),
    ("PERU", 1),
    ("CHINA", 2),
    ("ROMANIA", 3),
    ("SAUDI ARABIA", 4),
    ("VIETNAM", 2),
    ("RUSSIA", 3),
    ("UNITED KINGDOM", 3),
    ("UNITED STATES", 1),
];
/// The regions.
pub(super) const REGIONS: [&str; 5] = ["AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"];
pub(super) const SEGMENTS: [&str; 5] = ["AUTOMOBILE", "BUILDING", "FURNITURE", "MACHINERY", "HOUSEHOLD"];
pub(super) const PRIORITIES: [&str; 5] = ["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECI", "5-LOW"];
pub(super) const SHIP_MODES: [&str; 7] = ["REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"];
const COLORS: &str = "almond antique aquamarine azure beige bisque black blanched blue blush brown burlywood burnished \
    chartreuse chiffon chocolate coral cornflower cornsilk cream cyan dark deep dim dodger drab firebrick floral \
    forest frosted gainsboro ghost goldenrod green grey honeydew hot indian ivory khaki lace lavender lawn lemon \
    light lime linen magenta maroon medium metallic midnight mint misty moccasin navajo navy olive orange orchid \
    pale papaya peach peru pink plum powder puff purple red rose rosy royal saddle salmon sandy seashell sienna \
    sky slate smoke snow spring steel tan thistle tomato turquoise violet wheat white yellow";
const TYPES: [&[&str]; 3] = [
    &["STANDARD", "SMALL", "MEDIUM", "LARGE", "ECONOMY", "PROMO"],
    &["ANODIZED", "BURNISHED", "PLATED", "POLISHED", "BRUSHED"],
    &["TIN", "NICKEL", "BRASS", "STEEL", "COPPER"],
];
const CONTAINERS: [&[&str]; 2] =
    [&["SM", "MED", "JUMBO", "WRAP", "LG"], &["CASE", "BOX", "BAG", "JAR", "PKG", "PACK", "CAN", "DRUM"]];

/// A customer or a supplier.
#[derive(Clone, Debug)]
pub(super) struct Firm {
    /// Nation times ten plus the digit.
    pub(super) city: u8,
    pub(super) address: String,
    pub(super) phone: String,
    /// Of customers only.
    pub(super) segment: u8,
}

/// A part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Manufacturer times 200, plus category times 40, plus the number in the category.
    pub(super) brand: u16,
    /// The two words of its name.
    pub(super) colors: [u8; 2],
    pub(super) part_type: u8,
    pub(super) size: u8,
    pub(super) container: u8,
}

/// The three dimensions at a scale factor.
pub(super) struct Dimensions {
    pub(super) customers: Vec<Firm>,
    pub(super) suppliers: Vec<Firm>,
    pub(super) parts: Vec<Part>,
}

impl Dimensions {
    /// 30,000 customers and 2,000 suppliers by scale factor, and 200,000 parts by (1 + its binary logarithm, rounded down).
    pub(super) fn new(scale: u64) -> Self {
        Self {
            customers: (0..30_000 * scale).map(|index| firm(CUSTOMERS, index)).collect(),
            suppliers: (0..2_000 * scale).map(|index| firm(SUPPLIERS, index)).collect(),
            parts: (0..200_000 * u64::from(1 + scale.ilog2())).map(part).collect(),
        }
    }
}

fn firm(kind: u64, index: u64) -> Firm {
    let mut random = Random::new(SEED, kind, index);
    let city = random.below(250) as u8;
    let segment = random.below(SEGMENTS.len() as u64) as u8;
    let phone = format!(
        "{}-{}-{}-{}",
        u16::from(city) / 10 + 10,
        random.between(100, 999),
        random.between(100, 999),
        random.between(1000, 9999)
    );
    Firm { city, address: address(&mut random), phone, segment }
}

fn address(random: &mut Random) -> String {
    const LETTERS: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ,";
    let length = random.between(10, 25);
    (0..length).map(|_| char::from(LETTERS[random.below(64) as usize])).collect()
}

fn part(index: u64) -> Part {
    let mut random = Random::new(SEED, PARTS, index);
    let count = colors().count() as u64;
    let first = random.below(count);
    // Another word than the first.
    let second = (first + random.between(1, count - 1)) % count;
    Part {
        brand: random.below(1000) as u16,
        colors: [first as u8, second as u8],
        part_type: random.below(150) as u8,
        size: random.between(1, 50) as u8,
        container: random.below(40) as u8,
    }
}

/// The words of part names; a part's colour is the first word of its name.
pub(super) fn colors() -> impl Iterator<Item = &'static str> {
    COLORS.split_whitespace()
}

pub(super) fn cities() -> impl Iterator<Item = String> {
    NATIONS.iter().flat_map(|(nation, _)| (0..10).map(move |digit| format!("{nation:<9.9}{digit}")))
}

pub(super) fn brands() -> impl Iterator<Item = String> {
    (0..1000).map(|brand| format!("MFGR#{}{}{}", brand / 200 + 1, brand / 40 % 5 + 1, brand % 40 + 1))
}

pub(super) fn categories() -> impl Iterator<Item = String> {
    (0..25).map(|category| format!("MFGR#{}{}", category / 5 + 1, category % 5 + 1))
}

pub(super) fn manufacturers() -> impl Iterator<Item = String> {
    (1..=5).map(|manufacturer| format!("MFGR#{manufacturer}"))
}

pub(super) fn part_types() -> impl Iterator<Item = String> {
    let [sizes, coats, metals] = TYPES;
    (0..150).map(|kind| format!("{} {} {}", sizes[kind / 25], coats[kind / 5 % 5], metals[kind % 5]))
}

pub(super) fn containers() -> impl Iterator<Item = String> {
    let [sizes, shapes] = CONTAINERS;
    (0..40).map(|container| format!("{} {}", sizes[container / 8], shapes[container % 8]))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn distinct(values: impl Iterator<Item = String>) -> usize {
        values.collect::<HashSet<_>>().len()
    }

    #[test]
    fn dictionaries_have_the_cardinalities_of_the_benchmark() {
        let sizes =
            [distinct(cities()), distinct(brands()), distinct(categories()), distinct(manufacturers())];
        assert_eq!(sizes, [250, 1000, 25, 5]);
        assert_eq!([distinct(part_types()), distinct(containers()), colors().count()], [150, 40, 92]);
        assert!(cities().any(|city| city == "UNITED KI1") && brands().any(|brand| brand == "MFGR#2221"));
        for region in 0..5 {
            assert_eq!(NATIONS.iter().filter(|(_, of)| *of == region).count(), 5);
        }
    }

    #[test]
    fn dimensions_grow_with_the_scale() {
        let one = Dimensions::new(1);
        assert_eq!((one.customers.len(), one.suppliers.len(), one.parts.len()), (30_000, 2_000, 200_000));
        assert_eq!(one.customers.iter().map(|firm| firm.city).collect::<HashSet<_>>().len(), 250);
        assert_eq!(one.parts.iter().map(|part| part.brand).collect::<HashSet<_>>().len(), 1000);
        assert!(one.parts.iter().all(|part| part.colors[0] != part.colors[1]));
        assert_eq!(Dimensions::new(2).parts.len(), 400_000);
    }
}
