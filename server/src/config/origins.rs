//! Where each value of a configuration came from.

use std::path::Path;

use toml::Value;

use super::{Config, ENV_OTHER, ENV_PREFIX, leaf_paths, variable_of};

/// A setting that is not left to its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Dotted path.
    pub path: String,
    /// Value as it counts; what may be a secret is hidden, as where the configuration is printed.
    pub value: String,
    /// The file, the environment variable, or the flag.
    pub from: String,
}

impl Config {
    /// The settings that are not left to their defaults, of what [`Config::load`] has made of the same sources, in the order
    /// of their paths. Whoever comes last, counts.
    pub fn origins(
        &self,
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        settings: &[(String, String)],
    ) -> Vec<Origin> {
        let values = Value::try_from(self).ok();
        let text = file.and_then(|file| std::fs::read_to_string(file).ok());
        let overlay = text.and_then(|text| toml::from_str::<Value>(&text).ok());
        let in_file = overlay.as_ref().map(leaf_paths).unwrap_or_default();
        let named: Vec<String> = environment
            .map(|(name, _)| name)
            .filter(|name| name.starts_with(ENV_PREFIX) && !ENV_OTHER.contains(&name.as_str()))
            .collect();
        let paths = values.as_ref().map(leaf_paths).unwrap_or_default();
        let origin = |path: String| {
            let flag = settings.iter().any(|(set, _)| *set == path).then(|| format!("flag, {path}"));
            let variable = || Some(variable_of(&path)).filter(|variable| named.contains(variable));
            let written = || file.filter(|_| in_file.contains(&path)).map(|file| file.display().to_string());
            let from = flag.or_else(variable).or_else(written)?;
            let value = value_at(values.as_ref()?, &path)?;
            Some(Origin { path, value, from })
        };
        let mut origins: Vec<Origin> = paths.into_iter().filter_map(origin).collect();
        origins.sort_by(|left, right| left.path.cmp(&right.path));
        origins
    }
}

fn value_at(values: &Value, path: &str) -> Option<String> {
    let mut place = values;
    for key in path.split('.') {
        place = place.get(key)?;
    }
    Some(match place {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_says_where_it_came_from() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("headwater.toml");
        let text = "[http]\nlisten = \"127.0.0.1:1\"\n[query]\nthreads = 3\nrows_default = 5\n\
                    [store.options]\naws_secret_access_key = \"hush\"\naws_region = \"eu\"\n";
        std::fs::write(&file, text).unwrap();
        let pair = |key: &str, value: &str| (key.to_string(), value.to_string());
        let environment =
            [pair("HEADWATER_QUERY_THREADS", "7"), pair("HEADWATER_URL", "x"), pair("PATH", "y")];
        let settings = [pair("http.listen", "127.0.0.1:2")];
        let config = Config::load(Some(&file), environment.clone().into_iter(), &settings).unwrap();
        let origins = config.origins(Some(&file), environment.into_iter(), &settings);
        let shown: Vec<String> = origins
            .iter()
            .map(|origin| format!("{} = {} ({})", origin.path, origin.value, origin.from))
            .collect();
        let file = file.display();
        assert_eq!(
            shown,
            [
                "http.listen = 127.0.0.1:2 (flag, http.listen)".to_string(),
                format!("query.rows_default = 5 ({file})"),
                "query.threads = 7 (HEADWATER_QUERY_THREADS)".to_string(),
                format!("store.options.aws_region = eu ({file})"),
                format!("store.options.aws_secret_access_key = … ({file})"),
            ]
        );
    }
}
