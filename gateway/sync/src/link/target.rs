//! Where the control API is, read from the address that an operator wrote.
//!
//! Pure: resolves no name and connects to nothing.

use http::Uri;
use http::uri::Scheme;

/// A control API's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) is_tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    /// `http://host:port/prefix`, without a slash at its end.
    base: String,
}

/// The text is not the address of a control API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the control API's address must be http:// or https://, a host, and perhaps a port and a path; no user, no query"
)]
pub struct NotAControlUrl;

impl Target {
    pub(super) fn parse(url: &str) -> Result<Target, NotAControlUrl> {
        let uri: Uri = url.parse().map_err(|_| NotAControlUrl)?;
        let is_tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err(NotAControlUrl),
        };
        let authority = uri.authority().ok_or(NotAControlUrl)?;
        if authority.as_str().contains('@') || uri.query().is_some() || authority.host().is_empty() {
            return Err(NotAControlUrl);
        }
        // A port that is not one leaves its colon behind.
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str().len() == authority.host().len() => match is_tls {
                true => 443,
                false => 80,
            },
            None => return Err(NotAControlUrl),
        };
        let scheme = if is_tls { "https" } else { "http" };
        Ok(Target {
            is_tls,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port,
            base: format!("{scheme}://{authority}{}", uri.path().trim_end_matches('/')),
        })
    }

    /// The whole address of one of the control API's paths.
    pub(super) fn uri(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart_and_nonsense_is_refused() {
        fn check(url: &str, parts: Option<(&str, u16, &str)>) {
            let target = Target::parse(url).ok();
            let seen = target
                .as_ref()
                .map(|target| (target.host.as_str(), target.port, target.uri("/x")));
            let expected = parts.map(|(host, port, uri)| (host, port, uri.to_owned()));
            assert_eq!(seen, expected, "{url}");
        }
        check(
            "http://127.0.0.1:7070",
            Some(("127.0.0.1", 7070, "http://127.0.0.1:7070/x")),
        );
        check("http://control/", Some(("control", 80, "http://control/x")));
        check(
            "https://c.example/portcullis/",
            Some(("c.example", 443, "https://c.example/portcullis/x")),
        );
        check("http://[::1]:7070", Some(("::1", 7070, "http://[::1]:7070/x")));
        check("http://[::1]", Some(("::1", 80, "http://[::1]/x")));
        for url in [
            "",
            "control",
            "control:7070",
            "/x",
            "ftp://control",
            "http://",
            "http://u:p@control",
            "http://control?x=1",
            "http://control:",
            "http://control:99999",
        ] {
            check(url, None);
        }
    }
}
