//! Whether the configuration can be used, and where its values came from.

use headwater_server::config::{Config, Origin};

use super::report::{Area, Findings, Outcome, Place};
use crate::cli::NodeArguments;
use crate::cli::serve::settings;

/// Variables whose values are secrets of the object store.
const SECRET_VARIABLES: [&str; 4] =
    ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "HEADWATER_CLUSTER_SECRET"];

/// The configuration that `start` would use with the variables of `environment`, if there is one.
pub(super) fn check(
    findings: &Findings,
    node: &NodeArguments,
    environment: &[(String, String)],
) -> (Option<Config>, Vec<Origin>) {
    for (_, secret) in environment.iter().filter(|(name, _)| SECRET_VARIABLES.contains(&name.as_str())) {
        findings.hide(secret);
    }
    let file = node.config.as_deref();
    let settings = settings(node);
    let place = Place::new(Area::Configuration, "settings", "");
    match Config::load(file, environment.iter().cloned(), &settings) {
        Ok(config) => {
            config.store.options.values().for_each(|value| hide_if_long(findings, value));
            let host = config.store.url.split_once("://").map_or("", |(_, rest)| rest);
            // Whoever is named before the host, and his password.
            if let Some((user, _)) = host.split_once('@') {
                findings.hide(user);
            }
            let origins = config.origins(file, environment.iter().cloned(), &settings);
            let file = file.map_or_else(|| "no file".to_string(), |file| file.display().to_string());
            let seen = format!("{file}; {} settings are not the default", origins.len());
            findings.add(place, Outcome::ok(seen));
            (Some(config), origins)
        }
        Err(error) => {
            let fix = "correct it there; `headwater config` prints every setting there is";
            findings.add(place, Outcome::failure(error.to_string(), fix));
            (None, Vec::new())
        }
    }
}

/// Options of the store have short values, such as regions, and keys.
fn hide_if_long(findings: &Findings, value: &str) {
    let is_address = value.contains("://");
    if value.len() >= 16 && !is_address {
        findings.hide(value);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::report::Verdict;
    use super::*;

    fn node(config: Option<std::path::PathBuf>, set: &[(&str, &str)]) -> NodeArguments {
        let set = set.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        NodeArguments { config, listen: None, store: None, role: None, set }
    }

    #[test]
    fn a_fault_names_its_place() {
        let findings = Findings::new(Duration::from_secs(1));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bad.toml");
        std::fs::write(&file, "[query]\nthreds = 3\n").unwrap();
        let (config, origins) = check(&findings, &node(Some(file), &[]), &[]);
        assert!(config.is_none() && origins.is_empty());
        let (verdict, text) = findings.into_report(Vec::new()).of("settings");
        assert_eq!(verdict, Verdict::Failure);
        assert!(text.contains("bad.toml") && text.contains("threds") && text.contains("line 2"), "{text}");
    }

    #[test]
    fn what_is_right_says_what_is_not_the_default() {
        let findings = Findings::new(Duration::from_secs(1));
        let environment = [("HEADWATER_QUERY_SLOW_MS".to_string(), "1234".to_string())];
        let (config, origins) = check(&findings, &node(None, &[("query.threads", "3")]), &environment);
        assert_eq!(config.unwrap().query.threads, 3);
        for (path, value) in [("query.threads", "3"), ("query.slow_ms", "1234")] {
            assert!(origins.iter().any(|origin| origin.path == path && origin.value == value), "{path}");
        }
        assert_eq!(findings.into_report(origins).of("settings").0, Verdict::Ok);
    }
}
