//! A client of the API for commands: blocking HTTP/1.1 over a Unix socket, one request for each connection, with
//! nothing but system calls so that a command starts at once.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{self, Timeout};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Longest answer: 512 headers take 0.5 MiB.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// For the whole request.
const TIME: Duration = Duration::from_secs(10);
/// The head of an answer: ours has 150 bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What the node answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Of HTTP: 200 for success.
    pub status: u16,
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum ClientError {
    /// No socket there, or nobody listens on it.
    NotRunning,
    /// The socket is not for this user.
    Permission,
    /// No answer within ten seconds.
    Timeout,
    /// Longer than 16 MiB.
    TooLong,
    /// Not an answer of HTTP, or one cut off.
    Malformed,
    Io(io::Error),
}

/// Asks for a path.
pub fn get(socket: &Path, path: &str) -> Result<Answer, ClientError> {
    request(socket, "GET", path, &[], TIME)
}

/// Sends a body to a path.
pub fn post(socket: &Path, path: &str, body: &[u8]) -> Result<Answer, ClientError> {
    request(socket, "POST", path, body, TIME)
}

#[allow(clippy::disallowed_methods, reason = "a deadline is kept by a clock")]
fn request(
    socket: &Path,
    method: &str,
    path: &str,
    body: &[u8],
    time: Duration,
) -> Result<Answer, ClientError> {
    let deadline = Instant::now() + time;
    let mut stream = connect(socket, time)?;
    let mut bytes = format!(
        "{method} {path} HTTP/1.1\r\nHost: hypernode\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    // A server may answer and close before it has read a body that is too long: the answer counts.
    let written = stream.write_all(&bytes);
    let mut answer = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ClientError::Timeout);
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) if !answer.is_empty() => break,
            Err(error) => return Err(written.err().unwrap_or(error).into()),
        }
        if answer.len() > ANSWER_BYTES_MAX {
            return Err(ClientError::TooLong);
        }
    }
    parse(&answer).ok_or(ClientError::Malformed)
}

/// A node that stands still accepts nothing: without a limit, connecting would wait for it for ever.
fn connect(socket: &Path, time: Duration) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(socket)?;
    let flags = SocketFlags::CLOEXEC;
    let stream = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_timeout(&stream, Timeout::Send, Some(time))?;
    net::connect(&stream, &address)?;
    Ok(UnixStream::from(stream))
}

/// Status and body of an answer that is whole. The server names the length of every body.
fn parse(answer: &[u8]) -> Option<Answer> {
    let end = answer.iter().take(HEAD_BYTES_MAX).position(|byte| *byte == b'\r' || *byte == 0)?;
    let status_line = std::str::from_utf8(&answer[..end]).ok()?;
    let status = status_line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let head_end = answer.windows(4).take(HEAD_BYTES_MAX).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..head_end]).ok()?;
    let body = &answer[head_end + 4..];
    let length = head.lines().skip(1).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    })?;
    (body.len() == length).then(|| Answer { status, body: body.to_vec() })
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> ClientError {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning,
            io::ErrorKind::PermissionDenied => ClientError::Permission,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::Timeout,
            _ => ClientError::Io(error),
        }
    }
}

impl ClientError {
    /// The exit code of a command that gets no answer; `status` has its own for a node that is not running.
    pub fn exit_code(&self) -> u8 {
        match self {
            ClientError::Permission => 77,
            ClientError::NotRunning
            | ClientError::Timeout
            | ClientError::TooLong
            | ClientError::Malformed
            | ClientError::Io(_) => 69,
        }
    }

    /// Its name in JSON.
    pub fn code(&self) -> &'static str {
        match self {
            ClientError::NotRunning => "not_running",
            ClientError::Permission => "permission",
            ClientError::Timeout => "timeout",
            ClientError::TooLong => "too_long",
            ClientError::Malformed => "malformed",
            ClientError::Io(_) => "io",
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::NotRunning => f.write_str("no node answers there"),
            ClientError::Permission => f.write_str("the node's socket is not for this user"),
            ClientError::Timeout => f.write_str("the node did not answer in ten seconds"),
            ClientError::TooLong => f.write_str("the node's answer is longer than 16 MiB"),
            ClientError::Malformed => f.write_str("what answers there is not a node"),
            ClientError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ClientError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_is_one() {
        let status = |text: &str| parse(text.as_bytes()).map(|answer| answer.status);
        assert_eq!(status("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), Some(200));
        assert_eq!(
            status("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"),
            Some(503)
        );
        for bad in [
            "",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 2\r\nContent-Length: 0\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn a_node_that_stands_still_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("api.sock");
        let socket = net::socket(AddressFamily::UNIX, SocketType::STREAM, None).expect("one more");
        let address = SocketAddrUnix::new(&path).expect("it is short");
        net::bind(&socket, &address).expect("the directory is ours");
        net::listen(&socket, 1).expect("it is bound");
        // First nobody answers, then the queue is full and nothing even connects: each must end.
        for _ in 0..4 {
            let asked = request(&path, "GET", "/health", &[], Duration::from_millis(20));
            assert!(matches!(asked, Err(ClientError::Timeout)), "{asked:?}");
        }
    }

    #[test]
    fn nobody_there_is_told_apart() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("api.sock");
        assert!(matches!(get(&path, "/health"), Err(ClientError::NotRunning)));
        drop(std::os::unix::net::UnixListener::bind(&path));
        assert!(matches!(get(&path, "/health"), Err(ClientError::NotRunning)));
    }
}
