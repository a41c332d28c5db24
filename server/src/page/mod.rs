//! The page at `/`: live numbers and a place for SQL.
//!
//! One document without anything loaded from outside, so it works offline and under the content security
//! policy `default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self';
//! img-src data:`. It talks to `POST /sql` only, and shows no number that no answer held.

/// The document, as it is served.
pub const PAGE: &str = concat!(
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
    "<title>Headwater</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n",
    include_str!("page.css"),
    "</style>\n</head>\n<body>\n",
    include_str!("page.html"),
    "<script>\n",
    include_str!("page.js"),
    include_str!("sql.js"),
    "</script>\n</body>\n</html>\n",
);

#[cfg(test)]
mod tests {
    use super::PAGE;

    #[test]
    fn nothing_is_loaded_from_outside_and_no_handler_is_inline() {
        assert!(!PAGE.contains("https://"));
        let outside: Vec<_> = PAGE.match_indices("http://").map(|(at, _)| &PAGE[at..at + 27]).collect();
        assert_eq!(outside, ["http://www.w3.org/2000/svg\""], "only the name of a namespace");
        for loading in ["src=", "@import", "url(", "innerHTML", "onclick=", "style=\"", "eval("] {
            assert!(!PAGE.contains(loading), "{loading}");
        }
    }

    #[test]
    fn every_element_that_the_script_names_is_in_the_page() {
        for part in PAGE.split("byId(\"").skip(1) {
            let id = part.split('"').next().unwrap();
            assert!(PAGE.contains(&format!("id=\"{id}\"")), "{id}");
        }
    }
}
