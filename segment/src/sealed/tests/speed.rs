//! What sealing costs, on rows like a ride-hailing stream's. Run it by hand, in release:
//! `cargo test --release -p headwater-segment --lib -- --ignored --nocapture sealing_speed`.

use std::time::Instant;

use super::*;

const ROWS: i64 = 1_000_000;

/// Ten columns: an order's UUID, a time, a few small dictionaries, numbers.
fn rides() -> (TableSchema, Vec<RecordBatch>) {
    let columns = [
        ("order_id", ColumnType::Uuid),
        ("at", ColumnType::TimestampMillis),
        ("city", ColumnType::String),
        ("class", ColumnType::String),
        ("status", ColumnType::String),
        ("distance", ColumnType::Double),
        ("fare", ColumnType::Decimal(12, 2)),
        ("currency", ColumnType::String),
        ("rider", ColumnType::Long),
        ("driver", ColumnType::Long),
    ];
    let schema = TableSchema::new(&spec(&columns, &["city", "at"]));
    let noise = |number: i64, salt: i64| {
        (number ^ salt << 40).wrapping_mul(0x5851_f42d_4c95_7f2d_u64 as i64) as u64 >> 20
    };
    let pick =
        |number: i64, salt: i64, count: u64, name: &str| format!("{name} {}", noise(number, salt) % count);
    let batches = (0..ROWS / 8192).map(|nth| {
        let numbers = || nth * 8192..(nth + 1) * 8192;
        let text = |of: &dyn Fn(i64) -> String| -> ArrayRef {
            Arc::new(numbers().map(|number| Some(of(number))).collect::<StringViewArray>())
        };
        let long =
            |of: &dyn Fn(i64) -> i64| -> Int64Array { numbers().map(|number| Some(of(number))).collect() };
        let micros = |of: &dyn Fn(i64) -> i64| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from_iter_values(numbers().map(of)).with_timezone("UTC"))
        };
        let fare = numbers().map(|number| Some(i128::from(noise(number, 6) % 10_000)));
        let columns: Vec<ArrayRef> = vec![
            text(&|number| {
                format!("{:08x}-0000-4000-8000-{:012x}", noise(number, 1) as u32, noise(number, 2))
            }),
            micros(&|number| number * 20_000 / 1000 * 1000),
            text(&|number| pick(number, 3, 50, "a city called")),
            text(&|number| pick(number, 4, 3, "class")),
            text(&|number| pick(number, 5, 5, "status")),
            Arc::new(
                numbers().map(|n| Some((noise(n, 7) % 50_000) as f64 / 100.0)).collect::<Float64Array>(),
            ),
            Arc::new(fare.collect::<Decimal128Array>().with_precision_and_scale(12, 2).unwrap()),
            text(&|number| pick(number, 3, 8, "EUR")),
            Arc::new(long(&|number| (noise(number, 8) % 200_000) as i64)),
            Arc::new(long(&|number| (noise(number, 9) % 20_000) as i64)),
            Arc::new(Int32Array::from_value(2, 8192)),
            Arc::new(long(&|number| 100 + number)),
            micros(&|number| number * 20_000),
            Arc::new(StringViewArray::new_null(8192)),
            Arc::new(StringViewArray::new_null(8192)),
        ];
        RecordBatch::try_new(schema.arrow().clone(), columns).unwrap()
    });
    let batches = batches.collect();
    (schema, batches)
}

#[test]
#[ignore = "a measurement"]
fn sealing_speed() {
    let (schema, batches) = rides();
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let mut times: Vec<f64> = Vec::new();
    let mut last = None;
    for _ in 0..5 {
        let request = SealRequest { to: 100 + ROWS, ..request(&schema, batches.clone()) };
        let started = Instant::now();
        last = Some(encode(request).unwrap());
        times.push(started.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let sealed = last.unwrap();
    let per_row = |total: f64| total / rows as f64;
    let mut report = format!(
        "{:.0} ns and {:.1} bytes per row\n",
        per_row(times[2]) * 1e9,
        per_row(sealed.bytes.len() as f64)
    );
    for column in inspect(&sealed.bytes).unwrap().columns {
        let bytes = per_row(column.compressed_bytes as f64);
        report +=
            &format!("{:12} {:6.2} bytes per row {} {}\n", column.name, bytes, column.encoding, column.codec);
    }
    let file = std::env::temp_dir().join("headwater_sealing_speed.parquet");
    std::fs::write(&file, &sealed.bytes).unwrap();
    std::io::Write::write_all(&mut std::io::stderr(), report.as_bytes()).unwrap();
}
