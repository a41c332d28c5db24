//! The order lines: what the fact table holds, as codes, before anybody makes columns of it.
//!
//! Formulas and ranges are dbgen's: one to seven lines an order, sparse order keys, no order by every third customer, the
//! price of a part by its key. One thing differs: orders come in the order of their dates, as a stream's events do, where
//! dbgen draws each date by itself. Their distribution over the days is the same.

use super::dimensions::ORDERS;
use super::{ORDER_DAYS, SEED};
use crate::data::Random;

/// Codes of rows, column by column. Customers, parts and suppliers are numbers from 0, dates are days since 1992-01-01.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    pub(crate) order_key: Vec<u32>,
    pub(crate) line_number: Vec<u8>,
    pub(crate) customer: Vec<u32>,
    pub(crate) part: Vec<u32>,
    pub(crate) supplier: Vec<u32>,
    pub(crate) order_date: Vec<u16>,
    pub(crate) priority: Vec<u8>,
    pub(crate) quantity: Vec<u8>,
    pub(crate) extended_price: Vec<u32>,
    pub(crate) total_price: Vec<u32>,
    pub(crate) discount: Vec<u8>,
    pub(crate) revenue: Vec<u32>,
    pub(crate) supply_cost: Vec<u32>,
    pub(crate) tax: Vec<u8>,
    pub(crate) commit_date: Vec<u16>,
    pub(crate) ship_mode: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
struct Line {
    part: u32,
    supplier: u32,
    quantity: u8,
    extended_price: u32,
    discount: u8,
    tax: u8,
    commit_date: u16,
    ship_mode: u8,
}

/// How many there are of what lines refer to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) orders: u64,
    pub(super) customers: u64,
    pub(super) parts: u64,
    pub(super) suppliers: u64,
}

/// A place between rows: the next order, and how many of its lines are behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) order: u64,
    pub(super) lines: u64,
}

/// How many lines an order has.
pub(super) fn lines_of(order: u64) -> u64 {
    Random::new(SEED, ORDERS, order).between(1, 7)
}

/// Appends up to `rows` rows from `place` on, and moves it behind them.
pub(super) fn append(counts: &Counts, place: &mut Place, rows: u64, out: &mut Lines) {
    let mut missing = rows;
    while missing > 0 && place.order < counts.orders {
        let (order, count) = order(counts, place.order);
        let taken = missing.min(count - place.lines);
        out.append(&order, place.lines as usize, taken as usize);
        missing -= taken;
        place.lines += taken;
        if place.lines == count {
            *place = Place { order: place.order + 1, lines: 0 };
        }
    }
}

struct Order {
    key: u32,
    customer: u32,
    date: u16,
    priority: u8,
    total_price: u32,
    lines: [Line; 7],
}

fn order(counts: &Counts, index: u64) -> (Order, u64) {
    let mut random = Random::new(SEED, ORDERS, index);
    let count = random.between(1, 7);
    let date = index * ORDER_DAYS / counts.orders;
    let mut lines = [Line::default(); 7];
    let mut total_price = 0;
    for line in &mut lines[..count as usize] {
        let part = random.below(counts.parts);
        let quantity = random.between(1, 50);
        let price = quantity * price_of(part + 1);
        let (discount, tax) = (random.below(11), random.below(9));
        total_price += price * (100 - discount) / 100 * (100 + tax) / 100;
        *line = Line {
            part: part as u32,
            supplier: random.below(counts.suppliers) as u32,
            quantity: quantity as u8,
            extended_price: price as u32,
            discount: discount as u8,
            tax: tax as u8,
            commit_date: (date + random.between(30, 90)) as u16,
            ship_mode: random.below(7) as u8,
        };
    }
    // Keys of customers count from 1; those that three divides never order.
    let mut customer = random.below(counts.customers);
    if customer % 3 == 2 {
        customer -= 1;
    }
    let number = index + 1;
    let order = Order {
        key: ((number >> 3 << 5) | (number & 7)) as u32,
        customer: customer as u32,
        date: date as u16,
        priority: random.below(5) as u8,
        total_price: total_price as u32,
        lines,
    };
    (order, count)
}

/// The price of a part in cents, by its key.
fn price_of(key: u64) -> u64 {
    90_000 + key / 10 % 20_001 + key % 1_000 * 100
}

impl Lines {
    /// Rows.
    pub(crate) fn len(&self) -> usize {
        self.order_key.len()
    }

    fn append(&mut self, order: &Order, from: usize, count: usize) {
        for (number, line) in order.lines.iter().enumerate().skip(from).take(count) {
            self.order_key.push(order.key);
            self.line_number.push(number as u8 + 1);
            self.customer.push(order.customer);
            self.part.push(line.part);
            self.supplier.push(line.supplier);
            self.order_date.push(order.date);
            self.priority.push(order.priority);
            self.quantity.push(line.quantity);
            self.extended_price.push(line.extended_price);
            self.total_price.push(order.total_price);
            self.discount.push(line.discount);
            let price = u64::from(line.extended_price);
            self.revenue.push((price * (100 - u64::from(line.discount)) / 100) as u32);
            self.supply_cost.push((6 * price_of(u64::from(line.part) + 1) / 10) as u32);
            self.tax.push(line.tax);
            self.commit_date.push(line.commit_date);
            self.ship_mode.push(line.ship_mode);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const COUNTS: Counts = Counts { orders: 30_000, customers: 600, parts: 4_000, suppliers: 40 };

    fn all() -> Lines {
        let mut lines = Lines::default();
        append(&COUNTS, &mut Place::default(), u64::MAX, &mut lines);
        lines
    }

    #[test]
    fn rows_do_not_depend_on_where_one_begins() {
        let whole = all();
        let mut pieces = Lines::default();
        let mut place = Place::default();
        while place.order < COUNTS.orders {
            append(&COUNTS, &mut place, 997, &mut pieces);
        }
        assert_eq!(whole.len() as u64, (0..COUNTS.orders).map(lines_of).sum::<u64>());
        assert_eq!((whole.order_key, whole.revenue), (pieces.order_key, pieces.revenue));
        assert_eq!((whole.line_number, whole.supplier), (pieces.line_number, pieces.supplier));
    }

    #[test]
    fn values_are_within_the_ranges_of_the_benchmark() {
        let lines = all();
        let mean = lines.len() as f64 / COUNTS.orders as f64;
        assert!((3.95..4.05).contains(&mean), "{mean} lines an order");
        assert!(lines.quantity.iter().all(|quantity| (1..=50).contains(quantity)));
        assert_eq!(lines.discount.iter().collect::<HashSet<_>>().len(), 11);
        assert!(lines.order_date.is_sorted() && lines.order_date.last() < Some(&(ORDER_DAYS as u16)));
        assert_eq!(lines.order_date.iter().collect::<HashSet<_>>().len() as u64, ORDER_DAYS);
        assert!(lines.customer.iter().all(|customer| (customer + 1) % 3 != 0));
        assert_eq!(lines.order_key.iter().collect::<HashSet<_>>().len() as u64, COUNTS.orders);
        for row in 0..lines.len() {
            let days = lines.commit_date[row] - lines.order_date[row];
            assert!((30..=90).contains(&days) && lines.revenue[row] <= lines.extended_price[row]);
        }
    }
}
