//! The API: HTTP/1.1 on a Unix socket, for commands, scripts and pages.
//!
//! Reads go straight to the core's values and the database; what changes something is an event for the driver. One
//! request for each connection. Connections, header and body bytes, and time are bounded.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use async_net::unix::UnixListener;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use rustix::fs::Mode;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use smol::channel::Sender;
use smol::future::FutureExt;
use smol::io::{AsyncRead, AsyncWrite};
use smol::{Async, LocalExecutor, Task, Timer};
use smol_hyper::rt::{FuturesIo, SmolTimer};

use super::clock::SystemClock;
use super::crowd::Refused;
use super::engine::Engine;
use crate::machine::event::Answer;
use crate::types::tx::Tx;

mod error;
mod route;

pub use error::ApiError;

/// Connections served at once; more wait in the socket's own queue.
const CONNECTIONS_MAX: usize = 32;
/// Bytes of a request before its body.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a body: a message has at most 4,096, twice that in hex.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// What clients may make us hold: their requests, and one answer at a time of the size that our own client takes.
pub const MEMORY_BYTES: usize =
    CONNECTIONS_MAX * (HEAD_BYTES_MAX + BODY_BYTES_MAX) + super::client::ANSWER_BYTES_MAX;
/// From accepting a connection to closing it.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// Longest path of a Unix socket, in bytes: the kernel has 108, one of them a zero.
pub const SOCKET_PATH_MAX: usize = 107;
/// For the node's user and group.
const SOCKET_MODE: u32 = 0o660;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// A message that a client submits, and where its answer goes. Dropped without an answer, the storage has failed.
pub struct Submission {
    pub tx: Box<Tx>,
    pub answer: Sender<Answer>,
}

/// What the API reads, and where it sends what it cannot read.
pub struct View {
    pub engine: Rc<RefCell<Engine>>,
    pub clock: Rc<SystemClock>,
    pub refused: Refused,
    pub submissions: Sender<Submission>,
}

/// The running API. Dropping it ends it and takes its socket away.
pub struct Api {
    path: PathBuf,
    workers: Vec<Task<()>>,
}

/// Why there is no API.
#[derive(Debug)]
pub enum SocketError {
    /// A socket's path has at most 107 bytes.
    TooLong {
        path: PathBuf,
    },
    /// Something else has this name.
    NoSocket {
        path: PathBuf,
    },
    /// Another process answers there.
    InUse {
        path: PathBuf,
    },
    Io {
        path: PathBuf,
        error: io::Error,
    },
}

/// Makes the socket. The caller holds the data directory, so that a socket nobody answers is a leftover.
pub fn bind(path: &Path) -> Result<UnixListener, SocketError> {
    let failed = |error| SocketError::Io { path: path.to_owned(), error };
    if path.as_os_str().len() > SOCKET_PATH_MAX {
        return Err(SocketError::TooLong { path: path.to_owned() });
    }
    match std::fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err(SocketError::NoSocket { path: path.to_owned() });
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(SocketError::InUse { path: path.to_owned() });
        }
        Ok(_) => std::fs::remove_file(path).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = make(path).map_err(failed)?;
    Async::new(listener).map(UnixListener::from).map_err(failed)
}

/// A socket that is never open to others: its name appears with the mode that the socket has by then, and the umask of
/// the process, which all threads share, stays as it is.
fn make(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let (flags, address) = (SocketFlags::CLOEXEC, SocketAddrUnix::new(path)?);
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(SOCKET_MODE))?;
    net::bind(&socket, &address)?;
    // The umask may have taken rights away.
    std::fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

impl Api {
    /// Answers on a socket made by [`bind`].
    pub fn start(
        executor: &LocalExecutor<'static>,
        listener: UnixListener,
        path: &Path,
        view: View,
    ) -> Api {
        let view = Rc::new(view);
        // A worker for each connection that may be: so their number is bounded.
        let worker = || executor.spawn(work(listener.clone(), Rc::clone(&view)));
        let workers = std::iter::repeat_with(worker).take(CONNECTIONS_MAX).collect();
        Api { path: path.to_owned(), workers }
    }

    /// Ends it; when this returns, it holds nothing of what it was started with.
    pub async fn stop(mut self) {
        for worker in std::mem::take(&mut self.workers) {
            worker.cancel().await;
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn work(listener: UnixListener, view: Rc<View>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => serve(stream, &view).await,
            Err(error) => {
                log::warn!("the API accepts no connection: {error}");
                Timer::after(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Answers the one request of a client, and ends its stream.
pub async fn serve<S>(stream: S, view: &Rc<View>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request| {
        let view = Rc::clone(view);
        async move { Ok::<_, Infallible>(answer(&view, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(SmolTimer::new())
        .header_read_timeout(CONNECTION_TIME)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(FuturesIo::new(stream), service);
    let late = async {
        Timer::after(CONNECTION_TIME).await;
        Ok(())
    };
    if let Err(error) = connection.or(late).await {
        log::debug!("the API lost a connection: {error}");
    }
}

async fn answer<B>(view: &View, request: Request<B>) -> Response<Full<Bytes>>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let path = request.uri().path();
    let result = match (request.method(), path) {
        (&Method::POST, "/v1/txs") => match body(request.into_body()).await {
            Ok(bytes) => route::submit(view, &bytes).await,
            Err(error) => Err(error),
        },
        (&Method::GET, path) if path != "/v1/txs" => {
            route::read(view, path, request.uri().query().unwrap_or(""))
        }
        (_, path) => Err(match route::method(path) {
            Some(allowed) => ApiError::method(allowed),
            None => ApiError::not_found("there is nothing of this name"),
        }),
    };
    let allowed = result.as_ref().err().and_then(|error| error.allowed);
    let (status, json) = result.unwrap_or_else(|error| (error.status, error.to_json()));
    let mut response = Response::new(Full::new(Bytes::from(json)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(method) = allowed {
        headers.insert(ALLOW, HeaderValue::from_static(method));
    }
    response
}

async fn body<B>(body: B) -> Result<Bytes, ApiError>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            "the body is longer than 16 KiB",
            "send one signed message in hex",
        )),
        Err(_) => Err(ApiError::bad("bad_body", "the body did not arrive whole")),
    }
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SocketError::TooLong { path } => write!(
                f,
                "the path of the API's socket is longer than {SOCKET_PATH_MAX} bytes: {}",
                path.display()
            ),
            SocketError::NoSocket { path } => {
                write!(f, "{} is there and is no socket", path.display())
            }
            SocketError::InUse { path } => {
                write!(f, "another node answers on {}", path.display())
            }
            SocketError::Io { path, error } => {
                write!(f, "cannot make the API's socket {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for SocketError {}

#[cfg(test)]
mod tests;
