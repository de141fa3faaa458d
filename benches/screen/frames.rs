use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent};
use stripe_propagate::rules::moment::Moment;
use stripe_propagate::tui::frame::Frames;
use stripe_propagate::tui::update::update;
use stripe_propagate::tui::{Input, Message};

use crate::fleet::Shops;
use crate::{FPS, RATE, SIZE, Sizes, median_and_p99, ms};

/// Frames of a screen to which things happen, in memory: each takes in the changes since the one before, brings the
/// order up to date and is drawn.
pub(crate) fn measure(sizes: Sizes) -> anyhow::Result<()> {
    let (columns, rows) = SIZE;
    println!(
        "\n{} frames of {columns} x {rows}, {RATE} changes a second, {FPS} frames a second:\n",
        sizes.frames
    );
    println!(
        "| sites | filter | after | changes µs: median | p99 | a frame ms: median | p99 | bytes: median | p99 |"
    );
    println!("| --: | --- | --- | --: | --: | --: | --: | --: | --: |");
    for sites in sizes.sites {
        for filter in ["", "push:failed", "shop-0001"] {
            of(sites, filter, "", sizes.frames)?;
        }
        of(sites, "!push:failed", "a", sizes.frames)?;
    }
    typing(sizes)
}

/// A key press of this character.
fn press(letter: char) -> Message {
    Message::Input(vec![Input::Key(KeyEvent::from(KeyCode::Char(letter)))])
}

/// The filter is applied to all sites with each letter.
fn typing(sizes: Sizes) -> anyhow::Result<()> {
    println!("\nA letter in the filter, until it is drawn:\n");
    println!("| sites | ms: median | p99 |");
    println!("| --: | --: | --: |");
    for sites in sizes.sites {
        let now = start()?;
        let (mut screen, _shops) = Shops::open(sites, now)?;
        let mut frames = Frames::new(SIZE.0, SIZE.1)?;
        let mut times = Vec::new();
        for _ in 0..sizes.frames.div_ceil(100) {
            update(&mut screen, press('/'), now);
            for letter in "shop !verify:mismatch 00012".chars() {
                let begun = Instant::now();
                update(&mut screen, press(letter), now);
                screen.model.arrange(now);
                frames.draw(&screen)?;
                times.push(begun.elapsed());
            }
            screen.model.show_only("");
        }
        let (median, p99) = median_and_p99(times);
        println!("| {sites} | {:.2} | {:.2} |", ms(median), ms(p99));
    }
    Ok(())
}

/// When a bench begins.
fn start() -> anyhow::Result<Moment> {
    Ok(Moment {
        since_start: Duration::from_secs(1_000_000),
        wall: jiff::Timestamp::from_second(1_772_373_600)?,
    })
}

/// With a filter, and after these keys were pressed.
fn of(sites: usize, filter: &str, keys: &str, count: usize) -> anyhow::Result<()> {
    let step = Duration::from_secs(1) / FPS;
    let mut now = start()?;
    let (mut screen, mut shops) = Shops::open(sites, now)?;
    let mut frames = Frames::new(SIZE.0, SIZE.1)?;
    screen.model.show_only(filter);
    for letter in keys.chars() {
        update(&mut screen, press(letter), now);
    }
    let (mut changes, mut times, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        now = now + step;
        let happened: Vec<_> = (0..RATE.div_ceil(FPS as usize))
            .flat_map(|_| shops.next(now))
            .collect();
        let begun = Instant::now();
        for message in happened {
            update(&mut screen, message, now);
        }
        changes.push(begun.elapsed());
        let begun = Instant::now();
        screen.model.arrange(now);
        let frame = frames.draw(&screen)?;
        times.push(begun.elapsed());
        bytes.push(frame.map_or(0, |frame| frame.len()));
    }
    // The first one draws all of the screen.
    bytes.remove(0);
    let ((change, change_p99), (time, time_p99)) = (median_and_p99(changes), median_and_p99(times));
    let (size, size_p99) = median_and_p99(bytes);
    println!(
        "| {sites} | {filter} | {keys} | {:.0} | {:.0} | {:.2} | {:.2} | {size} | {size_p99} |",
        ms(change) * 1000.0,
        ms(change_p99) * 1000.0,
        ms(time),
        ms(time_p99),
    );
    Ok(())
}
