use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use stripe_propagate::engine::Clock;
use stripe_propagate::tui::run::{Behaviour, Taken, run};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::fleet::Shops;
use crate::{FPS, RATE, SIZE, Sizes, median_and_p99, ms};
use stripe_propagate::tui::Message;

/// The argument that makes this program show a screen: then come sites and changes a second.
pub(crate) const SHOW: &str = "show-a-screen";
/// Changes come in bunches, so far apart.
const BUNCH: Duration = Duration::from_millis(10);
/// What is waited for must come within this.
const PATIENCE: Duration = Duration::from_secs(30);

/// The real loop on this terminal, on sites to which things happen.
pub(crate) fn show(sites: usize, rate: usize) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let clock = Clock::start();
        let (screen, shops) = Shops::open(sites, clock.now())?;
        let (tell, mut told) = unbounded_channel();
        let (order, _nobody_carries_out) = unbounded_channel();
        let behaviour = Behaviour {
            fps: FPS,
            mouse: false,
            tab: stripe_propagate::config::TabSettings::default(),
            look_at_start: false,
        };
        let happens = (rate > 0).then(|| tokio::spawn(happen(shops, rate, tell.clone(), clock)));
        let mut taken = Taken::take(SIZE)?;
        run(&mut taken, screen, behaviour, order, &mut told, clock).await?;
        drop(tell);
        if let Some(happens) = happens {
            happens.abort();
        }
        Ok(())
    })
}

async fn happen(mut shops: Shops, rate: usize, tell: UnboundedSender<Message>, clock: Clock) {
    let mut ticks = tokio::time::interval(BUNCH);
    let bunch = rate * usize::try_from(BUNCH.as_millis()).unwrap_or_default() / 1000;
    loop {
        ticks.tick().await;
        for _ in 0..bunch {
            for message in shops.next(clock.now()) {
                if tell.send(message).is_err() {
                    return;
                }
            }
        }
    }
}

/// This program in a pseudo-terminal, showing a screen.
struct Shown {
    input: Box<dyn Write + Send>,
    output: Receiver<Vec<u8>>,
    parser: vt100::Parser,
    child: Box<dyn portable_pty::Child + Send + Sync>,
    /// The terminal is there as long as this is.
    _master: Box<dyn portable_pty::MasterPty + Send>,
}

impl Shown {
    fn start(sites: usize, rate: usize) -> anyhow::Result<Self> {
        let (cols, rows) = SIZE;
        let size = PtySize {
            rows,
            cols,
            ..PtySize::default()
        };
        let pair = native_pty_system().openpty(size)?;
        let mut command = CommandBuilder::new(std::env::current_exe()?);
        command.args([SHOW, &sites.to_string(), &rate.to_string()]);
        command.env("TERM", "xterm-256color");
        let child = pair.slave.spawn_command(command)?;
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader()?;
        let (tell, output) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 8192];
            while let Ok(length @ 1..) = reader.read(&mut bytes) {
                if tell.send(bytes[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        let [rows, cols] = [rows, cols].map(std::num::NonZeroU16::new);
        let (rows, cols) = rows.zip(cols).context("a terminal has a size")?;
        let mut shown = Self {
            input: pair.master.take_writer()?,
            output,
            parser: vt100::Parser::new(rows, cols, 0),
            child,
            _master: pair.master,
        };
        shown.wait(|shown| shown.cursor().is_some())?;
        Ok(shown)
    }

    /// The row of the screen in which the cursor's mark stands.
    fn cursor(&self) -> Option<usize> {
        let screen = self.parser.screen();
        screen.rows(0, SIZE.0).position(|row| row.contains('▌'))
    }

    fn wait(&mut self, is_so: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        while !is_so(self) {
            let left = until.saturating_duration_since(Instant::now());
            let bytes = self
                .output
                .recv_timeout(left)
                .context("the screen shows nothing more")?;
            self.parser.process(&bytes);
        }
        Ok(())
    }

    /// Takes in what was shown meanwhile; how many bytes.
    fn catch_up(&mut self) -> usize {
        let mut count = 0;
        while let Ok(bytes) = self.output.try_recv() {
            count += bytes.len();
            self.parser.process(&bytes);
        }
        count
    }

    /// How often its threads went to sleep and were woken again since they began.
    fn wake_ups(&self) -> anyhow::Result<u64> {
        let pid = self.child.process_id().context("it has a number")?;
        let mut sum = 0;
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let status = std::fs::read_to_string(task?.path().join("status"))?;
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            sum += line.context("the system counts them")?.trim().parse::<u64>()?;
        }
        Ok(sum)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// From a key press to the moved cursor on the terminal, while things happen.
pub(crate) fn keys(sizes: Sizes) -> anyhow::Result<()> {
    println!(
        "\n{} key presses in a pseudo-terminal, {RATE} changes a second:\n",
        sizes.presses
    );
    println!("| sites | from key to screen ms: median | p99 |");
    println!("| --: | --: | --: |");
    for sites in sizes.sites {
        let mut shown = Shown::start(sites, RATE)?;
        let mut dice = fastrand::Rng::with_seed(1);
        let mut times = Vec::new();
        for number in 0..sizes.presses {
            // At any point between two frames.
            std::thread::sleep(Duration::from_millis(dice.u64(5..60)));
            shown.catch_up();
            let before = shown.cursor();
            let key = if number % 2 == 0 { b"j" } else { b"k" };
            let begun = Instant::now();
            shown.input.write_all(key)?;
            shown.wait(|shown| shown.cursor() != before)?;
            times.push(begun.elapsed());
        }
        let (median, p99) = median_and_p99(times);
        println!("| {sites} | {:.1} | {:.1} |", ms(median), ms(p99));
    }
    Ok(())
}

/// What the screen writes, and how often it wakes up, while nothing happens.
pub(crate) fn idle(sizes: Sizes) -> anyhow::Result<()> {
    println!("\n{} s in which nothing happens:\n", sizes.idle.as_secs_f64());
    println!("| sites | bytes | wake-ups |");
    println!("| --: | --: | --: |");
    for sites in sizes.sites {
        let mut shown = Shown::start(sites, 0)?;
        // Until it is at rest after its start.
        let mut last = shown.wake_ups()?;
        loop {
            std::thread::sleep(sizes.idle / 5);
            let now = shown.wake_ups()?;
            if shown.catch_up() == 0 && now == last {
                break;
            }
            last = now;
        }
        std::thread::sleep(sizes.idle);
        let bytes = shown.catch_up();
        println!("| {sites} | {bytes} | {} |", shown.wake_ups()? - last);
    }
    Ok(())
}
