//! The configuration file: what is wrong in it has a line of the file, and what is right reads the same when it is
//! written as `config show` shows it, in a file elsewhere.

#![no_main]

use std::fmt::Write;
use std::path::Path;

use hypernode::cli::config::Layers;
use hypernode::cli::config::raw::{Key, Place, Raw};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let file = Path::new("/nowhere/hypernode.toml");
    let layers = read(file, text);
    let lines = text.lines().count().max(1);
    let is_there = |place: &Place| match place {
        Place::Line(path, line) => path == file && (1..=lines).contains(line),
        Place::Environment(_) | Place::Flag(_) => false,
    };
    let settings = Key::ALL.into_iter().filter_map(|key| layers.raw.setting(key));
    assert!(settings.into_iter().all(|setting| is_there(&setting.place)));
    assert!(layers.raw.faults().iter().all(|fault| is_there(&fault.place)));
    // Another network would be a file of this machine.
    let network = layers.raw.setting(Key::Network);
    if network.is_some_and(|setting| !matches!(setting.text.as_str(), "main" | "test")) {
        return;
    }
    let faults = layers.faults();
    assert!(faults.iter().all(|fault| is_there(&fault.place)));
    assert_eq!(layers.validate().is_ok(), faults.len() == layers.raw.faults().len());
    if !faults.is_empty() {
        return;
    }
    let again = read(Path::new("/elsewhere/other.toml"), &shown(&layers));
    assert_eq!(again.faults(), Vec::new());
    for key in Key::ALL {
        assert_eq!(again.effective(key).0, layers.effective(key).0, "{}", key.name());
    }
    let [before, after] = [&layers, &again].map(|layers| {
        let config = layers.validate().expect("nothing is wrong");
        let files = [config.key, config.data_dir, config.sign_dir, config.api_socket];
        let numbers = (config.listen, config.bounds, config.log, config.lives_with);
        (config.network.id(), files, config.ledger, numbers)
    });
    assert_eq!(before, after);
});

fn read(file: &Path, text: &str) -> Layers {
    let mut raw = Raw::default();
    raw.read_text(file, text);
    Layers::of(raw, Some(file)).expect("the file has an absolute path")
}

/// A file of all that counts.
fn shown(layers: &Layers) -> String {
    let mut text = String::new();
    for key in Key::ALL {
        if let (Some(value), _) = layers.effective(key) {
            // Any character may be written as its number.
            let value: String =
                value.chars().map(|it| format!("\\U{:08X}", u32::from(it))).collect();
            writeln!(text, "{} = \"{value}\"", key.name()).expect("a string takes all");
        }
    }
    text
}
