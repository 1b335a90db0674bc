//! Gathers what file, environment and flags say about each key, the later one winning.
//!
//! In: a [`Tree`], variables, flags. Out: [`Settings`]: text per key with its origin, and every [`Problem`] of keys
//! that do not exist. Deliberately absent: what the texts mean ([`super::values`]).

use super::error::{Origin, Problem};
use super::keys::{self, Form, KEYS, Key, VARIABLE_PREFIX};
use super::tree::{Tree, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One value as somebody wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The text; for lists, one per item.
    pub texts: Vec<String>,
    /// Who wrote it.
    pub origin: Origin,
}

/// All values, and all complaints so far.
#[derive(Debug, Default)]
pub struct Settings {
    by_path: BTreeMap<&'static str, Setting>,
    /// The file, for complaints about keys that nobody set.
    pub file: PathBuf,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What looks odd but may be somebody else's, e.g. `CONSIGNER_` variables that are no keys.
    pub remarks: Vec<String>,
}

/// A flag of the command line: the key it sets, the flag as written, its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagValue {
    /// What it sets.
    pub target: Target,
    /// With its dashes, for messages.
    pub flag: String,
    /// Its text; lists are separated by commas.
    pub text: String,
}

/// What a flag sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The whole value of a key.
    Key(&'static Key),
    /// The address before the last colon of a [`keys::Form::Listen`].
    ListenHost(&'static Key),
    /// The port behind it.
    ListenPort(&'static Key),
    /// A whole number of seconds for a [`keys::Form::Duration`].
    Seconds(&'static Key),
    /// Nothing: the flag is refused with this reason, unless it says `false`.
    Refused(&'static str),
}

impl Settings {
    /// The value of a key: flag, else variable, else file, else the default.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Setting> {
        self.by_path.get(key.path).cloned().or_else(|| {
            let texts = split(key, key.default?);
            Some(Setting { texts, origin: Origin::Default })
        })
    }

    /// Takes every value of the file.
    pub fn take_file(&mut self, file: &Path, tree: &Tree) {
        file.clone_into(&mut self.file);
        self.take_tree(file, "", tree);
    }

    fn take_tree(&mut self, file: &Path, path: &str, tree: &Tree) {
        let Value::Map(entries) = &tree.value else {
            self.complain(file, tree.line, path, "a mapping of keys is expected here".to_owned());
            return;
        };
        for (name, value) in entries {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if let Some(key) = keys::find(&path) {
                self.take_leaf(file, key, value);
            } else if keys::is_section(&path) {
                if value.value != Value::Null {
                    self.take_tree(file, &path, value);
                }
            } else {
                self.complain(file, value.line, &path, unknown(&path));
            }
        }
    }

    fn take_leaf(&mut self, file: &Path, key: &'static Key, tree: &Tree) {
        let origin = Origin::File { file: file.to_owned(), line: tree.line };
        let texts = match &tree.value {
            Value::Null => return,
            Value::Text(text) => split(key, text),
            Value::List(items) if key.form.is_list() => match items.iter().map(plain).collect::<Option<Vec<_>>>() {
                Some(texts) => texts,
                None => return self.complain(file, tree.line, key.path, allowed(key)),
            },
            Value::List(_) | Value::Map(_) => return self.complain(file, tree.line, key.path, allowed(key)),
        };
        self.by_path.insert(key.path, Setting { texts, origin });
    }

    /// Takes every `CONSIGNER_` variable that names a key.
    pub fn take_environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        for (name, text) in variables.into_iter().filter(|(name, _)| name.starts_with(VARIABLE_PREFIX)) {
            if let Some(key) = KEYS.iter().find(|key| key.variable() == name) {
                self.by_path.insert(key.path, Setting { texts: split(key, &text), origin: Origin::Variable(name) });
                continue;
            }
            // Not an error: Kubernetes sets CONSIGNER_SERVICE_HOST and the like for a service of that name.
            let known: Vec<String> = KEYS.iter().map(Key::variable).collect();
            let hint = keys::nearest(&name, known.iter().map(String::as_str))
                .map(|near| format!("; did you mean {near}?"))
                .unwrap_or_default();
            self.remarks.push(format!("environment variable {name} names no configuration key{hint}"));
        }
    }

    /// Takes the flags, in their order.
    pub fn take_flags(&mut self, flags: &[FlagValue]) {
        for FlagValue { target, flag, text } in flags {
            let origin = Origin::Flag(flag.clone());
            let (key, texts) = match target {
                Target::Key(key) => (*key, split(key, text)),
                Target::ListenHost(key) => (*key, vec![format!("{}:{}", bracketed(text), self.listen(key).1)]),
                Target::ListenPort(key) => (*key, vec![format!("{}:{text}", self.listen(key).0)]),
                Target::Seconds(key) => (*key, vec![format!("{text}s")]),
                Target::Refused(reason) => {
                    if super::values::switch(text) != Some(false) {
                        self.problems.push(Problem { origin, key: String::new(), what: (*reason).to_owned() });
                    }
                    continue;
                }
            };
            self.by_path.insert(key.path, Setting { texts, origin });
        }
    }

    /// Host and port of a listening address as they stand now.
    fn listen(&self, key: &Key) -> (String, String) {
        let text = self.get(key).and_then(|setting| setting.texts.into_iter().next()).unwrap_or_default();
        text.rsplit_once(':').map_or_else(|| (text.clone(), String::new()), |(host, port)| (host.into(), port.into()))
    }

    fn complain(&mut self, file: &Path, line: usize, key: &str, what: String) {
        let origin = Origin::File { file: file.to_owned(), line };
        self.problems.push(Problem { origin, key: key.to_owned(), what });
    }
}

fn plain(item: &Tree) -> Option<String> {
    match &item.value {
        Value::Text(text) => Some(text.clone()),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

fn split(key: &Key, text: &str) -> Vec<String> {
    if key.form.is_list() {
        // Web3Signer separates tags with `|`.
        let separator = |c| c == ',' || (c == '|' && key.form == Form::Pairs);
        text.split(separator).map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    } else {
        vec![text.trim().to_owned()]
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

fn allowed(key: &Key) -> String {
    format!("allowed is {}", key.form.allowed())
}

/// Names the nearest key: first among the siblings, where a slip of the pen lands, then among all paths.
fn unknown(path: &str) -> String {
    let siblings = siblings(path);
    let near = keys::nearest(path, siblings.iter().map(String::as_str))
        .map(str::to_owned)
        .or_else(|| keys::nearest(path, KEYS.iter().map(|key| key.path)).map(str::to_owned))
        .or_else(|| same_last_word(path));
    match near {
        Some(near) => format!("unknown key; did you mean \"{near}\"?"),
        None => format!("unknown key; known here are {}", siblings.join(", ")),
    }
}

/// The known keys and sections beside `path`; those of the top level if its parent is unknown.
fn siblings(path: &str) -> Vec<String> {
    let parent = path.rsplit_once('.').map_or("", |(parent, _)| parent);
    let prefix = if parent.is_empty() { String::new() } else { format!("{parent}.") };
    let mut found: Vec<String> = Vec::new();
    for rest in KEYS.iter().filter_map(|key| key.path.strip_prefix(prefix.as_str())) {
        let name = rest.split('.').next().unwrap_or(rest);
        let full = format!("{prefix}{name}");
        if !found.contains(&full) {
            found.push(full);
        }
    }
    found
}

fn same_last_word(path: &str) -> Option<String> {
    let last = path.rsplit('.').next()?;
    let mut matching = KEYS.iter().filter(|key| key.path.rsplit('.').next() == Some(last));
    let only = matching.next()?;
    matching.next().is_none().then(|| only.path.to_owned())
}
