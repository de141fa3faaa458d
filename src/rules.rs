//! The rules: pure functions of values. Time and randomness are arguments; nothing here does I/O.

/// A point in time: monotonic for waiting, wall for showing.
pub mod moment;
/// Every answer a site can give: its cause, its sentence, whether it is retried.
pub mod outcome;
/// What Stripe says of a key, and how long that holds.
pub mod standing;
/// The words for what happened to a site's PUT and what its GETs say, with glyphs, roles and ranks.
pub mod status;
/// A run's number, what it is for, where it is.
pub mod run;
/// When a failed request goes again, and when a settling site is looked at.
pub mod retry;
/// One site's state, and what it becomes on each event.
pub mod state;
/// What a site's state says in one sentence.
pub mod note;
/// What an answer shows that is told at once, and in few sentences where many sites show it.
pub mod alarm;
/// Who goes first, what waits for it, and when a run halts.
pub mod rollout;
/// A master key that no site has taken yet in a run goes to few of them.
pub mod probation;
/// The workers that make the calls of runs.
pub mod crew;
/// Sites of a run that the config of a worker does not know.
pub mod strange;
/// Who is in a plan, who is left out and why, and what must be typed to confirm it.
pub mod plan;
/// How far a run has come that was not finished.
pub mod progress;
/// What the operator says of sites that are known to be bad.
pub mod acknowledgement;
/// How many sites are in which state, and what that means for the run.
pub mod tally;
/// Whether a site could be pushed to: the steps that are tried, and what each means.
pub mod preflight;
/// What a watch tells of, and what it sends.
pub mod watch;
/// Whether the keys that a run replaces may expire now.
pub mod expiry;
