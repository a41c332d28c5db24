//! Has the linker lead one call inside librdkafka through `headwater_ingest`, which says why (`kafka/leaderless.rs`).

fn main() {
    // Cargo looks at this file by itself. One that every package has stands for the rest, since other packages build with it, too.
    println!("cargo::rerun-if-changed=Cargo.toml");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg=-Wl,--wrap=rd_kafkap_leader_discovery_set_topic");
    }
}
