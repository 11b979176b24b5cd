//! The network that `--network` means: `main` and `test` are compiled in, everything else is a file.

use std::path::Path;

use super::exit::Exit;
use super::failure::Failure;
use super::file;
use crate::types::network::Network;

/// Bytes of a network file: 4,096 founders and 400 sets of parameters take 1 MiB.
pub const FILE_MAX: u64 = 2 * 1024 * 1024;

/// A network by its name or its file.
pub fn load(choice: &str) -> Result<Network, Failure> {
    match choice {
        "main" => Ok(Network::main()),
        "test" => Ok(Network::test()),
        file => load_file(Path::new(file)).map_err(|failure| match failure.exit() {
            Exit::Missing => failure.action("a network is main, test, or the path of its file"),
            _ => failure,
        }),
    }
}

/// A network from its file.
pub fn load_file(path: &Path) -> Result<Network, Failure> {
    let text = file::read(path, FILE_MAX, "network file")?;
    Network::parse(&text).map_err(|error| {
        let message = format!("network file {} is wrong", path.display());
        let check = format!("see `hypernode network check {}`", path.display());
        Failure::new(Exit::Configuration, "network", message).because(&error).action(check)
    })
}
