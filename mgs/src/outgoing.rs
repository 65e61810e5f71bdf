//! Calls that the MGS makes to others: webhooks, sources.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use reqwest::{Certificate, Client, redirect};

/// A client for `url` that goes where it was told and nowhere else: no proxy, no redirects.
///
/// With `ca`, servers must have a certificate of the authority in that PEM file; otherwise one that the system trusts.
/// Errors: a file that can't be read, or holds no certificate.
pub(crate) fn client(url: &str, timeout: Duration, ca: Option<&Path>) -> anyhow::Result<Client> {
    let mut builder = rest::http(url).timeout(timeout).redirect(redirect::Policy::none());
    if let Some(ca) = ca {
        let pem = std::fs::read(ca).with_context(|| format!("can't read {}", ca.display()))?;
        let authorities = Certificate::from_pem_bundle(&pem).ok().filter(|found| !found.is_empty());
        builder = builder
            .tls_certs_only(authorities.with_context(|| format!("{} holds no certificate in PEM form", ca.display()))?);
    }
    builder.build().context("no client can be made")
}

/// Whether this is the URL of a web server.
pub(crate) fn is_url(url: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) && !host(url).is_empty()
}

/// Host and port: what may be shown of a URL whose other parts may be secrets.
pub(crate) fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

/// What went wrong, with its causes, without the URL, which may hold a secret.
pub(crate) fn reason(err: reqwest::Error) -> String {
    let err = err.without_url();
    let mut text = err.to_string();
    let mut cause = std::error::Error::source(&err);
    while let Some(err) = cause {
        text = format!("{text}: {err}");
        cause = err.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_url_only_the_host_is_shown() {
        assert_eq!(host("https://user:secret@host:8443/path?key=secret"), "host:8443");
        assert!(is_url("https://host/") && !is_url("https://") && !is_url("ftp://host") && !is_url("/etc/lustre"));
    }
}
