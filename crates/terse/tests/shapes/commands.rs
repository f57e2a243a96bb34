//! What the command line says: help of every command, and the configuration with its origins.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

/// What `terse ARGS` prints, far from any terminal and any environment.
fn terse(folder: &std::path::Path, args: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_terse"));
    command.env_clear().envs(environment.iter().copied()).current_dir(folder).args(args).stdin(Stdio::null());
    let done = command.output().expect("terse runs");
    assert!(done.status.success(), "terse {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("UTF-8")
}

/// The help of a command and of everything below it.
fn help(folder: &std::path::Path, path: &mut Vec<String>, whole: &mut String) {
    let args: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
    let text = terse(folder, &args, &[]);
    let _ = writeln!(whole, "=== terse {}\n{text}", path.join(" "));
    let commands = text.split_once("\nCommands:\n").map_or("", |(_, rest)| rest.split_once("\n\n").map_or(rest, |(list, _)| list));
    let names = commands.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    for name in names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
        path.push(name.to_owned());
        help(folder, path, whole);
        path.pop();
    }
}

#[test]
fn help_of_every_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut whole = String::new();
    help(folder.path(), &mut Vec::new(), &mut whole);
    assert!(whole.contains("=== terse link create\n"), "{whole}");
    insta::assert_snapshot!(whole);
}

#[test]
fn configuration_and_where_it_came_from() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = "data = \"/srv/terse\"\n\n[limits]\nmisses_per_ip_per_min = 5\n\n[client]\nkey = \"tk_not_to_be_seen\"\n";
    std::fs::write(folder.path().join("terse.toml"), file).expect("written");
    let environment = [("TERSE__REDIRECT__STALENESS_S", "7"), ("TERSE__LIMITS__MISSES_PER_IP_PER_MIN", "6")];
    let flags = ["--config", "terse.toml", "--listen", "0.0.0.0:80", "--set", "codes.code_length=12"];
    let show = |how: &[&str]| terse(folder.path(), &[&["config", "show"], how, &flags].concat(), &environment);
    let text = show(&["--origin"]);
    assert!(!text.contains("not_to_be_seen") && !show(&["--json"]).contains("not_to_be_seen"));
    insta::assert_snapshot!(text);
}
