//! `completions` and `man`: made of the tables of the help, and understood by what reads them.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::process::Command;

use crate::cli::{bad, good};

/// What bash offers for a line; the last word is the one before the cursor.
fn offered(folder: &std::path::Path, words: &[&str]) -> Vec<String> {
    const ASK: &str = "source completions; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _hypernode; \
                       printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-uc", ASK, "bash"]).args(words).current_dir(folder);
    let output = bash.output().expect("bash is there");
    let text = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{words:?}: {said}");
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("completions"), good(&["completions", "bash"])).unwrap();
    fs::write(folder.path().join("my node.toml"), "").unwrap();
    let offered = |words: &[&str]| offered(folder.path(), words);
    let files = ["completions", "my node.toml"];
    assert_eq!(offered(&["hypernode", "sta"]), ["status"]);
    assert_eq!(offered(&["hypernode", "registry", ""]), ["explain", "list", "feed", "register"]);
    let options = offered(&["hypernode", "status", "--"]);
    for option in ["--help", "--config", "--api", "--json", "--watch"] {
        assert!(options.iter().any(|offered| offered == option), "{option} of {options:?}");
    }
    assert_eq!(offered(&["hypernode", "registry", "list", "--hei"]), ["--height"]);
    let mut found = offered(&["hypernode", "status", "--config", ""]);
    found.sort();
    assert_eq!(found, files);
    assert_eq!(offered(&["hypernode", "key", "show", "my"]), ["my node.toml"]);
    assert_eq!(offered(&["hypernode", "clock", "--network", "t"]), ["test"]);
    assert_eq!(offered(&["hypernode", "completions", "z"]), ["zsh"]);
    assert_eq!(offered(&["hypernode", "run", "--log", "de"]), ["debug"]);
    for nothing in [&["hypernode", "nonsense", "x"][..], &["hypernode", "clock", "--at", ""]] {
        assert_eq!(offered(nothing), Vec::<String>::new(), "{nothing:?}");
    }
}

#[test]
fn each_shell_gets_every_command() {
    let help = good(&["--help"]);
    let commands = help.split("Commands:").nth(1).unwrap().lines();
    let commands: Vec<&str> = commands
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() > 20 && commands.contains(&"completions"), "{commands:?}");
    let manual = good(&["man"]).replace("\\-", "-");
    for shell in ["bash", "zsh", "fish"] {
        let script = good(&["completions", shell]);
        for command in &commands {
            assert!(script.contains(command), "{shell}: {command}");
            assert!(manual.contains(&format!("\n.SS \"hypernode {command}\"\n")), "{command}");
        }
        let open = ["@COMMANDS@", "@VALUES@", "@CHOICES@"].iter().any(|it| script.contains(it));
        assert!(script.contains("sign-state") && !open, "{shell}");
    }
    assert!(bad(2, &["completions", "tcsh"]).contains("\"tcsh\" is not bash, zsh or fish"));
    assert!(bad(2, &["completions"]).contains("hypernode completions --help"));
}

#[test]
fn the_manual_has_all_that_the_help_has() {
    let manual = good(&["man"]);
    assert!(manual.starts_with(".TH HYPERNODE 1 \""));
    for section in [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "COMMANDS",
        "CONFIGURATION",
        "FILES",
        "ENVIRONMENT",
        "EXIT STATUS",
        "EXAMPLES",
    ] {
        assert!(manual.contains(&format!("\n.SH {section}\n")), "{section}");
    }
    for option in ["\\-\\-watch", "\\-\\-json", "\\-\\-seen\\-since SEEN\\-SINCE"] {
        assert!(manual.contains(&format!("\n\\fB{option}\\fR\n")), "{option}");
    }
    for code in ["0", "2", "65", "78"] {
        assert!(manual.contains(&format!("\n\\fB{code}\\fR\n")), "exit {code}");
    }
    assert!(manual.is_ascii() && manual.lines().all(|line| !line.starts_with('\'')));
    let one = good(&["man", "registry"]);
    assert!(one.starts_with(".TH HYPERNODE\\-REGISTRY 1 \""));
    assert!(one.contains("hypernode registry feed") && !one.contains("hypernode status"));
    let said = bad(2, &["man", "regstry"]);
    assert!(said.contains("no command \"regstry\"") && said.contains("registry"), "{said}");
}
