//! The indexes of sealed objects, with the columns that they belong to.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn indexes_come_with_their_columns() {
    let table = Table::new(1).await;
    for dir in [None, Some(table.dir.path().to_path_buf())] {
        let store = opened(ResidentConfig { dir, ..table.config() }).await;
        table.check_all(&store, 0).await;
        let indexed = table.indexed(&store, 0);
        assert!(
            [0, 3, 4].iter().all(|column| indexed.contains(column)),
            "{indexed:?}: sorted, asked for, by rule"
        );
        assert!(!indexed.contains(&1) && !indexed.contains(&2), "{indexed:?}: distinct, a float");
    }
    table.lose_objects().await;
    let store = opened(table.config()).await;
    table.check_all(&store, 0).await;
    assert!(table.indexed(&store, 0).contains(&3), "after a restart, from the file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_is_an_error() {
    let table = Table::new(1).await;
    let meta = &table.segments[0].0;
    let location = meta.location(&"tables/events".into());
    let mut bytes = table.objects.get(&location).await.unwrap().bytes().await.unwrap().to_vec();
    // The last entry lies before the index block.
    bytes[meta.index_offset as usize - 1] ^= 1;
    table.objects.put(&location, bytes.into()).await.unwrap();
    let store = opened(table.config()).await;
    let loaded = table.columns(&store, 0, &table.all()).await;
    assert!(matches!(loaded, Err(SegmentError::Corrupt(_))));
    assert!(table.files().is_empty());
}
