//! What stands behind the help of each command: examples, and what the manual has besides.

use std::fmt::Write;

use super::status::EXIT_STATUSES;

/// What the exit statuses stand under, behind the examples.
pub(super) const EXIT_STATUS_HEAD: &str = "Exit status:";

/// The examples, and the exit statuses.
pub(super) fn with_exit_statuses(examples: &str) -> String {
    let mut text = format!("{}\n\n{EXIT_STATUS_HEAD}\n", examples.trim_end());
    for (code, means) in EXIT_STATUSES {
        // Writing into a string cannot fail.
        let _written = writeln!(text, "  {code:<3}  {means}");
    }
    text.truncate(text.trim_end().len());
    text
}

/// Files, for the manual.
pub(super) const FILES: [(&str, &str); 6] = [
    (
        "./config.toml, ~/.config/stripe-propagate/config.toml",
        "The config, if neither --config nor STRIPE_PROPAGATE_CONFIG names one. `stripe-propagate init` writes one with \
         a comment on all that can stand in it.",
    ),
    (
        "/etc/stripe-propagate/policy.toml",
        "Who may push what, as root says.",
    ),
    (
        "~/.local/state/stripe-propagate/store.db",
        "What outlives a run, unless --store or store.path names another file.",
    ),
    (
        "~/.local/state/stripe-propagate/store.db.lock",
        "Held by the process whose run sends.",
    ),
    (
        "~/.local/state/stripe-propagate/stripe-propagate.log",
        "The log, unless --log or log.file names another file.",
    ),
    (
        "docs/schema",
        "JSON Schemas of what --json and --format json print, in the program's source.",
    ),
];

/// Environment variables, for the manual.
pub(super) const VARIABLES: [(&str, &str); 5] = [
    (
        "STRIPE_PROPAGATE_CONFIG",
        "The config file, unless --config names one.",
    ),
    (
        "TEMPLATE_MASTER_API_KEY",
        "The master key, unless [master_key] of the config says where else it is. It is removed before any command is \
         started.",
    ),
    (
        "XDG_CONFIG_HOME, XDG_STATE_HOME",
        "In place of ~/.config and ~/.local/state.",
    ),
    (
        "SUDO_USER, SSH_CONNECTION",
        "Recorded with each run as a claim: who may push is not judged by them.",
    ),
    (
        "TERM, COLORTERM, NO_COLOR",
        "What the screen may use of the terminal.",
    ),
];

pub(super) const HISTORY: &str = "\
Examples:
  stripe-propagate history                            the newest runs
  stripe-propagate history --limit 5 --format json
  stripe-propagate history --run 12                   what became of each site
  stripe-propagate history --run 12 --attempts --format csv --output run-12.csv";

pub(super) const SITES: &str = "\
Examples:
  stripe-propagate sites                              which sites, and where each is listed
  stripe-propagate sites --format csv --output sites.csv";

pub(super) const INIT: &str = "\
Examples:
  stripe-propagate init
  stripe-propagate init ./config.toml";

pub(super) const INFO: &str = "\
Examples:
  stripe-propagate info
  stripe-propagate --config other.toml info --format json";

pub(super) const COMPLETIONS: &str = "\
Examples:
  stripe-propagate completions bash > ~/.local/share/bash-completion/completions/stripe-propagate
  stripe-propagate completions zsh > ~/.zfunc/_stripe-propagate
  stripe-propagate completions fish > ~/.config/fish/completions/stripe-propagate.fish";

pub(super) const MAN: &str = "\
Examples:
  stripe-propagate man | man -l -
  stripe-propagate man --output ~/.local/share/man/man1";

pub(super) const STATUS: &str = "\
Examples:
  stripe-propagate status
  stripe-propagate status --only-failed --group prod
  stripe-propagate status --old-key                   may the old key expire?
  stripe-propagate status --format csv --output status.csv
  stripe-propagate status --format openmetrics --output /var/lib/node_exporter/stripe_propagate.prom";

pub(super) const STORE: &str = "\
Examples:
  stripe-propagate store copy ~/.local/state/stripe-propagate/store.db config
  stripe-propagate store copy store.db file:/etc/stripe-propagate/store.url
  stripe-propagate store copy store.db env:STORE_URL";

pub(super) const EXPORT: &str = "\
Examples:
  stripe-propagate export report.html                 the newest run
  stripe-propagate export --run 12 run-12.csv";

pub(super) const WORKER: &str = "\
Example:
  stripe-propagate worker --config /etc/stripe-propagate/config.toml";

pub(super) const DEMO: &str = "\
Examples:
  stripe-propagate demo
  stripe-propagate demo --sites 5 --seed 1 --headless
  stripe-propagate demo --serve /tmp/shops            its sites alone, for the real commands
  stripe-propagate demo --fault never-answers=3 --fault escapes-in-body=10%";

pub(super) const PUSH: &str = "\
The key is never an argument: it would stay in the shell's history and in the list of processes.

Examples:
  stripe-propagate push --key-file key.txt --dry-run           who would get it, and what is dangerous about it
  stripe-propagate push --key-file key.txt --site shop.example.com --yes
  stripe-propagate push --key-env KEY --group 'prod*' --exclude 'old-*' --yes --json > results.jsonl
  stripe-propagate push --key-file key.txt --owed --concurrency 8 --wait 5m --yes";

pub(super) const VERIFY: &str = "\
The key is never an argument: it would stay in the shell's history and in the list of processes.

Examples:
  stripe-propagate verify                                       what does each site serve?
  stripe-propagate verify --only-failed --concurrency 8
  stripe-propagate verify --key-file key.txt --group prod       which of them serve this key?
  stripe-propagate verify --watch                               tell what changes, until it is stopped

Without a key it ends with 0 if every site answered.";

pub(super) const RESUME: &str = "\
Examples:
  stripe-propagate resume --dry-run
  stripe-propagate resume --yes --allow-old-run --wait 0";

pub(super) const RETRY: &str = "\
Examples:
  stripe-propagate retry --dry-run                              what failed in the newest run?
  stripe-propagate retry --yes
  stripe-propagate retry --run 12 --site 'shop-*' --yes --allow-old-run";

pub(super) const ROLLBACK: &str = "\
Examples:
  stripe-propagate rollback --dry-run                           what would the newest run's sites get back?
  stripe-propagate rollback --run 12 --group prod --yes";

pub(super) const ACKNOWLEDGE: &str = "\
Examples:
  stripe-propagate acknowledge --site shop.example.com --reason 'moves house' --until '7 days'
  stripe-propagate acknowledge --site 'old-*' --take-back
  stripe-propagate acknowledge --list";

pub(super) const CHECK: &str = "\
Examples:
  stripe-propagate check --auth --site shop.example.com
  stripe-propagate check --owed --concurrency 8 --json";
