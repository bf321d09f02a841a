//! `net://HOST[:PORT]/host/TRACED_HOST/SESSION`, as LTTng's and babeltrace2's users write it.

use super::DEFAULT_PORT;
use kstrace_schema::{Error, ErrorKind, Result};
use std::fmt;
use std::str::FromStr;

/// Where a relay daemon is, and which of its sessions is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveUrl {
    /// Name or address of the relay daemon's machine.
    pub host: String,
    /// Its port, [`DEFAULT_PORT`] if none is written.
    pub port: u16,
    /// The traced machine and the session; `None` for the relay daemon as such.
    pub session: Option<(String, String)>,
}

/// Ways to say the protocol; the latter two do not choose between addresses here.
const SCHEMES: [&str; 3] = ["net://", "net4://", "net6://"];

impl LiveUrl {
    /// Whether that is meant to be one.
    pub fn is_one(text: &str) -> bool {
        SCHEMES.iter().any(|s| text.starts_with(s))
    }
}

impl FromStr for LiveUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<LiveUrl> {
        let bad = |why: &str| {
            let form = "net://HOST[:PORT]/host/TRACED_HOST/SESSION";
            Error::new(
                ErrorKind::InvalidInput,
                format!("'{text}': {why}; wanted is {form}"),
            )
        };
        let rest = SCHEMES
            .iter()
            .find_map(|s| text.strip_prefix(s))
            .ok_or_else(|| bad("it does not begin with net://"))?;
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = match place.strip_prefix('[') {
            // An IPv6 address.
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(|| bad("']' is missing"))?;
                (host, port.strip_prefix(':'))
            }
            None => match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        if host.is_empty() {
            return Err(bad("no host"));
        }
        let port = match port {
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| bad("the port is no number from 1 to 65535"))?,
            None => DEFAULT_PORT,
        };
        let session = match path.trim_end_matches('/') {
            "" => None,
            path => {
                let parts = path.strip_prefix("host/").and_then(|p| p.split_once('/'));
                let (traced, session) = parts
                    .filter(|(traced, session)| !traced.is_empty() && !session.is_empty())
                    .ok_or_else(|| bad("no session"))?;
                Some((traced.to_owned(), session.to_owned()))
            }
        };
        Ok(LiveUrl {
            host: host.to_owned(),
            port,
            session,
        })
    }
}

impl fmt::Display for LiveUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "net://[{}]", self.host)?,
            false => write!(f, "net://{}", self.host)?,
        }
        if self.port != DEFAULT_PORT {
            write!(f, ":{}", self.port)?;
        }
        if let Some((traced, session)) = &self.session {
            write!(f, "/host/{traced}/{session}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_comes_back() {
        for text in [
            "net://localhost/host/box/my-session-20260101-120000",
            "net://10.0.0.1:1234/host/box/a/b",
            "net://[::1]:99/host/h/s",
            "net://relay",
        ] {
            let url: LiveUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), text);
        }
        let url: LiveUrl = "net4://h:5344/host/t/s/".parse().unwrap();
        assert_eq!(url.to_string(), "net://h/host/t/s");
    }

    #[test]
    fn what_is_none_is_refused() {
        for (text, why) in [
            ("http://x", "net://"),
            ("net:///host/a/b", "no host"),
            ("net://x:0/", "port"),
            ("net://x:99999", "port"),
            ("net://[::1/host/a/b", "']'"),
            ("net://x/host/a", "no session"),
            ("net://x/a/b/c", "no session"),
        ] {
            let error = text.parse::<LiveUrl>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
