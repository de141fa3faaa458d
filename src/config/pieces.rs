use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::Deserialize;
use toml::Spanned;

use super::Place;
use super::error::Places;
use super::sites::{RawSite, SiteEntry, behind, resolve};
use crate::secret::SecretSource;
use crate::site::SiteUrl;

/// A config up to this length, in bytes, is read as a whole.
const SMALL: usize = 32 * 1024;
/// About so long is a piece: large enough that its beginning costs nothing, small enough that a part of a long list
/// takes little memory at a time.
const PIECE: usize = 32 * 1024;
/// More threads would wait for each other's memory.
const THREADS: usize = 4;

/// A long config whose list of sites was read piece by piece.
pub(super) struct Pieces {
    /// Its sites.
    pub(super) entries: Vec<SiteEntry>,
    /// Their master keys. They count from the first key of a site.
    pub(super) master_keys: Vec<SecretSource>,
    /// All that stands in it besides: where sites stood there are blanks, so that each place in it is the same.
    pub(super) rest: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPiece {
    sites: Vec<Spanned<RawSite>>,
}

/// Reads the `[[sites]]` of a long config on several threads, without ever holding all of it as a document: that would
/// take ten times its length.
///
/// None where it is short, or is written in a way that is not understood here, or where anything of it is wrong: reading
/// it as a whole tells what.
pub(super) fn read(text: &str, place: Place<'_>) -> Option<Pieces> {
    if text.len() <= SMALL {
        return None;
    }
    let ranges = cut(text)?;
    let mut read = Pieces {
        entries: Vec::new(),
        master_keys: Vec::new(),
        rest: without(text, &ranges),
    };
    for (entries, master_keys) in on_threads(text, &ranges, place)? {
        read.entries
            .extend(behind(entries, master_keys, &mut read.master_keys));
    }
    let mut urls: HashSet<&SiteUrl> = HashSet::with_capacity(read.entries.len());
    let are_different = read.entries.iter().all(|entry| urls.insert(&entry.url));
    are_different.then_some(read)
}

/// Where pieces begin and end: each begins with a line `[[sites]]` and ends before the next one that begins something
/// else, or when it is long enough.
///
/// A line that begins with a bracket may stand in the middle of a value, too. Then the piece is no whole table, and is
/// refused. In a text of several lines it would be: a config with such texts is not cut.
fn cut(text: &str) -> Option<Vec<Range<usize>>> {
    if text.contains("\"\"\"") || text.contains("'''") {
        return None;
    }
    let mut ranges = Vec::new();
    let mut begin: Option<usize> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let head = line.trim_start();
        let begins_site = head.starts_with("[[sites]]");
        let ends = head.starts_with('[') && !head.starts_with("[sites.");
        let is_long = begin.is_some_and(|begin| at - begin >= PIECE);
        if ends
            && (!begins_site || is_long)
            && let Some(begin) = begin.take()
        {
            ranges.push(begin..at);
        }
        if begins_site {
            begin.get_or_insert(at);
        }
        at += line.len();
    }
    ranges.extend(begin.map(|begin| begin..at));
    (!ranges.is_empty()).then_some(ranges)
}

fn without(text: &str, ranges: &[Range<usize>]) -> String {
    let mut rest = String::with_capacity(text.len());
    for range in ranges {
        rest.push_str(&text[rest.len()..range.start]);
        rest.extend(std::iter::repeat_n(' ', range.len()));
    }
    rest.push_str(&text[rest.len()..]);
    rest
}

/// What stands in a piece.
type Piece = (Vec<SiteEntry>, Vec<SecretSource>);

/// Reads all pieces, each on the next thread that is free.
fn on_threads(text: &str, ranges: &[Range<usize>], place: Place<'_>) -> Option<Vec<Piece>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some(range) = ranges.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((range.start, piece(&text[range.clone()], place)));
        }
        done
    };
    let more = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(THREADS)
        - 1;
    let mut done = thread::scope(|scope| {
        let others: Vec<_> = (0..more).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            done.extend(other.join().ok()?);
        }
        Some(done)
    })?;
    done.sort_by_key(|(start, _)| *start);
    done.into_iter().map(|(_, piece)| piece).collect()
}

fn piece(text: &str, place: Place<'_>) -> Option<Piece> {
    let raw: RawPiece = toml::from_str(text).ok()?;
    let mut master_keys = Vec::new();
    let at = Places {
        path: place.path,
        text,
    };
    let entries = resolve(&raw.sites, &mut master_keys, place, &at).ok()?;
    Some((entries, master_keys))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::path::Path;

    use super::*;

    fn place() -> Place<'static> {
        Place {
            path: Path::new("c.toml"),
            home: None,
            owner_only: true,
        }
    }

    /// A config with so many sites that it is cut, and `more` behind the first half of them.
    fn long(more: &str) -> String {
        let mut text = "master_key = { env = \"A\" }\n[push]\nattempts = 2\n\n".to_owned();
        for number in 0..3000 {
            if number == 1500 {
                text += more;
            }
            writeln!(text, "[[sites]]\nurl = \"https://s{number}.example.com\"").unwrap();
            match number % 100 {
                1 => text += "name = \"a name\" # [[sites]]\ngroup = \"some\"\n",
                2 => text += "[sites.master_key]\nenv = \"B\"\n",
                3 => text += "  enabled = false\n\n",
                _ => {}
            }
        }
        text
    }

    /// What is read in pieces, and what is read as a whole, in words.
    fn read_in_both_ways(text: &str) -> (Option<String>, Result<String, String>) {
        let at = Places {
            path: place().path,
            text,
        };
        let pieces = super::super::in_pieces(place(), &at).map(|config| format!("{config:?}"));
        let raw = toml::from_str(text).map_err(|error| at.of_toml(&error).to_string());
        let whole = raw.and_then(|raw| {
            let config = super::super::resolve(raw, None, place(), &at);
            config.map_err(|error| error.to_string())
        });
        (pieces, whole.map(|config| format!("{config:?}")))
    }

    #[test]
    fn a_long_config_in_pieces_is_what_it_is_as_a_whole() {
        let others = [
            "",
            "[verify]\nsettle = \"5 s\"\n",
            "[groups.some]\nmaster_key = { env = \"C\" }\n",
            "[rollout]\ncanary = [\"s0.example.com\"]\n\n# [[sites]]\n",
            "[keys]\n\"push all\" = \"x\"\n",
        ];
        for more in others {
            let text = long(more);
            assert!(cut(&text).unwrap().len() > 2, "{more}");
            let (pieces, whole) = read_in_both_ways(&text);
            assert_eq!(pieces, Some(whole.unwrap()), "{more}");
        }
    }

    #[test]
    fn what_is_wrong_or_odd_is_left_to_who_reads_the_whole() {
        let others = [
            "[verify]\nsettle = 5\n",
            "[sites.more]\n",
            "[[sites]]\nurl = \"https://s7.example.com\"\n",
            "[[sites]]\nurl = \"http://shop.example.com\"\n",
            "[[ sites ]]\nurl = \"https://other.example.com\"\n",
            "[inventory]\nallow_hosts = [\n[[sites]]\n]\n",
            "[[sites]]\nurl = \"https://other.example.com\"\nnmae = \"x\"\n",
            "[groups.some]\nnote = \"\"\"\n[[sites]]\n\"\"\"\n",
        ];
        for more in others {
            let (pieces, _) = read_in_both_ways(&long(more));
            assert_eq!(pieces, None, "{more}");
        }
        let twice = format!("sites = []\n{}", long(""));
        assert_eq!(read_in_both_ways(&twice).0, None);
    }
}
