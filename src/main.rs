//! The `skiff` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    skiff::cli::main()
}
