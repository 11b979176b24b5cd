//! A node of a small network: its directory, and its process while it runs.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use hypernode::machine::status::{Duty, Status};
use hypernode::shell::client;
use hypernode::shell::crash;
use hypernode::shell::document::{PeersDocument, RecentDocument, StatusDocument};
use hypernode::shell::engine::RecentBlock;
use hypernode::shell::guard::Guard;
use hypernode::types::clock::{Round, Slot};
use hypernode::types::codec;
use hypernode::types::hex;
use hypernode::types::key::SecretKey;
use hypernode::types::network::Network;
use hypernode::types::sign::BlockRecord;
use hypernode::types::tx::Tx;
use rustix::process::Signal;

use crate::cluster::{send, wait_for};

/// A node, running or not.
pub struct Member {
    dir: PathBuf,
    process: Option<Child>,
}

impl Member {
    /// Makes the directory of a founder. It does not run yet.
    pub fn new(dir: PathBuf, network: &Network, key: &SecretKey) -> Member {
        let public = key.public();
        let founder = network.founders.iter().find(|founder| founder.public_key == public);
        let listen = founder.unwrap().endpoint();
        fs::create_dir_all(&dir).unwrap();
        let mut key_file = File::options();
        let key_file = key_file.create_new(true).write(true).mode(0o600).open(dir.join("key.pem"));
        key_file.unwrap().write_all(key.to_pem().as_bytes()).unwrap();
        fs::write(dir.join("network.toml"), network.to_toml()).unwrap();
        let config = format!(
            "network = \"network.toml\"\nkey = \"key.pem\"\nlisten = \"{listen}\"\ndata_dir = \"data\"\n\
             sign_dir = \"sign\"\napi_socket = \"api.sock\"\nmemory = \"1GB\"\nmap_size = \"1MiB\"\nlog = \"debug\"\n"
        );
        fs::write(dir.join("hypernode.toml"), config).unwrap();
        // As `init` does for a key that it makes.
        Guard::begin(&dir.join("sign"), network.id(), public).unwrap();
        Member { dir, process: None }
    }

    /// The directory of the database.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The file of what it signed.
    pub fn sign_state(&self) -> PathBuf {
        self.dir.join("sign/sign-state")
    }

    /// Another one with its key, network and sign state, copied, which listens elsewhere.
    pub fn copied_to(&self, dir: PathBuf, listen: &str) -> Member {
        fs::create_dir_all(&dir).unwrap();
        copy(&self.dir.join("sign"), &dir.join("sign"));
        for name in ["key.pem", "network.toml"] {
            fs::copy(self.dir.join(name), dir.join(name)).unwrap();
        }
        let config = fs::read_to_string(self.dir.join("hypernode.toml")).unwrap();
        let lines = config.lines().map(|line| match line.starts_with("listen") {
            true => format!("listen = \"{listen}\"\n"),
            false => format!("{line}\n"),
        });
        fs::write(dir.join("hypernode.toml"), lines.collect::<String>()).unwrap();
        Member { dir, process: None }
    }

    /// Logs from its next start on what matters so much.
    pub fn log_at(&self, level: &str) {
        self.edit("hypernode.toml", "log = \"debug\"", &format!("log = \"{level}\""));
    }

    /// Puts other words into one of its files.
    pub fn edit(&self, file: &str, before: &str, after: &str) {
        let path = self.dir.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(before), "{before:?} is not in {file}");
        fs::write(path, text.replace(before, after)).unwrap();
    }

    /// The number of its process.
    pub fn process(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// Whether its process has ended, and how.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.process.as_mut().and_then(|process| process.try_wait().unwrap())
    }

    /// Starts the process.
    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts a process that dies at the so many-th point of those in [`crash`].
    pub fn start_to_die_at(&mut self, point: u64) {
        self.start_with(&[(crash::VARIABLE, &point.to_string())]);
    }

    /// Starts the process with more in its environment.
    pub fn start_with(&mut self, environment: &[(&str, &str)]) {
        self.spawn(Command::new(env!("CARGO_BIN_EXE_hypernode")), environment);
    }

    /// Starts the process as systemd does that watches it: it names the process whose watchdog it is.
    pub fn start_watched(&mut self, environment: &[(&str, &str)]) {
        let mut shell = Command::new("sh");
        shell.args(["-c", "WATCHDOG_PID=$$ exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_hypernode")]);
        self.spawn(shell, environment);
    }

    fn spawn(&mut self, mut command: Command, environment: &[(&str, &str)]) {
        assert!(self.process.is_none(), "it runs");
        let log = File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        command
            .args(["run", "--config", "hypernode.toml"])
            .current_dir(&self.dir)
            .env_clear()
            // A test that fails leaves nothing behind.
            .env("HYPERNODE_LIVES_WITH", std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command.envs(environment.iter().copied());
        self.process = Some(command.spawn().unwrap());
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        send(self.process.as_ref().unwrap().id(), signal);
    }

    /// Waits for the end of the process.
    pub fn end(&mut self) -> ExitStatus {
        let mut process = self.process.take().unwrap();
        wait_for("its end", || process.try_wait().unwrap())
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let end = self.end();
        assert!(end.success(), "{end}: {}", self.log());
    }

    /// How it is as soon as it is so; it must not end before.
    pub fn wait(&mut self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        wait_for(&format!("{what} at {}", self.dir.display()), || {
            let process = self.process.as_mut().unwrap();
            if let Some(end) = process.try_wait().unwrap() {
                panic!("{what}: it has ended, {end}: {}", self.log());
            }
            self.status().filter(&is_so)
        })
    }

    /// How it did in a slot of its own, as soon as that is done.
    pub fn wait_for_duty(&mut self, slot: Slot) -> (Duty, Status) {
        let status = self.wait("a slot's end", |status| duty(status, slot).is_some());
        (duty(&status, slot).unwrap(), status)
    }

    /// The valid blocks that it has ever received in this process.
    pub fn recent(&self) -> Vec<RecentBlock> {
        let answer = client::get(&self.socket(), "/v1/blocks/recent").unwrap();
        serde_json::from_slice::<RecentDocument>(&answer.body).unwrap().blocks
    }

    /// Its connections, and how others ended.
    pub fn peers(&self) -> PeersDocument {
        let answer = client::get(&self.socket(), "/v1/peers").unwrap();
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Runs a command that asks it.
    pub fn command(&self, name: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hypernode"));
        command.args([name, "--api"]).arg(self.socket()).output().unwrap()
    }

    /// Gives it messages, in this order; false when it dies of one.
    pub fn submit(&self, messages: &[Tx]) -> bool {
        messages.iter().all(|tx| {
            let text = hex::encode(&codec::encode(tx));
            client::post(&self.socket(), "/v1/txs", text.as_bytes()).is_ok()
        })
    }

    /// What it has signed, as it would find it now. The file stays as it is.
    pub fn signed(&self) -> Option<BlockRecord> {
        Guard::look(&self.dir.join("sign")).unwrap().state.block
    }

    /// What it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("api.sock")
    }

    /// How it is, if it answers.
    pub fn status(&self) -> Option<Status> {
        let answer = client::get(&self.socket(), "/v1/status").ok()?;
        serde_json::from_slice::<StatusDocument>(&answer.body).unwrap().status
    }
}

/// What became of a slot of round 0, if it is done.
pub fn duty(status: &Status, slot: Slot) -> Option<Duty> {
    let at = |duty: &&Duty| (duty.round, duty.slot) == (Round(0), slot);
    status.duties.recent.iter().find(at).copied()
}

/// Makes a copy of a directory in the place of another.
pub fn copy(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
