//! Asking a running node, over its Unix socket: which one, and what its answers mean for a command.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::config::Layers;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::output::Output;
use crate::machine::status::Status;
use crate::shell::api::SOCKET_PATH_MAX;
use crate::shell::client::{self, Answer, ClientError};
use crate::shell::document::{HeadersDocument, StatusDocument};
use crate::types::block::Point;
use crate::types::clock::Height;

/// Of HTTP.
const BAD_REQUEST: u16 = 400;

/// The interface of one node.
#[derive(Debug)]
pub struct Api {
    socket: PathBuf,
}

/// The body of a refusal.
#[derive(Deserialize)]
struct Refusal {
    error: Reason,
}

#[derive(Deserialize)]
struct Reason {
    code: String,
    message: String,
    action: Option<String>,
}

impl Api {
    /// The node of `--api SOCKET`, of `--config FILE`, or the installed one.
    pub fn choose(api: Option<&Path>, config: Option<&Path>) -> Result<Api, Failure> {
        match (api, config) {
            (Some(_), Some(_)) => Err(Failure::usage("--api and --config exclude each other")),
            (Some(socket), None) if socket.as_os_str().len() > SOCKET_PATH_MAX => {
                let message = format!(
                    "{}: a socket's path has {SOCKET_PATH_MAX} bytes at most",
                    socket.display()
                );
                Err(Failure::usage(message)
                    .action("name it by a shorter path, such as a relative one"))
            }
            (Some(socket), None) => Ok(Api { socket: socket.to_owned() }),
            (None, config) => Ok(Api { socket: Layers::read(config)?.api_socket()? }),
        }
    }

    /// The JSON text of an answer, without a line end.
    pub fn text(&self, path: &str) -> Result<String, Failure> {
        let answer = client::get(&self.socket, path).map_err(|error| self.unreachable(&error))?;
        if answer.status >= 300 {
            return Err(refused(&answer));
        }
        let text = String::from_utf8(answer.body).map_err(|_| malformed())?;
        Ok(text.trim_end().to_owned())
    }

    /// An answer as a value.
    pub fn value<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        parse(&self.text(path)?)
    }

    /// The status of the node; why there is none when its storage failed.
    pub fn status(&self) -> Result<Status, Failure> {
        let StatusDocument { status, cause, action, .. } = self.value("/v1/status")?;
        status.ok_or_else(|| {
            let message = cause.unwrap_or_else(|| "the storage failed".to_owned());
            let action = action.unwrap_or_else(|| "look at the disk".to_owned());
            Failure::new(Exit::Storage, "storage", message).action(action)
        })
    }

    /// The block of the best chain at a height; nothing above its tip.
    pub fn point_at(&self, height: Height) -> Result<Option<Point>, Failure> {
        let path = format!("/v1/headers?start={height}&count=1");
        let answer: HeadersDocument = self.value(&path)?;
        let hash = answer.headers.first().and_then(|header| header.hash);
        Ok(hash.map(|hash| Point { height, hash }))
    }

    /// Prints the answer as it is, which is the JSON form of most commands.
    pub fn print(&self, path: &str, out: &mut Output) -> Outcome {
        out.line(self.text(path)?)?;
        Ok(Exit::Done)
    }

    fn unreachable(&self, error: &ClientError) -> Failure {
        let message = format!("no answer from the node at {}", self.socket.display());
        match error {
            ClientError::NotRunning => Failure::new(
                Exit::Unreachable,
                "not_running",
                format!("no node is running at {}", self.socket.display()),
            )
            .action("start one with `hypernode run`, or name another with --config or --api"),
            ClientError::Permission => Failure::new(Exit::Permission, "permission", message)
                .because(error)
                .action("run it as the user of the node, or as a member of its group"),
            ClientError::Timeout
            | ClientError::TooLong
            | ClientError::Malformed
            | ClientError::Io(_) => Failure::new(Exit::Unreachable, "unreachable", message)
                .because(error)
                .action("look at its log; start it again when it stays so"),
        }
    }
}

/// A value from the text of an answer.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| malformed().because(&error))
}

fn malformed() -> Failure {
    Failure::new(Exit::Unreachable, "malformed", "the node's answer is not understood")
        .action("use the same version for commands and node")
}

fn refused(answer: &Answer) -> Failure {
    match serde_json::from_slice(&answer.body) {
        Ok(Refusal { error: Reason { code, message, action } }) => {
            let exit = match code.as_str() {
                "storage_failed" => Exit::Storage,
                // The arguments went into the request.
                _ if answer.status == BAD_REQUEST => Exit::Usage,
                _ => Exit::Failed,
            };
            let failure = Failure::new(exit, code, message);
            match action {
                Some(action) => failure.action(action),
                None => failure,
            }
        }
        Err(_) => malformed(),
    }
}
