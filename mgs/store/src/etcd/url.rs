//! `etcd://[user@]host:port[,host:port…]/prefix[?options]`: which etcd, which part of it, and how to get in.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

/// Where a store is in an etcd.
///
/// `etcd://` speaks plain HTTP/2, `etcds://` TLS. Options: `password-file`, `ca`, `cert`, `key` (paths of PEM files),
/// `server-name` (the name in the servers' certificate, where it is not the host's). Secrets are in files only, never in the
/// URL: that is shown in logs and process lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdUrl {
    /// `host:port` of each member, at least one.
    pub endpoints: Vec<String>,
    /// What the store's keys begin with, without `/` at its end, as in `/lmgs/prod`.
    pub prefix: String,
    /// Whether to speak TLS.
    pub is_tls: bool,
    /// Who to log in as.
    pub user: Option<String>,
    /// Holds the user's password, in its first line.
    pub password_file: Option<PathBuf>,
    /// Certificates of the authorities that the servers' certificates are checked with.
    pub ca: Option<PathBuf>,
    /// Our own certificate, and its key.
    pub cert: Option<(PathBuf, PathBuf)>,
    /// The name that the servers' certificate must have.
    pub server_name: Option<String>,
}

const OPTIONS: [&str; 5] = ["password-file", "ca", "cert", "key", "server-name"];
const DEFAULT_PORT: &str = "2379";

impl FromStr for EtcdUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("an etcd store is etcd://host:port/prefix")?;
        let is_tls = match scheme {
            "etcd" => false,
            "etcds" => true,
            _ => return Err(format!("{scheme}:// is no store; etcd:// and etcds:// are")),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, prefix) =
            rest.split_once('/').ok_or("the URL has no prefix: etcd://host:port/prefix, as in /lmgs/prod")?;
        let (user, hosts) = authority.rsplit_once('@').map_or((None, authority), |(user, hosts)| (Some(user), hosts));
        if user.is_some_and(|user| user.contains(':')) {
            return Err("a password in a URL is shown to everybody; put it into a file: ?password-file=PATH".into());
        }
        let prefix = format!("/{}", prefix.trim_end_matches('/'));
        if prefix == "/" || prefix.len() > 256 || prefix.chars().any(char::is_control) || prefix.contains("//") {
            return Err("the prefix has to be a path of 1 to 255 printable characters, as in /lmgs/prod".into());
        }
        let endpoints = hosts.split(',').map(endpoint).collect::<Result<Vec<_>, _>>()?;
        let mut options = BTreeMap::new();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').ok_or_else(|| format!("option {option} has no value"))?;
            if !OPTIONS.contains(&name) {
                return Err(format!("there is no option {name}; there are {}", OPTIONS.join(", ")));
            }
            let value = percent_decode_str(value).decode_utf8().map_err(|_| format!("{name} is not UTF-8"))?;
            options.insert(name, value.into_owned());
        }
        let mut path = |name| options.remove(name).map(PathBuf::from);
        let cert = match (path("cert"), path("key")) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err("cert and key belong together".into()),
        };
        let (ca, password_file) = (path("ca"), path("password-file"));
        if is_tls != ca.is_some() {
            return Err("etcds:// needs ca=PATH, the authority of the servers' certificates; etcd:// has none".into());
        }
        if user.is_some() != password_file.is_some() {
            return Err("a user and password-file=PATH belong together".into());
        }
        let server_name = options.remove("server-name");
        if !is_tls && (cert.is_some() || server_name.is_some()) {
            return Err("certificates are for etcds://".into());
        }
        Ok(Self { endpoints, prefix, is_tls, user: user.map(str::to_owned), password_file, ca, cert, server_name })
    }
}

fn endpoint(host: &str) -> Result<String, String> {
    let has_port = host.rsplit_once(':').is_some_and(|(name, port)| {
        !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']'))
    });
    let endpoint = if has_port { host.to_owned() } else { format!("{host}:{DEFAULT_PORT}") };
    match endpoint.parse::<tonic::codegen::http::uri::Authority>() {
        Ok(authority) if !authority.host().is_empty() => Ok(endpoint),
        _ => Err(format!("{host:?} is no host:port")),
    }
}

impl std::fmt::Display for EtcdUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.is_tls { "etcds" } else { "etcd" };
        write!(f, "{scheme}://{}{}", self.endpoints.join(","), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_with_everything_is_understood() {
        let text = "etcds://mgs@a:1,[::1]:2,c/lmgs/prod/?ca=/ca.pem&cert=/c%20.pem&key=/k.pem&password-file=/p&server-name=etcd";
        let url: EtcdUrl = text.parse().unwrap();
        assert_eq!(url.endpoints, ["a:1", "[::1]:2", "c:2379"]);
        assert_eq!((url.prefix.as_str(), url.user.as_deref()), ("/lmgs/prod", Some("mgs")));
        assert_eq!(url.cert, Some(("/c .pem".into(), "/k.pem".into())));
        assert_eq!(url.to_string(), "etcds://a:1,[::1]:2,c:2379/lmgs/prod", "neither user nor files are shown");
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said() {
        for (text, reason) in [
            ("etcd://a:1", "no prefix"),
            ("etcd://a:1/", "prefix has to be"),
            ("etcd://a:1//x//y", "prefix has to be"),
            ("etcd:///x", "no host:port"),
            ("etcd://a:1/x?cs=/f", "no option cs"),
            ("etcd://a:1/x?ca=/f", "etcds://"),
            ("etcds://a:1/x", "needs ca"),
            ("etcd://me:secret@a/x", "password-file"),
            ("etcd://me@a/x", "belong together"),
            ("etcds://a/x?ca=/f&cert=/c", "belong together"),
            ("http://a/x", "no store"),
        ] {
            let err = text.parse::<EtcdUrl>().unwrap_err();
            assert!(err.contains(reason), "{text}: {err}");
            assert!(!err.contains("secret"));
        }
    }
}
