//! Hosts that links must not lead to.

use std::collections::HashSet;

/// Host names; each also stands for its subdomains.
#[derive(Clone, Debug, Default)]
pub struct Blocklist(HashSet<Box<str>>);

impl Blocklist {
    /// One host a line; empty lines and lines that begin with `#` say nothing.
    pub fn parse(text: &str) -> Self {
        let hosts = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(hosts.map(|host| host.trim_end_matches('.').to_ascii_lowercase().into()).collect())
    }

    /// `url` is a target in its canonical form.
    pub fn blocks(&self, url: &str) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let host = url.split_once("://").map_or(url, |(_, rest)| rest);
        let host = host.split(['/', '?', '#', ':']).next().unwrap_or(host).trim_end_matches('.');
        let suffixes = host.match_indices('.').map(|(at, _)| &host[at + 1..]);
        std::iter::once(host).chain(suffixes).any(|name| self.0.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::Blocklist;

    #[test]
    fn a_host_stands_for_its_subdomains_and_for_nothing_else() {
        let list = Blocklist::parse("# bad ones\nEvil.example\n\n");
        assert!(list.blocks("https://evil.example/x"));
        assert!(list.blocks("http://a.b.evil.example:8080?x"));
        assert!(!list.blocks("https://notevil.example/"));
        assert!(!list.blocks("https://example/evil.example"));
    }
}
