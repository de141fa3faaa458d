use jiff::ZonedDateTime;

use super::Model;
use crate::key::PublishableKey;
use crate::rules::expiry::Expiry;
use crate::rules::moment::{Moment, clock};
use crate::text::{drawable, fit, fit_middle, pad, width};

impl Model {
    /// A key's mask without its prefix, where all keys have the same.
    pub fn tail(&self, key: &PublishableKey) -> String {
        self.mask(key).trim_start_matches(key.mode().prefix()).to_owned()
    }

    /// The whole answer to it.
    pub fn expiry_sentence(&self, expiry: &Expiry) -> String {
        expiry.sentence(&|key| self.tail(key), &|moment| self.clock(moment))
    }

    /// The answer in at most so many columns, if there is a way to say it in them.
    pub(in crate::tui) fn expiry_within(&self, expiry: &Expiry, columns: usize) -> String {
        let whole = self.expiry_sentence(expiry);
        if width(&whole) <= columns {
            return whole;
        }
        expiry.brief_sentence(&|key| self.tail(key))
    }

    /// The time of day of `moment`, with the date when it is another day than now.
    pub fn clock(&self, moment: Moment) -> String {
        clock(moment, self.now, &self.options.zone)
    }

    /// The time of day of `moment`, or the date when that is another day than now; eight columns.
    pub fn short_clock(&self, moment: Moment) -> String {
        let then = self.zoned(moment);
        let format = if then.date() == self.zoned(self.now).date() {
            "%H:%M:%S"
        } else {
            "%y-%m-%d"
        };
        then.strftime(format).to_string()
    }

    /// The date of `moment`.
    pub fn date(&self, moment: Moment) -> String {
        self.zoned(moment).strftime("%Y-%m-%d").to_string()
    }

    fn zoned(&self, moment: Moment) -> ZonedDateTime {
        moment.wall.to_zoned_datetime(self.options.zone.clone())
    }

    /// One of two ways to write something.
    pub fn glyph<'a>(&self, unicode: &'a str, ascii: &'a str) -> &'a str {
        if self.options.ascii { ascii } else { unicode }
    }

    /// A key's mask, told apart from others that are served with the same mask.
    pub fn mask(&self, key: &PublishableKey) -> String {
        let served = self.tally.serves();
        let known = served
            .iter()
            .map(|(key, _)| *key)
            .chain(self.run.iter().map(|run| &run.key));
        self.text(&key.mask_among(known))
    }

    /// The mask in 13 columns: where two keys share one, their fingerprint takes the place of the prefix.
    pub fn narrow_mask(&self, key: &PublishableKey) -> String {
        let mask = self.mask(key);
        if !mask.contains('#') {
            return mask;
        }
        mask.trim_start_matches(key.mode().prefix()).to_owned()
    }

    /// Text for this terminal.
    pub fn text(&self, text: &str) -> String {
        let text = drawable(text);
        if !self.options.ascii {
            return text.into_owned();
        }
        let mut plain = String::with_capacity(text.len());
        for character in text.chars() {
            match character {
                '–' | '—' => plain.push('-'),
                '“' | '”' => plain.push('"'),
                '’' | '‘' => plain.push('\''),
                '→' => plain.push_str("->"),
                // One column for one, so that a mask keeps its width.
                '…' | '•' | '·' => plain.push('*'),
                '↑' => plain.push_str("Up"),
                '↓' => plain.push_str("Down"),
                '✓' => plain.push('+'),
                '✗' => plain.push('x'),
                '←' => plain.push_str("Left"),
                character if character.is_ascii() => plain.push(character),
                // An accent of the character before.
                character if width(character.encode_utf8(&mut [0; 4])) == 0 => {}
                _ => plain.push('?'),
            }
        }
        plain
    }

    /// [`Model::text`] in at most so many columns; a mark shows where it was cut.
    pub fn fit(&self, text: &str, columns: usize) -> String {
        let cut = fit(&self.text(text), columns);
        if self.options.ascii {
            cut.replace('…', "~")
        } else {
            cut
        }
    }

    /// [`Model::fit`] in exactly so many columns.
    pub fn pad(&self, text: &str, columns: usize) -> String {
        pad(&self.fit(text, columns), columns)
    }

    /// [`Model::fit`] for a name: its beginning and its end are kept.
    pub fn fit_name(&self, name: &str, columns: usize) -> String {
        let cut = fit_middle(&self.text(name), columns);
        if self.options.ascii {
            cut.replace('…', "~")
        } else {
            cut
        }
    }

    /// [`Model::fit_name`] in exactly so many columns.
    pub fn pad_name(&self, name: &str, columns: usize) -> String {
        pad(&self.fit_name(name, columns), columns)
    }
}
