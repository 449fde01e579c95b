//! From an HTTP request to what it asks of which resource.

use bytes::Bytes;
use http::{Method, request::Parts};

use super::fault::RequestRecord;

/// A request with its path taken apart.
#[derive(Clone, Debug)]
pub struct ApiRequest {
    /// HTTP method.
    pub method: Method,
    /// Path segments.
    pub segments: Vec<String>,
    /// Query parameters, decoded.
    pub query: Vec<(String, String)>,
    /// `Accept`.
    pub accept: String,
    /// `Content-Type` without parameters.
    pub content_type: String,
    /// `User-Agent`.
    pub user_agent: String,
    /// The body.
    pub body: Bytes,
    /// What it asks of which resource; `None` for discovery and the like.
    pub target: Option<Target>,
    path: String,
}

/// The resource part of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural.
    pub resource: String,
    /// Namespace; empty for cluster-scoped resources and lists of all namespaces.
    pub namespace: String,
    /// Name; empty for collections.
    pub name: String,
    /// Subresource; empty for the object itself.
    pub subresource: String,
}

impl ApiRequest {
    /// Takes a request apart.
    pub fn new(parts: &Parts, body: Bytes) -> Self {
        let path = parts.uri.path();
        let decode = |text: &str| {
            let pairs = format!("x={}", text.replace('+', "%2B"));
            url::form_urlencoded::parse(pairs.as_bytes())
                .next()
                .map(|(_, v)| v.into_owned())
                .unwrap_or_default()
        };
        let mut segments: Vec<String> = path.split('/').filter(|s| !s.is_empty()).map(decode).collect();
        let mut query: Vec<(String, String)> =
            url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
                .map(|(key, value)| (key.into_owned(), value.into_owned()))
                .collect();
        // The old spelling of a watch: `/api/v1/watch/…`.
        let place = if segments.first().is_some_and(|root| root == "apis") { 3 } else { 2 };
        if segments.get(place).is_some_and(|word| word == "watch") && segments.len() > place + 1 {
            segments.remove(place);
            query.push(("watch".to_owned(), "true".to_owned()));
        }
        let header = |name: http::HeaderName| {
            let values = parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.collect::<Vec<_>>().join(",")
        };
        let content_type = header(http::header::CONTENT_TYPE);
        let content_type = content_type.split(';').next().unwrap_or_default().trim().to_owned();
        let target = target(&segments);
        Self {
            method: parts.method.clone(),
            segments,
            query,
            accept: header(http::header::ACCEPT),
            content_type,
            user_agent: header(http::header::USER_AGENT),
            body,
            target,
            path: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        }
    }

    /// A query parameter, empty when it is absent.
    pub fn parameter(&self, name: &str) -> &str {
        self.query.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// All values of a query parameter.
    pub fn parameters<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether a query parameter is there and not `false` or `0`.
    pub fn is_set(&self, name: &str) -> bool {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.is_some_and(|(_, value)| !value.eq_ignore_ascii_case("false") && value != "0")
    }

    /// The verb, as RBAC and audit name it.
    pub fn verb(&self) -> &'static str {
        let Some(target) = &self.target else {
            return "discovery";
        };
        let collection = target.name.is_empty();
        match self.method.as_str() {
            "GET" | "HEAD" if collection && self.is_set("watch") => "watch",
            "GET" | "HEAD" if collection => "list",
            "GET" | "HEAD" => "get",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" if collection => "deletecollection",
            "DELETE" => "delete",
            _ => "other",
        }
    }

    /// What the log says of it, without the answer.
    pub fn record(&self) -> RequestRecord {
        let mut target = self.target.clone().unwrap_or_default();
        if self.target.is_none() && self.segments.first().is_some_and(|root| root == "apis") {
            target.group = self.segments.get(1).cloned().unwrap_or_default();
            target.version = self.segments.get(2).cloned().unwrap_or_default();
        }
        RequestRecord {
            verb: self.verb().to_owned(),
            group: target.group,
            version: target.version,
            resource: target.resource,
            namespace: target.namespace,
            name: target.name,
            subresource: target.subresource,
            path: self.path.clone(),
            dry_run: self.query.iter().any(|(key, value)| key == "dryRun" && value == "All"),
            user_agent: self.user_agent.clone(),
            content_type: self.content_type.clone(),
            status: 0,
        }
    }
}

fn target(segments: &[String]) -> Option<Target> {
    let mut parts = segments.iter().map(String::as_str);
    let (group, version) = match parts.next()? {
        "api" => ("", parts.next()?),
        "apis" => (parts.next()?, parts.next()?),
        _ => return None,
    };
    let rest: Vec<&str> = parts.collect();
    let of = |resource: &str, namespace: &str, tail: &[&str]| {
        let (name, subresource) = match tail {
            [] => (String::new(), String::new()),
            [name] => ((*name).to_owned(), String::new()),
            [name, subresource @ ..] => ((*name).to_owned(), subresource.join("/")),
        };
        Target {
            group: group.to_owned(),
            version: version.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name,
            subresource,
        }
    };
    Some(match rest.as_slice() {
        [] => return None,
        ["namespaces", name, subresource @ ("status" | "finalize")] => {
            of("namespaces", "", &[name, subresource])
        }
        ["namespaces", namespace, resource, tail @ ..] => of(resource, namespace, tail),
        [resource, tail @ ..] => of(resource, "", tail),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target_of(path: &str) -> Option<Target> {
        target(&path.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn paths_name_a_resource() {
        let target = target_of("/apis/apps/v1/namespaces/shop/deployments/orders/scale").unwrap();
        assert_eq!((target.group.as_str(), target.resource.as_str()), ("apps", "deployments"));
        assert_eq!(
            (target.namespace.as_str(), target.name.as_str(), target.subresource.as_str()),
            ("shop", "orders", "scale")
        );
        let target = target_of("/api/v1/namespaces/shop").unwrap();
        assert_eq!(
            (target.resource.as_str(), target.name.as_str(), target.namespace.as_str()),
            ("namespaces", "shop", "")
        );
        let target = target_of("/api/v1/namespaces/shop/status").unwrap();
        assert_eq!((target.resource.as_str(), target.subresource.as_str()), ("namespaces", "status"));
        let target = target_of("/api/v1/pods").unwrap();
        assert_eq!((target.resource.as_str(), target.name.as_str()), ("pods", ""));
        assert_eq!(target_of("/api/v1"), None);
        assert_eq!(target_of("/apis/apps/v1"), None);
    }
}
