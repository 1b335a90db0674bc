//! The `consigner` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    consigner_node::cli::main()
}
