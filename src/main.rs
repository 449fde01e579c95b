//! The `skiff` binary.

use std::process::ExitCode;

/// Gives memory back to the system once a burst of work is over, where the system's own allocator keeps it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    skiff::cli::main()
}
