//! Which hosts are reached through which proxy.

use std::net::IpAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use url::Url;

use crate::git::{error::GitError, network::Step};

/// An HTTP proxy.
pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) authorization: Option<HeaderValue>,
}

impl Proxy {
    /// The proxy for a host; `None` connects directly.
    pub(super) fn choose(step: &Step, host: &str, port: u16) -> Result<Option<Self>, GitError> {
        let Some(proxy) = &step.credentials.proxy else {
            return Ok(None);
        };
        if is_excepted(&step.credentials.no_proxy, host, port) {
            return Ok(None);
        }
        let invalid = |problem: &str| GitError::Settings {
            repository: step.repository(),
            problem: format!("the proxy {problem}; write http://host:port"),
        };
        let url = Url::parse(proxy.reveal().trim()).map_err(|_| invalid("is not a valid URL"))?;
        if url.scheme() != "http" {
            return Err(invalid("is not an HTTP proxy, which is the only kind that is supported"));
        }
        let host = url.host_str().ok_or_else(|| invalid("has no host"))?.to_owned();
        let authorization = if url.username().is_empty() {
            None
        } else {
            let decoded = |text: &str| crate::git::url::percent_decoded(text);
            let user = format!("{}:{}", decoded(url.username()), decoded(url.password().unwrap_or_default()));
            let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(user)))
                .map_err(|_| invalid("has a user that cannot be sent"))?;
            value.set_sensitive(true);
            Some(value)
        };
        Ok(Some(Self { host, port: url.port_or_known_default().unwrap_or(80), authorization }))
    }
}

/// Whether a host is on a `noProxy` list: `*`, a host, a domain (with or without a leading dot, its subdomains included), an
/// address, a network (`10.0.0.0/8`), each with an optional `:port`.
fn is_excepted(list: &str, host: &str, port: u16) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let (Some(address), Some((network, length))) = (address, entry.split_once('/')) {
            return network.parse().is_ok_and(|network| in_network(address, network, length));
        }
        let (name, wanted_port) = match entry.rsplit_once(':') {
            Some((name, wanted)) if !name.contains(':') || name.ends_with(']') => (name, wanted.parse().ok()),
            _ => (entry, None),
        };
        if wanted_port.is_some_and(|wanted: u16| wanted != port) {
            return false;
        }
        let name = name.trim_matches(['[', ']']).to_ascii_lowercase();
        let domain = name.trim_start_matches("*.").trim_start_matches('.');
        host == domain
            || (address.is_none() && host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')))
    })
}

fn in_network(address: IpAddr, network: IpAddr, length: &str) -> bool {
    let (address, network, bits) = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (address.to_bits().into(), network.to_bits().into(), 32u32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => (address.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    let differing: u128 = address ^ network;
    length
        .parse::<u32>()
        .is_ok_and(|length| length <= bits && differing.checked_shr(bits - length).unwrap_or(0) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_on_the_list_are_reached_directly() {
        let list = "localhost, .internal.example.com,10.0.0.0/8,[::1]:8443, git.example.org:8443";
        for (host, port) in [
            ("localhost", 80),
            ("a.internal.example.com", 443),
            ("internal.example.com", 443),
            ("10.1.2.3", 443),
            ("[::1]", 8443),
            ("GIT.example.org", 8443),
        ] {
            assert!(is_excepted(list, host, port), "{host}:{port}");
        }
        for (host, port) in [
            ("example.com", 443),
            ("notinternal.example.com", 443),
            ("internal.example.com.evil", 443),
            ("11.0.0.1", 443),
            ("[::1]", 443),
            ("git.example.org", 443),
        ] {
            assert!(!is_excepted(list, host, port), "{host}:{port}");
        }
        assert!(is_excepted("*", "anything", 1));
        assert!(!is_excepted("", "anything", 1));
    }
}
