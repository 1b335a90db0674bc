//! A configuration as `doctor` looks at it: key by key, so that a file with mistakes can be examined, too.
//!
//! In: a file, variables. Out: a [`Plan`] that answers by the path of a key. Deliberately absent: judgement
//! ([`super::checks`]), and every check that a start makes anyway (`config::load`, told as one point).

use crate::config::keys;
use crate::config::tree::Tree;
use crate::config::{self, Settings, values};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A configuration is a few hundred lines; more is not one (as `config` has it).
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why there is nothing to examine.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file.
    #[error("{} cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no YAML mapping.
    #[error("{}:{line}: {what}", path.display())]
    Yaml {
        /// Which.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
}

/// A configuration to be examined.
#[derive(Debug)]
pub struct Plan {
    /// The node's name, or the name of the file.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// What a start would refuse; empty if nothing.
    pub refused: Vec<String>,
    base: PathBuf,
    settings: Settings,
}

impl Plan {
    /// Reads a file with the variables laid over it.
    ///
    /// # Errors
    /// A file that cannot be read at all; mistakes in it are [`Self::refused`].
    pub fn read(file: &Path, variables: &[(String, String)]) -> Result<Self, PlanError> {
        let text = read_bounded(file).map_err(|source| PlanError::Read { path: file.to_owned(), source })?;
        let tree = Tree::parse(&text).map_err(|error| PlanError::Yaml {
            path: file.to_owned(),
            line: error.line,
            what: error.what,
        })?;
        let mut settings = Settings::default();
        settings.take_file(file, &tree);
        settings.take_environment(variables.iter().cloned());
        let checked = config::load(file, variables.iter().cloned(), &[])
            .and_then(|loaded| loaded.config.check_files(file).map(drop));
        let refused = match checked {
            Ok(()) => Vec::new(),
            Err(error) => error.0.iter().map(ToString::to_string).collect(),
        };
        let base = file.parent().unwrap_or_else(|| Path::new("")).to_owned();
        let mut plan = Self { name: String::new(), file: file.to_owned(), refused, base, settings };
        plan.name = plan.text("node.name").unwrap_or_else(|| file.display().to_string());
        Ok(plan)
    }

    /// All texts of a key: the value, or the default. A key that this build does not have has none.
    #[must_use]
    pub fn texts(&self, path: &str) -> Vec<String> {
        keys::find(path).and_then(|key| self.settings.get(key)).map(|setting| setting.texts).unwrap_or_default()
    }

    /// The text of a key that is no list; an empty one counts as none.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<String> {
        self.texts(path).into_iter().next().filter(|text| !text.is_empty())
    }

    /// A path, relative ones from the directory of the file.
    #[must_use]
    pub fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(|text| self.base.join(text))
    }

    /// Paths of a list.
    #[must_use]
    pub fn paths(&self, key: &str) -> Vec<PathBuf> {
        self.texts(key).iter().map(|text| self.base.join(text)).collect()
    }

    /// A switch; one that is not readable counts as off.
    #[must_use]
    pub fn switch(&self, path: &str) -> bool {
        self.text(path).and_then(|text| values::switch(&text)).unwrap_or(false)
    }

    /// A whole number.
    #[must_use]
    pub fn number(&self, path: &str) -> Option<u64> {
        self.text(path).and_then(|text| text.parse().ok())
    }

    /// Where a door listens.
    #[must_use]
    pub fn listen(&self, path: &str) -> Option<SocketAddr> {
        self.text(path).and_then(|text| values::listen(&text))
    }

    /// Every key that has a value, with its texts: for looks at all of them.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, Vec<String>)> + '_ {
        keys::KEYS.iter().map(|key| (key.path, self.texts(key.path))).filter(|(_, texts)| !texts.is_empty())
    }
}

fn read_bounded(file: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(file)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}
