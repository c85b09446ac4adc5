//! Listeners and connections of tokio, on TCP or in a file.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

#[cfg(unix)]
use super::SocketFile;
use super::{Listen, about};

/// What `--listen` named.
pub enum Sockets {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, SocketFile),
}

impl Sockets {
    pub async fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => {
                TcpListener::bind(address).await.map(Self::Tcp).map_err(about(address))
            }
            #[cfg(unix)]
            Listen::Unix(path) => {
                let (listener, file) = SocketFile::listen(path).map_err(about(listen))?;
                listener.set_nonblocking(true)?;
                Ok(Self::Unix(UnixListener::from_std(listener)?, file))
            }
        }
    }

    /// Where clients find it. The scheme is for TCP.
    pub fn url(&self, scheme: &str) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => Ok(format!("{scheme}://{}", listener.local_addr()?)),
            #[cfg(unix)]
            Self::Unix(_, file) => Ok(file.to_string()),
        }
    }

    pub async fn accept(&self) -> io::Result<Box<dyn Socket>> {
        match self {
            Self::Tcp(listener) => Ok(Box::new(listener.accept().await?.0)),
            #[cfg(unix)]
            Self::Unix(listener, _) => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}

/// A connection of either kind.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Sends small writes at once.
    fn set_nodelay(&self) -> io::Result<()>;

    /// The client, for messages about it.
    fn peer(&self) -> String;
}

impl Socket for TcpStream {
    fn set_nodelay(&self) -> io::Result<()> {
        self.set_nodelay(true)
    }

    fn peer(&self) -> String {
        self.peer_addr().map_or("a client that is gone".into(), |address| address.to_string())
    }
}

#[cfg(unix)]
impl Socket for UnixStream {
    fn set_nodelay(&self) -> io::Result<()> {
        Ok(())
    }

    fn peer(&self) -> String {
        "a client".into()
    }
}
