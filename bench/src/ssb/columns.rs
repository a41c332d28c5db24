//! The columns that the bare loops read, as narrow codes, straight from the generator.

use super::dimensions::{NATIONS, brands};
use super::lines::{self, Lines, Place};
use super::{BATCH_ROWS, Ssb};

/// Days from 1992-01-01 to the first of each year from 1993 on.
const YEAR_STARTS: [u16; 6] = [366, 731, 1096, 1461, 1827, 2192];

/// Codes of all rows.
#[derive(Default)]
pub struct Columns {
    /// Years since 1992, in order.
    pub year: Vec<u8>,
    /// Percent.
    pub discount: Vec<u8>,
    /// Pieces.
    pub quantity: Vec<u8>,
    /// Cents.
    pub extended_price: Vec<u32>,
    /// Cents.
    pub revenue: Vec<u32>,
    /// Cents.
    pub supply_cost: Vec<u32>,
    /// Of 25.
    pub category: Vec<u8>,
    /// Of 1,000.
    pub brand: Vec<u16>,
    /// Of 5.
    pub manufacturer: Vec<u8>,
    /// Of 5.
    pub customer_region: Vec<u8>,
    /// Of 25.
    pub customer_nation: Vec<u8>,
    /// Of 5.
    pub supplier_region: Vec<u8>,
}

/// The brands by code.
pub fn brand_names() -> impl Iterator<Item = String> {
    brands()
}

/// The nations by code.
pub fn nation_names() -> impl Iterator<Item = &'static str> {
    NATIONS.iter().map(|(nation, _)| *nation)
}

impl Ssb {
    /// The codes of all rows.
    pub fn columns(&self) -> Columns {
        let mut columns = Columns::default();
        let mut place = Place::default();
        while place.order < self.counts.orders {
            let mut lines = Lines::default();
            lines::append(&self.counts, &mut place, BATCH_ROWS, &mut lines);
            self.append_columns(&mut columns, &lines);
        }
        columns
    }

    fn append_columns(&self, columns: &mut Columns, lines: &Lines) {
        let dimensions = self.flat.dimensions();
        columns.year.extend(
            lines.order_date.iter().map(|day| YEAR_STARTS.partition_point(|start| start <= day) as u8),
        );
        columns.discount.extend(&lines.discount);
        columns.quantity.extend(&lines.quantity);
        columns.extended_price.extend(&lines.extended_price);
        columns.revenue.extend(&lines.revenue);
        columns.supply_cost.extend(&lines.supply_cost);
        for part in &lines.part {
            let brand = dimensions.parts[*part as usize].brand;
            columns.brand.push(brand);
            columns.category.push((brand / 40) as u8);
            columns.manufacturer.push((brand / 200) as u8);
        }
        for customer in &lines.customer {
            let nation = dimensions.customers[*customer as usize].city / 10;
            columns.customer_nation.push(nation);
            columns.customer_region.push(NATIONS[usize::from(nation)].1);
        }
        for supplier in &lines.supplier {
            let nation = dimensions.suppliers[*supplier as usize].city / 10;
            columns.supplier_region.push(NATIONS[usize::from(nation)].1);
        }
    }
}
