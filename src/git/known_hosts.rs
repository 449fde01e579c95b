//! The SSH host keys to trust, in the format of OpenSSH's `known_hosts`.
//!
//! Understood are plain and hashed (`|1|salt|hash`) names, `[host]:port`, the wildcards `*` and `?`, negation with `!`, and
//! `@revoked`. Certificate authorities (`@cert-authority`) are not: their lines trust nobody.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use sha1::Sha1;

/// What is known about a host and the key that it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The key is listed for the host.
    Known,
    /// Nothing is listed for the host.
    Unknown,
    /// Other keys are listed for the host.
    Different,
    /// The key is marked `@revoked`.
    Revoked,
}

#[derive(Clone, PartialEq, Eq)]
struct Line {
    revoked: bool,
    names: String,
    key_type: String,
    key: Vec<u8>,
}

/// A parsed `known_hosts` text.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KnownHosts {
    lines: Vec<Line>,
}

impl fmt::Debug for KnownHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KnownHosts({} lines)", self.lines.len())
    }
}

impl KnownHosts {
    /// Reads the text. Lines that make no sense trust nobody, as OpenSSH has it.
    pub fn parse(text: &str) -> Self {
        Self { lines: text.lines().filter_map(parse_line).collect() }
    }

    /// What these lines say about a key that `host` shows at `port`.
    pub(super) fn check(&self, host: &str, port: u16, key: &[u8]) -> Trust {
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        let name = if port == 22 { host } else { format!("[{host}]:{port}") };
        let mut trust = Trust::Unknown;
        for line in self.lines.iter().filter(|line| line.is_for(&name)) {
            match (line.revoked, line.key == key) {
                (true, true) => return Trust::Revoked,
                (false, true) => trust = Trust::Known,
                (false, false) if trust == Trust::Unknown => trust = Trust::Different,
                _ => {}
            }
        }
        trust
    }

    /// The lines that libgit2 may use to ask a host for a kind of key that is listed here.
    pub(super) fn for_key_preference(&self) -> String {
        let trusted = self.lines.iter().filter(|line| !line.revoked);
        trusted
            .map(|line| format!("{} {} {}\n", line.names, line.key_type, STANDARD.encode(&line.key)))
            .collect()
    }
}

fn parse_line(line: &str) -> Option<Line> {
    let mut fields = line.split_ascii_whitespace();
    let first = fields.next().filter(|field| !field.starts_with('#'))?;
    let (revoked, names) = match first {
        "@revoked" => (true, fields.next()?),
        marker if marker.starts_with('@') => return None,
        names => (false, names),
    };
    let key_type = fields.next()?.to_owned();
    let key = STANDARD.decode(fields.next()?).ok()?;
    Some(Line { revoked, names: names.to_owned(), key_type, key })
}

impl Line {
    fn is_for(&self, name: &str) -> bool {
        if let Some(hashed) = self.names.strip_prefix("|1|") {
            return hashed_name_matches(hashed, name).unwrap_or(false);
        }
        let mut matched = false;
        for pattern in self.names.split(',') {
            match pattern.strip_prefix('!') {
                Some(pattern) if matches(pattern, name) => return false,
                Some(_) => {}
                None => matched |= matches(pattern, name),
            }
        }
        matched
    }
}

fn hashed_name_matches(hashed: &str, name: &str) -> Option<bool> {
    let (salt, hash) = hashed.split_once('|')?;
    let mut mac = Hmac::<Sha1>::new_from_slice(&STANDARD.decode(salt).ok()?).ok()?;
    mac.update(name.as_bytes());
    Some(mac.verify_slice(&STANDARD.decode(hash).ok()?).is_ok())
}

/// `*` is any text, `?` any one character. In time proportional to the product of the lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<u8> = pattern.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
    // `reached[i]`: the first `i` bytes of the pattern match what has been read of the name.
    let mut reached: Vec<bool> = std::iter::once(true)
        .chain(pattern.iter().scan(true, |all_stars, byte| {
            *all_stars &= *byte == b'*';
            Some(*all_stars)
        }))
        .collect();
    for byte in name.bytes() {
        let mut next = vec![false];
        for (index, wanted) in pattern.iter().enumerate() {
            let before = reached.get(index).copied().unwrap_or(false);
            let same = reached.get(index + 1).copied().unwrap_or(false);
            let so_far = next.last().copied().unwrap_or(false);
            next.push(match wanted {
                b'*' => so_far || same || before,
                b'?' => before,
                wanted => before && *wanted == byte,
            });
        }
        reached = next;
    }
    reached.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"key";
    const OTHER: &[u8] = b"other";

    fn line(names: &str, key: &[u8]) -> String {
        format!("{names} ssh-ed25519 {} comment", STANDARD.encode(key))
    }

    fn hashed(name: &str) -> String {
        let mut mac = Hmac::<Sha1>::new_from_slice(b"salt").unwrap();
        mac.update(name.as_bytes());
        format!("|1|{}|{}", STANDARD.encode("salt"), STANDARD.encode(mac.finalize().into_bytes()))
    }

    #[test]
    fn a_host_is_trusted_only_by_a_line_that_names_it_with_its_port() {
        let table = [
            ("git.example.com", "git.example.com", 22, Trust::Known),
            ("git.example.com", "GIT.example.com", 22, Trust::Known),
            ("git.example.com", "git.example.com.evil", 22, Trust::Unknown),
            ("git.example.com", "git.example.com", 2222, Trust::Unknown),
            ("[git.example.com]:2222", "git.example.com", 2222, Trust::Known),
            ("[git.example.com]:2222", "git.example.com", 22, Trust::Unknown),
            ("a,git.example.com,b", "git.example.com", 22, Trust::Known),
            ("*.example.com", "git.example.com", 22, Trust::Known),
            ("*.example.com", "example.com", 22, Trust::Unknown),
            ("git?.example.com", "git1.example.com", 22, Trust::Known),
            ("*.example.com,!git.example.com", "git.example.com", 22, Trust::Unknown),
            ("!git.example.com,*.example.com", "git.example.com", 22, Trust::Unknown),
            ("!git.example.com,*.example.com", "www.example.com", 22, Trust::Known),
            ("[127.0.0.1]:*", "127.0.0.1", 2201, Trust::Known),
            ("::1", "[::1]", 22, Trust::Known),
        ];
        for (names, host, port, expected) in table {
            let hosts = KnownHosts::parse(&line(names, KEY));
            assert_eq!(hosts.check(host, port, KEY), expected, "{names} for {host}:{port}");
        }
    }

    #[test]
    fn hashed_names_match() {
        let hosts = KnownHosts::parse(&line(&hashed("[git.example.com]:2222"), KEY));
        assert_eq!(hosts.check("git.example.com", 2222, KEY), Trust::Known);
        assert_eq!(hosts.check("git.example.com", 22, KEY), Trust::Unknown);
    }

    #[test]
    fn another_key_of_a_known_host_is_not_trusted() {
        let text = format!("# comment\n\n{}\n{}", line("h", KEY), line("h", b"second key"));
        let hosts = KnownHosts::parse(&text);
        assert_eq!(hosts.check("h", 22, b"second key"), Trust::Known);
        assert_eq!(hosts.check("h", 22, OTHER), Trust::Different);
    }

    #[test]
    fn a_revoked_key_is_refused_although_it_is_listed() {
        let text = format!("{}\n@revoked {}", line("h", KEY), line("*", KEY));
        assert_eq!(KnownHosts::parse(&text).check("h", 22, KEY), Trust::Revoked);
    }

    #[test]
    fn certificate_authorities_and_broken_lines_trust_nobody() {
        let text = format!(
            "@cert-authority {}\nh ssh-ed25519\nh ssh-ed25519 %%%\n|1|x {}",
            line("h", KEY),
            line("y", KEY)
        );
        assert_eq!(KnownHosts::parse(&text).check("h", 22, KEY), Trust::Unknown);
    }
}
