//! The command. All that it does is in the library: see [`stripe_propagate::cli`].

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    stripe_propagate::cli::main()
}
