//! The `consigner` binary.

use std::process::ExitCode;

/// A tenth of the CPU of a signature went to the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    consigner_node::cli::main()
}
