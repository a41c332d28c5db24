//! Arrow columns of hits.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema};

use super::rows::{Hit, text_hash};
use super::table::COLUMNS;
use super::text;
use crate::Result;
use crate::data::{dates, integers, longs, timestamps};

const LANGUAGES: [&str; 6] = ["ru", "en", "uk", "tr", "de", "kk"];
/// Referers are pages of other sites.
const REFERER_SITES: u64 = 97;

/// The columns of the table.
pub(super) fn batch(hits: &[Hit]) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = COLUMNS.iter().map(|(name, ..)| column(name, hits)).collect();
    let fields: Vec<Field> = COLUMNS
        .iter()
        .zip(&columns)
        .map(|((name, ..), column)| Field::new(*name, column.data_type().clone(), false))
        .collect();
    debug_assert!(columns.iter().all(|column| column.data_type() != &DataType::Null));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn column(name: &str, hits: &[Hit]) -> ArrayRef {
    let numbers = |of: fn(&Hit) -> i32| integers(hits.iter().map(of));
    let long = |of: fn(&Hit) -> i64| longs(hits.iter().map(of));
    match name {
        "watchid" => long(|hit| hit.watch),
        "title" => texts(hits, |hit, out| text::title(out, hit.counter, hit.title)),
        "eventtime" => timestamps(hits.iter().map(|hit| hit.time)),
        "eventdate" => dates(hits.iter().map(|hit| hit.date)),
        "counterid" => numbers(|hit| hit.counter as i32),
        "clientip" => numbers(|hit| hit.ip),
        "regionid" => numbers(|hit| hit.region),
        "userid" => long(|hit| hit.user),
        "url" => texts(hits, |hit, out| text::url(out, hit.counter, hit.url)),
        "referer" => texts(hits, referer),
        "isrefresh" => numbers(|hit| hit.is_refresh.into()),
        "resolutionwidth" => numbers(|hit| hit.width.into()),
        "resolutionheight" => numbers(|hit| hit.height.into()),
        "mobilephone" => numbers(|hit| (i32::from(hit.phone) + 3) / 4),
        "mobilephonemodel" => texts(hits, phone_model),
        "browserlanguage" => texts(hits, |hit, out| {
            out.clear();
            out.push_str(LANGUAGES[hit.rest as usize % 36 % 11 % 6]);
        }),
        "traficsourceid" => numbers(|hit| hit.source.into()),
        "searchengineid" => numbers(|hit| hit.search_engine.into()),
        "searchphrase" => texts(hits, |hit, out| match hit.phrase {
            Some(phrase) => text::phrase(out, phrase),
            None => out.clear(),
        }),
        "advengineid" => numbers(|hit| hit.adv_engine.into()),
        "dontcounthits" => numbers(|hit| hit.dont_count.into()),
        "islink" => numbers(|hit| hit.is_link.into()),
        "isdownload" => numbers(|hit| hit.is_download.into()),
        "windowclientwidth" => numbers(|hit| hit.window[0].into()),
        "windowclientheight" => numbers(|hit| hit.window[1].into()),
        "urlhash" => long(|hit| text_hash(hit.counter, hit.url)),
        "refererhash" => long(|hit| hit.referer.map_or(0, |page| text_hash(hit.counter, page))),
        "ismobile" => numbers(|hit| (hit.phone > 0).into()),
        "age" => numbers(|hit| (hit.rest >> 8) as i32 % 6 * 10),
        "sex" => numbers(|hit| (hit.rest >> 16) as i32 % 3),
        "os" => numbers(|hit| (hit.rest >> 24) as i32 % 40),
        "useragent" => numbers(|hit| (hit.rest >> 30) as i32 & 63),
        "resolutiondepth" => numbers(|hit| [32, 24, 16, 32][(hit.rest >> 40) as usize % 4]),
        "fetchtiming" => numbers(|hit| (hit.rest >> 44) as i32 & 0x3fff),
        // javaenable
        _ => numbers(|hit| (hit.rest >> 60) as i32 & 1),
    }
}

fn referer(hit: &Hit, out: &mut String) {
    match hit.referer {
        Some(page) => {
            text::url(out, hit.counter % REFERER_SITES + 10_000, page * 67 + hit.counter / REFERER_SITES)
        }
        None => out.clear(),
    }
}

fn phone_model(hit: &Hit, out: &mut String) {
    out.clear();
    if hit.phone > 0 {
        // Writing into a string does not fail.
        let _ = write!(out, "Model {}", hit.phone);
    }
}

fn texts(hits: &[Hit], write: impl Fn(&Hit, &mut String)) -> ArrayRef {
    let mut builder = StringBuilder::with_capacity(hits.len(), hits.len() * 64);
    let mut text = String::new();
    for hit in hits {
        write(hit, &mut text);
        builder.append_value(&text);
    }
    Arc::new(builder.finish())
}
