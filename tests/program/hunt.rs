//! The hunt for secrets: every command and every screen with canaries in all that holds a secret, searched for in what is
//! shown, in files, in what children see, in arguments, in what a panic would tell. What may be seen where is in
//! docs/secrets.md.

#[path = "hunt/canaries.rs"]
mod canaries;
#[path = "hunt/commands.rs"]
mod commands;
#[path = "hunt/echo.rs"]
mod echo;
/// Runs that fail, and runs that are killed.
#[path = "hunt/failing.rs"]
mod failing;
#[path = "hunt/ground.rs"]
mod ground;
/// What a panic could tell: each value that holds a secret, as it is printed for a programmer.
#[path = "hunt/printed.rs"]
mod printed;
#[path = "../pty/mod.rs"]
mod pty;
#[path = "hunt/screens.rs"]
mod screens;
#[path = "../stage/mod.rs"]
mod stage;
