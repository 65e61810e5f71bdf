//! Texts with a notation of their own. Sources: tunables specification, section 3; Lustre manual for what nodes print of
//! request scheduling policies.

use std::collections::BTreeSet;

use lustre_types::{LnetNet, Nid, NidError, NidList, PoolName};

use super::{Agreement, Side};

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grammar {
    /// Anything.
    Free,
    /// An absolute path.
    Path,
    /// `uid:gid`.
    UidGid,
    /// NIDs and NID ranges, in any order.
    Nids,
    /// NIDs of one node with commas, nodes with colons; their order matters.
    NidList,
    /// A pool's name, with or without its file system.
    Pool,
    /// `user.` and at most 7 letters.
    JobXattr,
    /// A way to name jobs, or the name of a variable of at most 31 letters.
    JobidVar,
    /// A pattern of `%e %g %h %H %j %p %u` and letters; at most 32.
    JobidName,
    /// At most 32 letters.
    Session,
    /// A policy of request scheduling, its type, and the queue that it is for.
    NrsPolicies,
    /// The letters u, g, p: whose quotas are enforced.
    Quota,
    /// LNet networks, as in `tcp0,o2ib1`.
    Networks,
    /// A rule of the token bucket filter.
    Tbf,
}

const NAMES: [(&str, Grammar); 13] = [
    ("path", Grammar::Path),
    ("uid_gid", Grammar::UidGid),
    ("nids", Grammar::Nids),
    ("nid_list", Grammar::NidList),
    ("pool", Grammar::Pool),
    ("job_xattr", Grammar::JobXattr),
    ("jobid_var", Grammar::JobidVar),
    ("jobid_name", Grammar::JobidName),
    ("session", Grammar::Session),
    ("nrs_policies", Grammar::NrsPolicies),
    ("quota", Grammar::Quota),
    ("networks", Grammar::Networks),
    ("tbf", Grammar::Tbf),
];

const POLICIES: [&str; 6] = ["fifo", "crrn", "orr", "trr", "tbf", "delay"];

impl Grammar {
    /// Errors: no such grammar.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        if name.is_empty() {
            return Ok(Self::Free);
        }
        let found = NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, grammar)| *grammar).ok_or_else(|| format!("there is no grammar {name:?}"))
    }

    /// Commands are described in words, but for those that are understood here.
    pub(crate) fn of_command(name: &str) -> Self {
        if name == "tbf" { Self::Tbf } else { Self::Free }
    }

    /// Its name in the catalogue.
    pub(crate) fn name(self) -> Option<String> {
        NAMES.iter().find(|(_, grammar)| *grammar == self).map(|(name, _)| (*name).to_owned())
    }

    /// The text in its normal form: two texts that mean the same have the same. Errors: what is expected.
    pub(super) fn read(self, text: &str, side: Side) -> Result<String, String> {
        let expected = |what: &str| Err(what.to_owned());
        match self {
            Self::Free => Ok(text.to_owned()),
            Self::Path if text.starts_with('/') => Ok(text.to_owned()),
            Self::Path => expected("an absolute path"),
            Self::UidGid => uid_gid(text).ok_or_else(|| "uid:gid, as in 0:0,".to_owned()),
            Self::Nids => nids(text),
            Self::NidList => {
                text.parse::<NidList>().map(|list| list.to_string()).map_err(|err| format!("a list of NIDs ({err})"))
            }
            Self::Pool => pool(text).ok_or_else(|| "a pool's name of at most 15 letters".to_owned()),
            Self::JobXattr => match text.strip_prefix("user.") {
                Some(name) if is_word(name, 7) => Ok(text.to_owned()),
                _ => expected("user. and at most 7 letters"),
            },
            Self::JobidVar if is_word(text, 31) => Ok(text.to_owned()),
            Self::JobidVar => {
                expected("disable, procname_uid, nodelocal, session, or a variable's name of at most 31 letters")
            }
            Self::JobidName if is_jobid_name(text) => Ok(text.to_owned()),
            Self::JobidName => expected("at most 32 letters with %e, %g, %h, %H, %j, %p, %u"),
            Self::Session if text.len() <= 32 => Ok(text.to_owned()),
            Self::Session => expected("at most 32 letters"),
            Self::NrsPolicies if side == Side::Printed => Ok(text.to_owned()),
            Self::NrsPolicies => policy(text)
                .map(|policy| policy.words.join(" "))
                .ok_or_else(|| format!("one of {}, its type, and reg or hp,", POLICIES.join(", "))),
            Self::Quota => quota(text).ok_or_else(|| "letters of u, g and p, or none,".to_owned()),
            Self::Networks => networks(text).ok_or_else(|| "LNet networks, as in tcp0,o2ib1,".to_owned()),
            Self::Tbf if side == Side::Printed => Ok(text.to_owned()),
            Self::Tbf => rule(text)
                .map(|rule| rule.words.join(" "))
                .ok_or_else(|| "start NAME EXPRESSION rate=N, change NAME rate=N, or stop NAME".to_owned()),
        }
    }

    /// For those whose printed form is a report: whether it says what was wanted.
    pub(super) fn agreement(self, wanted: &str, printed: &str) -> Option<Agreement> {
        match self {
            Self::NrsPolicies => Some(policy(wanted)?.agreement(printed)),
            Self::Tbf => Some(rule(wanted)?.agreement(printed)),
            _ => None,
        }
    }
}

fn is_word(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

fn uid_gid(text: &str) -> Option<String> {
    let (uid, gid) = text.split_once(':')?;
    Some(format!("{}:{}", uid.parse::<u32>().ok()?, gid.parse::<u32>().ok()?))
}

fn pool(text: &str) -> Option<String> {
    let name = text.rsplit('.').next()?;
    name.parse::<PoolName>().ok().map(|_| text.to_owned())
}

fn is_jobid_name(text: &str) -> bool {
    let mut letters = text.chars();
    let mut is_pattern = true;
    while let Some(letter) = letters.next() {
        is_pattern &= letter != '%' || letters.next().is_some_and(|code| "eghHjpu".contains(code));
    }
    is_pattern && (1..=32).contains(&text.len()) && !text.contains(' ')
}

fn quota(text: &str) -> Option<String> {
    let letters: BTreeSet<char> = text.chars().collect();
    let is_legal =
        !letters.is_empty() && letters.len() == text.len() && letters.iter().all(|letter| "ugp".contains(*letter));
    is_legal.then(|| letters.into_iter().collect())
}

/// Ranges have brackets and stars in place of numbers: `10.0.[1-9].*@tcp`.
fn nids(text: &str) -> Result<String, String> {
    let words = split_outside_brackets(text).filter(|word| !word.is_empty());
    let normal: BTreeSet<String> = words.map(nid_or_range).collect::<Result<_, _>>()?;
    match normal.is_empty() {
        true => Err(NIDS_EXPECTED.to_owned()),
        false => Ok(normal.into_iter().collect::<Vec<_>>().join(" ")),
    }
}

const NIDS_EXPECTED: &str = "NIDs or NID ranges, as in 10.0.0.[1-9]@tcp,";

fn nid_or_range(word: &str) -> Result<String, String> {
    let (address, net) = word.split_once('@').unwrap_or((word, "tcp"));
    let is_range = address.contains(['*', '[', '-', '/']);
    let expected = |err: &NidError| format!("{NIDS_EXPECTED} instead of \"{word}\" ({err})");
    if !is_range {
        return word.parse::<Nid>().map(|nid| nid.to_string()).map_err(|err| expected(&err));
    }
    let net: LnetNet = net.parse().map_err(|err| expected(&err))?;
    if !address.bytes().all(|byte| byte.is_ascii_hexdigit() || b".:*[]-,/".contains(&byte)) {
        return Err(format!("{NIDS_EXPECTED} instead of \"{word}\""));
    }
    Ok(format!("{address}@{net}"))
}

/// Words between spaces, commas and colons of lists; commas in brackets belong to a range, colons to IPv6 addresses.
fn split_outside_brackets(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    text.split(move |letter: char| {
        match letter {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        letter.is_whitespace() || (letter == ',' && depth == 0)
    })
}

fn networks(text: &str) -> Option<String> {
    let net = |net: &str| net.parse().ok().map(|net: LnetNet| net.to_string());
    text.split(',').map(|word| net(word.trim())).collect::<Option<Vec<_>>>().map(|nets| nets.join(","))
}

/// `tbf nid reg`: the policy, its type, the queue.
struct Policy<'a> {
    words: Vec<&'a str>,
    name: &'a str,
    queue: Option<&'a str>,
}

fn policy(text: &str) -> Option<Policy<'_>> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let name = *words.first()?;
    let queue = words.last().copied().filter(|word| ["reg", "hp"].contains(word) && words.len() > 1);
    let types = words.len() - 1 - usize::from(queue.is_some());
    let is_legal = POLICIES.contains(&name) && types <= usize::from(name == "tbf");
    is_legal.then_some(Policy { words, name, queue })
}

impl Policy<'_> {
    /// Nodes print a section for each queue, and in it each policy with its state.
    fn agreement(&self, printed: &str) -> Agreement {
        let (mut is_concerned, mut name, mut seen, mut started_others, mut started) = (true, "", 0, false, 0);
        for line in printed.lines().map(str::trim) {
            match line.split_once(':') {
                Some((section @ ("regular_requests" | "high_priority_requests"), _)) => {
                    is_concerned = match self.queue {
                        Some("reg") => section.starts_with("regular"),
                        Some(_) => section.starts_with("high"),
                        None => true,
                    };
                    seen += usize::from(is_concerned);
                }
                Some(("- name", policy)) => name = policy.trim(),
                Some(("state", state)) if is_concerned && state.trim() == "started" => {
                    if name == self.name {
                        started += 1;
                    } else if name != "fifo" {
                        // fifo takes what others leave, so it is always started.
                        started_others = true;
                    }
                }
                _ => {}
            }
        }
        match seen {
            0 => Agreement::Unknowable("the node does not print its policies"),
            _ if started == seen && !started_others => Agreement::Same,
            _ => Agreement::Different,
        }
    }
}

/// `start NAME EXPRESSION rate=N`, `change NAME rate=N`, `stop NAME`, each perhaps with `reg` or `hp` before.
struct Rule<'a> {
    words: Vec<&'a str>,
    verb: &'a str,
    name: &'a str,
    rate: Option<u64>,
}

fn rule(text: &str) -> Option<Rule<'_>> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let from = usize::from(words.first().is_some_and(|word| ["reg", "hp"].contains(word)));
    let [verb, name, rest @ ..] = words.get(from..)? else { return None };
    let rate = rest.iter().find_map(|word| word.strip_prefix("rate=")?.parse::<u64>().ok());
    let is_name = is_word(name, 16) && !name.contains('.');
    let is_legal = match *verb {
        "start" => !rest.is_empty() && rest.iter().any(|word| word.contains('=') && word.contains('{')),
        "change" => rate.is_some() || rest.iter().any(|word| word.starts_with("rank=")),
        "stop" => rest.is_empty(),
        _ => false,
    };
    let rate_is_number = rest.iter().filter(|word| word.starts_with("rate=")).all(|_| rate.is_some());
    (is_name && is_legal && rate_is_number).then(|| Rule { verb, name, rate, words: words.clone() })
}

impl Rule<'_> {
    /// Nodes print a line for each rule: `NAME {EXPRESSION} RATE, ref N`.
    fn agreement(&self, printed: &str) -> Agreement {
        let rule = printed.lines().map(str::trim).find(|line| line.split_whitespace().next() == Some(self.name));
        let rate = |line: &str| line.rsplit('}').next()?.trim().split(',').next()?.trim().parse::<u64>().ok();
        match (self.verb, rule) {
            ("stop", None) => Agreement::Same,
            ("stop", Some(_)) | (_, None) => Agreement::Different,
            (_, Some(line)) => match (self.rate, rate(line)) {
                (Some(wanted), Some(there)) if wanted != there => Agreement::Different,
                (Some(_), None) => Agreement::Unknowable("the rule is there, its rate can't be read"),
                _ => Agreement::Same,
            },
        }
    }
}
