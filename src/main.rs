//! The command. All that it does is in the library: see [`stripe_propagate::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    stripe_propagate::cli::main()
}
