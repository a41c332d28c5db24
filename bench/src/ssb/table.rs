//! The flat table: every column of ClickHouse's `lineorder_flat`, and its Arrow columns.
//! <https://clickhouse.com/docs/getting-started/example-datasets/star-schema>

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema};

use super::dimensions::{
    Dimensions, Firm, NATIONS, PRIORITIES, REGIONS, SEGMENTS, SHIP_MODES, brands, categories, cities, colors,
    containers, manufacturers, part_types,
};
use super::lines::Lines;
use crate::Result;
use crate::data::Kind::{Date, Int, Text};
use crate::data::{ColumnRow, TableDefinition, coded, dates, integers, text_array};

/// Name of the table.
pub const TABLE: &str = "lineorder_flat";
/// 1992-01-01.
pub(super) const FIRST_DAY: i32 = 8035;

const LOW: &str = "LowCardinality(String)";

const COLUMNS: [ColumnRow; 38] = [
    ("lo_orderkey", Int, "UInt32", "INTEGER"),
    ("lo_linenumber", Int, "UInt8", "TINYINT"),
    ("lo_custkey", Int, "UInt32", "INTEGER"),
    ("lo_partkey", Int, "UInt32", "INTEGER"),
    ("lo_suppkey", Int, "UInt32", "INTEGER"),
    ("lo_orderdate", Date, "Date", "DATE"),
    ("lo_orderpriority", Text, LOW, "VARCHAR"),
    ("lo_shippriority", Int, "UInt8", "TINYINT"),
    ("lo_quantity", Int, "UInt8", "TINYINT"),
    ("lo_extendedprice", Int, "UInt32", "INTEGER"),
    ("lo_ordtotalprice", Int, "UInt32", "INTEGER"),
    ("lo_discount", Int, "UInt8", "TINYINT"),
    ("lo_revenue", Int, "UInt32", "INTEGER"),
    ("lo_supplycost", Int, "UInt32", "INTEGER"),
    ("lo_tax", Int, "UInt8", "TINYINT"),
    ("lo_commitdate", Date, "Date", "DATE"),
    ("lo_shipmode", Text, LOW, "VARCHAR"),
    ("c_name", Text, "String", "VARCHAR"),
    ("c_address", Text, "String", "VARCHAR"),
    ("c_city", Text, LOW, "VARCHAR"),
    ("c_nation", Text, LOW, "VARCHAR"),
    ("c_region", Text, LOW, "VARCHAR"),
    ("c_phone", Text, "String", "VARCHAR"),
    ("c_mktsegment", Text, LOW, "VARCHAR"),
    ("s_name", Text, "String", "VARCHAR"),
    ("s_address", Text, "String", "VARCHAR"),
    ("s_city", Text, LOW, "VARCHAR"),
    ("s_nation", Text, LOW, "VARCHAR"),
    ("s_region", Text, LOW, "VARCHAR"),
    ("s_phone", Text, "String", "VARCHAR"),
    ("p_name", Text, LOW, "VARCHAR"),
    ("p_mfgr", Text, LOW, "VARCHAR"),
    ("p_category", Text, LOW, "VARCHAR"),
    ("p_brand", Text, LOW, "VARCHAR"),
    ("p_color", Text, LOW, "VARCHAR"),
    ("p_type", Text, LOW, "VARCHAR"),
    ("p_size", Int, "UInt8", "TINYINT"),
    ("p_container", Text, LOW, "VARCHAR"),
];

/// The table, sorted as ClickHouse's documentation has it.
pub fn definition() -> TableDefinition {
    TableDefinition::new(TABLE, &COLUMNS, &["lo_orderdate", "lo_orderkey"], "lo_orderdate")
}

/// Makes batches of lines.
pub(super) struct Flat {
    dimensions: Dimensions,
    words: Words,
    customers: FirmTexts,
    suppliers: FirmTexts,
}

/// The dictionaries that don't depend on the scale.
struct Words {
    priorities: ArrayRef,
    ship_modes: ArrayRef,
    segments: ArrayRef,
    cities: ArrayRef,
    nations: ArrayRef,
    regions: ArrayRef,
    part_names: ArrayRef,
    manufacturers: ArrayRef,
    categories: ArrayRef,
    brands: ArrayRef,
    colors: ArrayRef,
    part_types: ArrayRef,
    containers: ArrayRef,
}

struct FirmTexts {
    names: ArrayRef,
    addresses: ArrayRef,
    phones: ArrayRef,
}

impl FirmTexts {
    fn new(title: &str, firms: &[Firm]) -> Self {
        Self {
            names: text_array((1..=firms.len()).map(|key| format!("{title}#{key:09}"))),
            addresses: text_array(firms.iter().map(|firm| &firm.address)),
            phones: text_array(firms.iter().map(|firm| &firm.phone)),
        }
    }
}

impl Words {
    fn new() -> Self {
        let words: Vec<&str> = colors().collect();
        let names =
            words.iter().flat_map(|first| words.iter().map(move |second| format!("{first} {second}")));
        Self {
            priorities: text_array(PRIORITIES),
            ship_modes: text_array(SHIP_MODES),
            segments: text_array(SEGMENTS),
            cities: text_array(cities()),
            nations: text_array(NATIONS.iter().map(|(nation, _)| nation)),
            regions: text_array(REGIONS),
            part_names: text_array(names),
            manufacturers: text_array(manufacturers()),
            categories: text_array(categories()),
            brands: text_array(brands()),
            colors: text_array(&words),
            part_types: text_array(part_types()),
            containers: text_array(containers()),
        }
    }
}

impl Flat {
    pub(super) fn new(scale: u64) -> Self {
        let dimensions = Dimensions::new(scale);
        Self {
            words: Words::new(),
            customers: FirmTexts::new("Customer", &dimensions.customers),
            suppliers: FirmTexts::new("Supplier", &dimensions.suppliers),
            dimensions,
        }
    }

    pub(super) fn dimensions(&self) -> &Dimensions {
        &self.dimensions
    }

    pub(super) fn batch(&self, lines: &Lines) -> Result<RecordBatch> {
        let mut columns = order_columns(lines, &self.words)?;
        columns.extend(self.customer_columns(&lines.customer)?);
        columns.extend(self.supplier_columns(&lines.supplier)?);
        columns.extend(self.part_columns(&lines.part)?);
        let names = COLUMNS.iter().map(|column| column.0);
        let fields: Vec<Field> = names
            .zip(&columns)
            .map(|(name, column)| Field::new(name, column.data_type().clone(), false))
            .collect();
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }

    fn customer_columns(&self, customers: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut columns = self.firm_columns(customers, &self.dimensions.customers, &self.customers)?;
        let segment = |key: &u32| u32::from(self.dimensions.customers[*key as usize].segment);
        columns.push(coded(customers.iter().map(segment), &self.words.segments)?);
        Ok(columns)
    }

    fn supplier_columns(&self, suppliers: &[u32]) -> Result<Vec<ArrayRef>> {
        self.firm_columns(suppliers, &self.dimensions.suppliers, &self.suppliers)
    }

    fn firm_columns(&self, keys: &[u32], firms: &[Firm], texts: &FirmTexts) -> Result<Vec<ArrayRef>> {
        let city = |key: &u32| u32::from(firms[*key as usize].city);
        let region = |key: &u32| u32::from(NATIONS[city(key) as usize / 10].1);
        Ok(vec![
            coded(keys.iter().copied(), &texts.names)?,
            coded(keys.iter().copied(), &texts.addresses)?,
            coded(keys.iter().map(city), &self.words.cities)?,
            coded(keys.iter().map(|key| city(key) / 10), &self.words.nations)?,
            coded(keys.iter().map(region), &self.words.regions)?,
            coded(keys.iter().copied(), &texts.phones)?,
        ])
    }

    fn part_columns(&self, keys: &[u32]) -> Result<Vec<ArrayRef>> {
        let words = &self.words;
        let parts: Vec<_> = keys.iter().map(|key| self.dimensions.parts[*key as usize]).collect();
        let count = words.colors.len() as u32;
        let name = parts.iter().map(|part| u32::from(part.colors[0]) * count + u32::from(part.colors[1]));
        Ok(vec![
            coded(name, &words.part_names)?,
            coded(parts.iter().map(|part| u32::from(part.brand) / 200), &words.manufacturers)?,
            coded(parts.iter().map(|part| u32::from(part.brand) / 40), &words.categories)?,
            coded(parts.iter().map(|part| u32::from(part.brand)), &words.brands)?,
            coded(parts.iter().map(|part| u32::from(part.colors[0])), &words.colors)?,
            coded(parts.iter().map(|part| u32::from(part.part_type)), &words.part_types)?,
            integers(parts.iter().map(|part| i32::from(part.size))),
            coded(parts.iter().map(|part| u32::from(part.container)), &words.containers)?,
        ])
    }
}

fn order_columns(lines: &Lines, words: &Words) -> Result<Vec<ArrayRef>> {
    let key = |key: &u32| *key as i32 + 1;
    let number = |value: &u32| *value as i32;
    let small = |value: &u8| i32::from(*value);
    let day = |day: &u16| FIRST_DAY + i32::from(*day);
    let code = |code: &u8| u32::from(*code);
    Ok(vec![
        integers(lines.order_key.iter().map(number)),
        integers(lines.line_number.iter().map(small)),
        integers(lines.customer.iter().map(key)),
        integers(lines.part.iter().map(key)),
        integers(lines.supplier.iter().map(key)),
        dates(lines.order_date.iter().map(day)),
        coded(lines.priority.iter().map(code), &words.priorities)?,
        integers(lines.order_key.iter().map(|_| 0)),
        integers(lines.quantity.iter().map(small)),
        integers(lines.extended_price.iter().map(number)),
        integers(lines.total_price.iter().map(number)),
        integers(lines.discount.iter().map(small)),
        integers(lines.revenue.iter().map(number)),
        integers(lines.supply_cost.iter().map(number)),
        integers(lines.tax.iter().map(small)),
        dates(lines.commit_date.iter().map(day)),
        coded(lines.ship_mode.iter().map(code), &words.ship_modes)?,
    ])
}
