//! The binary, with nothing of the tester's own settings: those of a node would decide, and what `fantail check` does not
//! know is a finding of its own.

use std::process::Command;

/// The binary, to be given arguments.
pub fn fantail() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fantail"));
    without_settings(&mut command);
    command
}

/// Takes what is a setting of the binary, or of these tests, out of a command's environment.
pub fn without_settings(command: &mut Command) {
    let settings = |name: &str| name.starts_with("FANTAIL_") || name.starts_with("OTEL_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| settings(&name.to_string_lossy())) {
        command.env_remove(name);
    }
}
