//! Opens the connection. Certificates and password are read anew each time, so that their rotation needs no restart.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use tokio::time::timeout;
use tokio_postgres::config;
use zeroize::Zeroizing;

use super::place::ValidatorIds;
use super::{Archive, ArchiveDb, ArchiveError, ChannelBinding, PasswordSource, ServerProof, session};
use crate::postgres::{self, ConnectFault, Target};

/// The longest password that is read, in bytes; stops a path that points at a device.
const PASSWORD_BYTES_MAX: u64 = 4096;

/// Bits of a file's mode that let everybody on the machine read or change it. A group may read: that is how orchestrators
/// hand secrets to a process that is not root.
const LOOSE: u32 = 0o027;

impl ArchiveDb {
    /// Whether [`ArchiveDb::connect`] can use the URL; nothing outside is touched.
    ///
    /// # Errors
    /// [`ArchiveError::Url`].
    pub fn check_url(&self) -> Result<(), ArchiveError> {
        postgres::check_url(&self.url, &self.server).map_err(|fault| match fault {
            ConnectFault::Url(why) => ArchiveError::Url(why),
            ConnectFault::File { path, problem } => ArchiveError::File { path, problem },
            ConnectFault::Connect(source) => ArchiveError::Unreachable(source),
        })
    }

    /// Connects, with what certificates and password are now.
    ///
    /// # Errors
    /// Of the classes `address`, `tls`, `auth`, `deadline`.
    pub async fn connect(&self) -> Result<Archive, ArchiveError> {
        let (asked, limit) = (self.clone(), self.deadline);
        let what = "answer the call for a connection";
        let opening = async move {
            // Files may lie on something that hangs.
            let read = tokio::task::spawn_blocking(move || asked.read_secrets());
            let password = read.await.map_err(|_| ArchiveError::Password("reading it failed".to_owned()))??;
            let channel_binding = match self.channel_binding {
                ChannelBinding::Require => config::ChannelBinding::Require,
                ChannelBinding::Prefer => config::ChannelBinding::Prefer,
            };
            let (url, server, application) = (self.url.as_str(), &self.server, self.application);
            let target = Target { url, password: password.as_ref(), server, channel_binding, application };
            postgres::connect(&target).await.map_err(|fault| match fault {
                ConnectFault::Url(why) => ArchiveError::Url(why),
                ConnectFault::File { path, problem } => ArchiveError::File { path, problem },
                ConnectFault::Connect(error) => session::not_connected(limit, error),
            })
        };
        let session = timeout(limit, opening).await.map_err(|_| ArchiveError::Deadline { what, limit })??;
        Ok(Archive { session, deadline: limit, validators: ValidatorIds::default() })
    }

    fn read_secrets(&self) -> Result<Option<Zeroizing<String>>, ArchiveError> {
        if let ServerProof::Tls { identity: Some((_, key)), .. } = &self.server {
            let read = private(key).map(drop);
            read.map_err(|problem| ArchiveError::File { path: key.clone(), problem })?;
        }
        let text = match &self.password {
            PasswordSource::None => return Ok(None),
            PasswordSource::File(path) => {
                private(path).map_err(|why| ArchiveError::Password(format!("{}: {why}", path.display())))?
            }
            PasswordSource::Env(name) => {
                let value = std::env::var(name);
                Zeroizing::new(value.map_err(|_| ArchiveError::Password(format!("no variable {name} with a text")))?)
            }
        };
        let password = text.trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            return Err(ArchiveError::Password("it is empty".to_owned()));
        }
        Ok(Some(Zeroizing::new(password.to_owned())))
    }
}

/// The text of a file that not everybody may read.
fn private(path: &Path) -> Result<Zeroizing<String>, String> {
    // Without NONBLOCK, opening a pipe would wait for a writer for ever; for files it changes nothing.
    let no_wait = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(no_wait).open(path);
    let file = opened.map_err(|error| error.to_string())?;
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is no file".to_owned());
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & LOOSE != 0 {
        return Err(format!("it has mode {mode:03o}; only its owner (and readers of its group) may have access"));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(PASSWORD_BYTES_MAX).read_to_string(&mut text).map_err(|_| "it cannot be read as text".to_owned())?;
    Ok(text)
}
