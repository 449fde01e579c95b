//! Which Applications a command is about.

use super::{AppError, Session, session::Found};

/// An Application's namespace and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AppName {
    pub namespace: String,
    pub name: String,
}

impl AppName {
    /// Reads `name` or `namespace/name`.
    pub fn parse(text: &str, default_namespace: &str) -> Result<Self, AppError> {
        let (namespace, name) = text.split_once('/').unwrap_or((default_namespace, text));
        if namespace.is_empty() || name.is_empty() || name.contains('/') {
            let message = format!("'{text}' is not an application: write 'name' or 'namespace/name'");
            return Err(AppError::Usage { message });
        }
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

impl std::fmt::Display for AppName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One Application.
#[derive(Debug, clap::Args)]
pub(super) struct One {
    /// The Application, 'name' or 'namespace/name'
    #[arg(value_name = "NAME")]
    name: String,
}

impl One {
    /// Its name, whether it exists or not.
    pub fn named(&self, session: &Session) -> Result<AppName, AppError> {
        AppName::parse(&self.name, session.namespace())
    }

    /// Its name, and what there is of it.
    pub async fn find(&self, session: &Session) -> Result<(AppName, Found), AppError> {
        let name = self.named(session)?;
        let found = session.get(&name).await?;
        Ok((name, found))
    }
}

/// Several Applications, by name or by label.
#[derive(Debug, clap::Args)]
pub(super) struct Several {
    /// The Applications, each 'name' or 'namespace/name'
    #[arg(value_name = "NAME", required_unless_present = "selector", conflicts_with = "selector")]
    pub names: Vec<String>,

    /// All Applications with these labels, such as 'team=shop,tier!=test'
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
}

impl Several {
    /// The names; an empty selection is an error, so that nobody waits for nothing.
    pub async fn resolve(&self, session: &Session) -> Result<Vec<AppName>, AppError> {
        let Some(selector) = &self.selector else {
            return self.names.iter().map(|name| AppName::parse(name, session.namespace())).collect();
        };
        let found = session.list(Some(session.namespace()), Some(selector)).await?;
        if found.is_empty() {
            let message =
                format!("no application in namespace '{}' has the labels '{selector}'", session.namespace());
            return Err(AppError::Usage { message });
        }
        found.into_iter().map(|found| found.map(|Found { name, .. }| name)).collect()
    }
}
