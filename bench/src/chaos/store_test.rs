//! Whether the store under the server keeps the one promise that everything rests on: of several writers that create
//! the same object at the same time, one succeeds. The server's own start-up test asks one after the other, which a store
//! that looks first and writes then passes. On such a store a lost event says nothing about the server.

use futures::future::join_all;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::error::{ChaosError, Result};

const ROUNDS: usize = 30;
const WRITERS: usize = 8;

/// An error if two writers can create the same object.
pub(crate) async fn check_create_if_absent(store: &dyn ObjectStore, root: &Path) -> Result<()> {
    for round in 0..ROUNDS {
        let path = root.clone().join(format!("create-if-absent-{round}"));
        let writers = (0..WRITERS).map(|writer| {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            store.put_opts(&path, vec![writer as u8; 4096].into(), options)
        });
        let winners = join_all(writers).await.iter().filter(|outcome| outcome.is_ok()).count();
        store.delete(&path).await.map_err(ChaosError::at(format!("delete {path}")))?;
        if winners != 1 {
            return Err(ChaosError::new(
                "store",
                format!(
                    "{winners} of {WRITERS} writers created the same object: two servers on it will lose commits"
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn an_honest_store_passes() {
        check_create_if_absent(&InMemory::new(), &Path::from("a")).await.unwrap();
    }
}
