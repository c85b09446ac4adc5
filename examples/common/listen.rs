//! Where a server listens: an address, or the file of a Unix socket.

use std::fmt;
#[cfg(unix)]
use std::{
    io,
    os::unix::fs::FileTypeExt,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
};

/// The value of `--listen`.
#[derive(Clone)]
pub enum Listen {
    Tcp(String),
    #[cfg(unix)]
    Unix(PathBuf),
}

impl Listen {
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text.strip_prefix("unix:") {
            None => Ok(Self::Tcp(text.into())),
            #[cfg(unix)]
            Some(path) if !path.is_empty() => Ok(Self::Unix(path.into())),
            #[cfg(unix)]
            Some(_) => Err("expected a path after unix:"),
            #[cfg(not(unix))]
            Some(_) => Err("this system has no Unix sockets"),
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self::Tcp("127.0.0.1:9001".into())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            #[cfg(unix)]
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The file of a Unix socket that this program listens on. It is removed when this is dropped.
#[cfg(unix)]
pub struct SocketFile(PathBuf);

#[cfg(unix)]
impl SocketFile {
    /// Listens. A socket that nobody listens on was left by a program that was killed. It is replaced.
    pub fn listen(path: &Path) -> io::Result<(UnixListener, Self)> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                remove_unused(path)?;
                UnixListener::bind(path)?
            }
            result => result?,
        };
        Ok((listener, Self(path.into())))
    }
}

#[cfg(unix)]
fn remove_unused(path: &Path) -> io::Result<()> {
    let in_use = |why| Err(io::Error::new(io::ErrorKind::AddrInUse, why));
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return in_use("there is a file of another kind; remove it, or choose another path");
    }
    match UnixStream::connect(path) {
        Ok(_) => in_use("another program listens there; end it, or choose another path"),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
impl fmt::Display for SocketFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix:{}", self.0.display())
    }
}

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may be gone already, which is what is wanted.
        let _ = std::fs::remove_file(&self.0);
    }
}
