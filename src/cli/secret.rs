//! The key file of a node: made with mode 0600 and never overwritten; a wider one is not read.

use std::path::Path;

use super::exit::Exit;
use super::failure::Failure;
use super::file;
use crate::shell::host;
use crate::types::key::SecretKey;

/// Owner reads and writes, nobody else anything.
const MODE: u32 = 0o600;

/// Bytes from the randomness of the system.
#[allow(clippy::disallowed_methods, reason = "keys are made here")]
pub fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        let message = format!("the system gives no randomness: {error}");
        Failure::new(Exit::Failed, "randomness", message)
            .action("make the key on another machine, and copy it here")
    })?;
    Ok(bytes)
}

/// A new key.
pub fn generate() -> Result<SecretKey, Failure> {
    Ok(SecretKey::from_seed(random()?))
}

/// Writes a key to a new file.
pub fn create(path: &Path, key: &SecretKey) -> Result<(), Failure> {
    file::create(path, &key.to_pem(), MODE, "key file")
}

/// Reads a key file that nobody else can read.
pub fn read(path: &Path) -> Result<SecretKey, Failure> {
    host::read_key(path).map_err(|error| {
        let exit = Exit::from_code(error.exit_code());
        Failure::new(exit, error.code(), error.to_string()).action(error.action())
    })
}

/// A key from its text; `what` is what people call the text.
pub fn parse(text: &str, what: &str) -> Result<SecretKey, Failure> {
    SecretKey::from_pem(text).map_err(|error| {
        let message = format!("{what} holds no key");
        Failure::new(Exit::Configuration, "key_format", message)
            .because(&error)
            .action("it has to be what `hypernode key export --secret` prints")
    })
}
