use std::time::{Duration, Instant};

use stripe_propagate::rules::moment::Moment;
use stripe_propagate::tui::frame::Frames;
use stripe_propagate::tui::update::update;

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
        "| sites | filter | changes µs: median | p99 | a frame ms: median | p99 | bytes: median | p99 |"
    );
    println!("| --: | --- | --: | --: | --: | --: | --: | --: |");
    for sites in sizes.sites {
        for filter in ["", "push:failed", "shop-0001"] {
            of(sites, filter, sizes.frames)?;
        }
    }
    Ok(())
}

fn of(sites: usize, filter: &str, count: usize) -> anyhow::Result<()> {
    let step = Duration::from_secs(1) / FPS;
    let mut now = Moment {
        since_start: Duration::from_secs(1_000_000),
        wall: jiff::Timestamp::from_second(1_772_373_600)?,
    };
    let (mut screen, mut shops) = Shops::open(sites, now)?;
    let mut frames = Frames::new(SIZE.0, SIZE.1)?;
    screen.model.show_only(filter);
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
        "| {sites} | {filter} | {:.0} | {:.0} | {:.2} | {:.2} | {size} | {size_p99} |",
        ms(change) * 1000.0,
        ms(change_p99) * 1000.0,
        ms(time),
        ms(time_p99),
    );
    Ok(())
}
