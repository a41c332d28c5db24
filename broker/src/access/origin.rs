//! Pages of other sites: what a browser may send here on their behalf.
//!
//! A browser sends requests for any page that it shows, with the cookies of the site that they go to, and from inside the
//! network that it stands in. Three things keep pages of others out:
//!
//! - **Fetch metadata.** `Sec-Fetch-Site` is the browser's own word, which no script can set. What changes something must come
//!   from this origin or from the user (`none`); reads of other sites are refused unless they navigate, as a link does.
//! - **Origin**, where a browser sends no metadata (plain HTTP to another machine): it must be the host that the request is for.
//! - **Host.** A name that an attacker owns may resolve to 127.0.0.1 a second later (DNS rebinding); the page is then of the same
//!   origin as this server. So where nobody has to say who they are, only hosts are answered that are known to be this server,
//!   or that no attacker can give an address: addresses in numbers, and names that the public DNS does not have.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, Method, Request, header};

use super::routes::is_read;

/// How the names end that the public DNS does not have: of Kubernetes (`.svc`, and `.svc.cluster.local` with the last), of private
/// networks, and of mDNS.
const PRIVATE_ENDINGS: [&str; 3] = [".svc", ".internal", ".local"];

/// The hosts that a request may be for.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// Names, in lower case.
    names: Vec<String>,
    /// Whether hosts are looked at.
    checked: bool,
    /// Whether any address, in numbers, is this server: it listens beyond loopback.
    any_address: bool,
    /// Whether a name may be this server that the public DNS does not have.
    private_names: bool,
}

impl Hosts {
    /// Any host: whoever is asked for a password or a token does not care under which name they ask.
    pub fn any() -> Self {
        Self::default()
    }

    /// Loopback under its usual names, and `names`; with `any_address` also any address in numbers, which no DNS can change.
    pub fn only(names: impl IntoIterator<Item = String>, any_address: bool) -> Self {
        let names = names.into_iter().map(|name| bare(&name).to_ascii_lowercase());
        Self { names: names.collect(), checked: true, any_address, private_names: false }
    }

    /// Those that no DNS of an attacker can make mean this server: any address in numbers, names without a dot or with a private
    /// ending, and `names`. For a server on a network that asks nobody who they are.
    pub fn network(names: impl IntoIterator<Item = String>) -> Self {
        Self { private_names: true, ..Self::only(names, true) }
    }

    /// Whether a request for `host` (with or without a port) is for this server.
    pub fn allows(&self, host: &str) -> bool {
        if !self.checked {
            return true;
        }
        let name = bare(host).to_ascii_lowercase();
        let is_address = match name.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => address.is_loopback() || self.any_address,
            Err(_) => false,
        };
        let is_private = self.private_names && is_private(&name);
        is_address || is_private || name == "localhost" || self.names.contains(&name)
    }
}

/// Whether the public DNS has no such name.
fn is_private(name: &str) -> bool {
    let is_name =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    is_name && (!name.contains('.') || PRIVATE_ENDINGS.iter().any(|ending| name.ends_with(ending)))
}

/// A host without its port, and without the dot that may end a name. Empty if what follows the host is no port.
fn bare(host: &str) -> &str {
    let end = match host.rfind(']') {
        Some(bracket) => bracket + 1,
        None => host.find(':').unwrap_or(host.len()),
    };
    let (name, rest) = host.split_at(end);
    let is_port = |rest: &str| {
        rest.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match rest.is_empty() || is_port(rest) {
        true => name.strip_suffix('.').unwrap_or(name),
        false => "",
    }
}

/// Whether the host is this machine, by name or by address.
pub(super) fn is_local(host: &str) -> bool {
    Hosts::only([], false).allows(host)
}

/// The host that a request is for. HTTP/1.0 has none; no browser speaks that.
pub(super) fn host_of<B>(request: &Request<B>) -> Option<&str> {
    let authority = request.uri().authority().map(|authority| authority.as_str());
    authority.or_else(|| text(request.headers(), &header::HOST))
}

/// Why a request is not to be answered, if a page of another site sent it.
pub(super) fn refusal<B>(request: &Request<B>) -> Option<&'static str> {
    let headers = request.headers();
    if let Some(site) = text(headers, "sec-fetch-site") {
        return match site {
            "same-origin" | "none" => None,
            _ if is_read(request.method()) && is_navigation(headers) => None,
            _ => Some("a page of another site may not call this; send the request from a client of your own"),
        };
    }
    let origin = headers.get(header::ORIGIN)?;
    let own = host_of(request).is_some_and(|host| is_origin_of(origin, host));
    // Reads without fetch metadata: their answer is kept from the page by the browser, as nothing here allows it to read across.
    let harmless = *request.method() == Method::GET || *request.method() == Method::HEAD;
    match own || harmless {
        true => None,
        false => {
            Some("the Origin of this request is another site; send the request from a client of your own")
        }
    }
}

/// Whether the user follows a link, in the place of a page that loads something into itself.
fn is_navigation(headers: &HeaderMap) -> bool {
    text(headers, "sec-fetch-mode") == Some("navigate") && text(headers, "sec-fetch-dest") == Some("document")
}

fn is_origin_of(origin: &HeaderValue, host: &str) -> bool {
    let origin = origin.to_str().unwrap_or_default();
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

fn text(headers: &HeaderMap, name: impl header::AsHeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_dns_can_change_are_not_loopback() {
        let loopback = Hosts::only([], false);
        for host in
            ["localhost", "localhost:8099", "LOCALHOST.", "127.0.0.1:1", "127.8.9.1", "[::1]", "[::1]:8099"]
        {
            assert!(loopback.allows(host), "{host}");
        }
        let others = [
            "evil.example",
            "localhost.evil.example:8099",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "x",
            "",
            "[::1",
            "[fe80::1]",
            "0x7f000001",
            "2130706433",
            "127.1",
            "localhost:8099@evil.example",
            "evil.example#localhost",
        ];
        for host in others {
            assert!(!loopback.allows(host), "{host}");
        }
        let named = Hosts::only(["Rides.Example:80".to_string()], true);
        for host in ["rides.example", "RIDES.example.:8099", "10.0.0.1:8099", "localhost"] {
            assert!(named.allows(host), "{host}");
        }
        assert!(!named.allows("evil.example"));
        assert!(Hosts::any().allows("evil.example"));
    }

    #[test]
    fn an_open_network_answers_names_that_no_public_dns_has() {
        let network = Hosts::network(["rides.example".to_string(), "data-0.example:7101".to_string()]);
        for host in [
            "localhost",
            "10.0.0.1:8099",
            "[fe80::1]",
            "broker:8099",
            "headwater.olap.svc:8099",
            "headwater.olap.svc.cluster.local",
            "olap.corp.internal.",
            "Printer.LOCAL",
            "rides.example:80",
            "data-0.example",
        ] {
            assert!(network.allows(host), "{host}");
        }
        for host in [
            "evil.example",
            "10.0.0.1.evil.example",
            "x.local.evil.example",
            "evil.example#.local",
            "xsvc.example",
            "",
            ":80",
            "[::1",
            "broker:8099@evil.example",
        ] {
            assert!(!network.allows(host), "{host}");
        }
    }

    #[test]
    fn who_may_send_what() {
        let refused = |method: &str, headers: &[(&str, &str)]| {
            let mut request = Request::builder().method(method).uri("/sql").header("host", "a.example:8099");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            refusal(&request.body(()).unwrap()).is_some()
        };
        // No browser.
        assert!(!refused("POST", &[]));
        for site in ["same-origin", "none"] {
            assert!(!refused("POST", &[("sec-fetch-site", site)]), "{site}");
        }
        for site in ["cross-site", "same-site", "", "what"] {
            assert!(refused("POST", &[("sec-fetch-site", site)]), "{site}");
            assert!(refused("GET", &[("sec-fetch-site", site), ("sec-fetch-mode", "no-cors")]), "{site}");
            let link =
                [("sec-fetch-site", site), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
            assert!(!refused("GET", &link), "{site}");
            assert!(refused("POST", &link), "{site}");
            let frame =
                [("sec-fetch-site", site), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")];
            assert!(refused("GET", &frame), "{site}");
        }
        // Without metadata.
        assert!(!refused("POST", &[("origin", "http://a.example:8099")]));
        assert!(!refused("DELETE", &[("origin", "https://A.example:8099")]));
        for origin in [
            "http://evil.example",
            "null",
            "http://a.example",
            "http://a.example:8099.evil.example",
            "a.example:8099",
        ] {
            assert!(refused("POST", &[("origin", origin)]), "{origin}");
            assert!(!refused("GET", &[("origin", origin)]), "{origin}");
        }
    }
}
