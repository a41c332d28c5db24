//! Has the linker lead one call inside librdkafka through `headwater_ingest`, which says why (`kafka/leaderless.rs`), and
//! builds the console, which `src/console.rs` embeds.
//!
//! The console's sources are copied into `OUT_DIR` and built there with npm, so that the tree stays as it is. A build without
//! npm, or one whose npm fails, still makes a whole server; its page says how to get the console. `HEADWATER_CONSOLE_DIST`
//! names a directory with a console that is built already, for builders without npm or without a network.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

const SOURCES: [&str; 8] = [
    "src",
    "public",
    "index.html",
    "package.json",
    "package-lock.json",
    ".npmrc",
    "tsconfig.json",
    "vite.config.ts",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg=-Wl,--wrap=rd_kafkap_leader_discovery_set_topic");
    }
    println!("cargo::rerun-if-env-changed=HEADWATER_CONSOLE_DIST");
    for source in SOURCES {
        println!("cargo::rerun-if-changed=console/{source}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let dist = out.join("console-dist");
    if let Err(reason) = console(&out, &dist) {
        println!("cargo::warning=the web console is not in this build: {reason}");
        // What is embedded must exist, and nothing of an earlier build may be left in it.
        let emptied = empty(&dist);
        emptied.expect("OUT_DIR is writable");
    }
}

/// Leaves the built console in `dist`.
fn console(out: &Path, dist: &Path) -> Result<(), String> {
    let broken = |error: io::Error| error.to_string();
    empty(dist).map_err(broken)?;
    if let Some(built) = env::var_os("HEADWATER_CONSOLE_DIST").filter(|directory| !directory.is_empty()) {
        let built = PathBuf::from(built);
        if !built.join("index.html").is_file() {
            return Err(format!(
                "HEADWATER_CONSOLE_DIST: there is no index.html in {}; run npm run build in server/console",
                built.display()
            ));
        }
        println!("cargo::rerun-if-changed={}", built.display());
        return copy(&built, dist).map_err(broken);
    }
    let work = out.join("console");
    empty(&work).map_err(broken)?;
    for source in SOURCES {
        copy(&Path::new("console").join(source), &work.join(source)).map_err(broken)?;
    }
    npm(&work, &["ci", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=60000"])?;
    npm(&work, &["run", "build"])?;
    copy(&work.join("dist"), dist).map_err(broken)?;
    // The tools are larger than everything that they make.
    fs::remove_dir_all(&work).map_err(broken)
}

fn npm(work: &Path, arguments: &[&str]) -> Result<(), String> {
    let output = match Command::new("npm").args(arguments).current_dir(work).output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err("there is no npm here; install Node 20 or newer and touch server/build.rs, or set \
                        HEADWATER_CONSOLE_DIST"
                .into());
        }
        Err(error) => return Err(format!("npm: {error}")),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).lines().rev().take(15).collect::<Vec<_>>().join(" | ");
    Err(format!("npm {} failed ({}), last line first: {said}", arguments.join(" "), output.status))
}

fn empty(directory: &Path) -> io::Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)
}

/// Copies a file, or a directory with everything in it.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", from.display()));
    if !from.is_dir() {
        return fs::copy(from, to).map(|_| ()).map_err(named);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).map_err(named)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}
