//! Where the surface listens: opened, or refused with what to do.
//!
//! A socket's file that nobody listens on any more (its process was killed) is replaced; one that somebody listens on is not.

use crate::error::{Class, Classified};
use std::fs::{self, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Connections that wait to be accepted, of the socket in the file system.
const SOCKET_BACKLOG: u32 = 64;
/// Only the worker's own user may use the socket in the file system.
const SOCKET_MODE: u32 = 0o600;

/// Where to listen.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// For TCP. Port 0: any that is free.
    pub tcp: Option<SocketAddr>,
    /// A socket in the file system.
    pub socket: Option<PathBuf>,
}

/// A place that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A port.
    #[error(
        "port {} of {} cannot be listened on: {why}; if another worker or scanner of this host has it, give this one \
         another --health-port (HEALTH_PORT), 0 for any that is free, or off", address.port(), address.ip()
    )]
    Port {
        /// Which.
        address: SocketAddr,
        /// Why.
        why: io::Error,
    },
    /// Somebody listens there.
    #[error(
        "--admin-socket {}: a process listens there already; give each process a socket of its own",
        path.display()
    )]
    SocketTaken {
        /// Where.
        path: PathBuf,
    },
    /// A file that is no socket.
    #[error("--admin-socket {}: there is a file there that is no socket, and it is left alone; give another path", path.display())]
    NoSocket {
        /// Where.
        path: PathBuf,
    },
    /// A socket.
    #[error(
        "--admin-socket {}: it cannot be made: {why}; its folder must be there and be writable, and the path be short",
        path.display()
    )]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
}

impl Classified for ListenError {
    fn class(&self) -> Class {
        Class::Permanent
    }
}

/// A socket's file, removed when it is dropped.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(socket = %self.0.display(), %error, "the admin socket could not be removed");
        }
    }
}

/// Open listeners. What connects waits until they are served.
#[derive(Debug)]
pub struct Listeners {
    pub(super) tcp: Option<TcpListener>,
    pub(super) address: Option<SocketAddr>,
    pub(super) unix: Option<std::os::unix::net::UnixListener>,
    pub(super) socket: Option<SocketFile>,
}

impl Listeners {
    /// Opens them all, or none.
    ///
    /// # Errors
    /// The first that cannot be, with what to do.
    pub fn open(places: &Places) -> Result<Self, ListenError> {
        let tcp = places.tcp.map(|address| {
            let failed = |why| ListenError::Port { address, why };
            let listener = TcpListener::bind(address).map_err(failed)?;
            listener.set_nonblocking(true).map_err(failed)?;
            let taken = listener.local_addr().map_err(failed)?;
            Ok((listener, taken))
        });
        let (tcp, address) = tcp.transpose()?.unzip();
        let unix = places.socket.as_deref().map(open_socket).transpose()?;
        let (unix, socket) = unix.unzip();
        Ok(Self { tcp, address, unix, socket })
    }

    /// Where TCP is listened on, if it is.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

fn open_socket(path: &Path) -> Result<(std::os::unix::net::UnixListener, SocketFile), ListenError> {
    let failed = |why| ListenError::Socket { path: path.to_path_buf(), why };
    replace_stale(path)?;
    // Nobody can connect between the two: it is listened on only once its permissions are set.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
    let _entered = runtime.enter();
    let socket = tokio::net::UnixSocket::new_stream().map_err(failed)?;
    socket.bind(path).map_err(failed)?;
    let file = SocketFile(path.to_path_buf());
    fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
    let listener = socket.listen(SOCKET_BACKLOG).and_then(|listener| listener.into_std()).map_err(failed)?;
    Ok((listener, file))
}

/// Removes the file of a process that is gone.
fn replace_stale(path: &Path) -> Result<(), ListenError> {
    let failed = |why| ListenError::Socket { path: path.to_path_buf(), why };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ListenError::NoSocket { path: path.to_path_buf() });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
        Ok(_) => Err(ListenError::SocketTaken { path: path.to_path_buf() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(path: &Path) -> Places {
        Places { tcp: None, socket: Some(path.to_path_buf()) }
    }

    #[test]
    fn a_port_that_is_taken_is_named_with_what_to_do() {
        let first = Listeners::open(&Places { tcp: Some(([127, 0, 0, 1], 0).into()), socket: None }).unwrap();
        let taken = first.address().unwrap();
        let refused = Listeners::open(&Places { tcp: Some(taken), socket: None }).unwrap_err().to_string();
        assert!(refused.contains(&taken.port().to_string()), "{refused}");
        assert!(refused.contains("--health-port") && refused.contains("HEALTH_PORT"), "{refused}");
    }

    #[test]
    fn a_socket_is_private_and_goes_with_its_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let open = Listeners::open(&socket(&path)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SOCKET_MODE);
        assert!(matches!(Listeners::open(&socket(&path)), Err(ListenError::SocketTaken { .. })));
        drop(open);
        assert!(!path.exists());
    }

    #[test]
    fn only_a_socket_that_nobody_listens_on_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        // Dropping a listener of the standard library leaves its file, as a kill does.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(Listeners::open(&socket(&path)).unwrap());
        fs::write(&path, "mine").unwrap();
        assert!(matches!(Listeners::open(&socket(&path)), Err(ListenError::NoSocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        let nowhere = folder.path().join("missing/admin.sock");
        let refused = Listeners::open(&socket(&nowhere)).unwrap_err().to_string();
        assert!(refused.contains("admin.sock") && refused.contains("folder"), "{refused}");
    }
}
