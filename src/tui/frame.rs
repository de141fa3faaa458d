use std::io;

use ratatui::Terminal;
use ratatui::TerminalOptions;
use ratatui::Viewport;
use ratatui::backend::{Backend, ClearType, CrosstermBackend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Rect, Size};

use super::screen::Screen;
use super::view;

/// Draws frames into memory, so that each leaves in one write, and nothing is written where nothing changed.
#[derive(Debug)]
pub struct Frames {
    terminal: Terminal<Memory>,
}

impl Frames {
    /// For a terminal of this size that is cleared.
    pub fn new(columns: u16, rows: u16) -> io::Result<Self> {
        let area = Rect::new(0, 0, columns, rows);
        let options = TerminalOptions {
            viewport: Viewport::Fixed(area),
        };
        let terminal = Terminal::with_options(Memory::new(area.as_size()), options)?;
        Ok(Self { terminal })
    }

    /// The next frame is drawn afresh, in this size.
    pub fn resize(&mut self, columns: u16, rows: u16) -> io::Result<()> {
        let area = Rect::new(0, 0, columns, rows);
        let memory = self.terminal.backend_mut();
        memory.size = area.as_size();
        // The terminal may have been given back and taken since: nothing is known of its cursor, and it is
        // hidden then.
        (memory.cursor, memory.shows_cursor) = (None, false);
        self.terminal.resize(area)
    }

    /// The bytes that bring the terminal to a picture of `screen`; none if it shows that already.
    pub fn draw(&mut self, screen: &Screen) -> io::Result<Option<Vec<u8>>> {
        self.terminal.draw(|frame| view::draw(screen, frame))?;
        let bytes = std::mem::take(&mut self.terminal.backend_mut().bytes);
        if bytes.is_empty() {
            return Ok(None);
        }
        // A synchronized update: a terminal that knows it shows the frame whole, others ignore the marks.
        let mut frame = b"\x1b[?2026h".to_vec();
        frame.extend_from_slice(&bytes);
        frame.extend_from_slice(b"\x1b[?2026l");
        Ok(Some(frame))
    }
}

/// A backend that keeps the bytes, asks the terminal nothing, and repeats nothing that it knows.
#[derive(Debug)]
struct Memory {
    bytes: Vec<u8>,
    size: Size,
    cursor: Option<Position>,
    shows_cursor: bool,
}

impl Memory {
    fn new(size: Size) -> Self {
        Self {
            bytes: Vec::new(),
            size,
            cursor: None,
            // Unknown at first: hiding it twice does no harm.
            shows_cursor: true,
        }
    }

    fn writer(&mut self) -> CrosstermBackend<&mut Vec<u8>> {
        CrosstermBackend::new(&mut self.bytes)
    }
}

impl Backend for Memory {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut content = content.peekable();
        if content.peek().is_none() {
            return Ok(());
        }
        self.cursor = None;
        self.writer().draw(content)
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.shows_cursor) {
            self.writer().hide_cursor()?;
        }
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.shows_cursor, true) {
            self.writer().show_cursor()?;
        }
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(self.cursor.unwrap_or_default())
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let position = position.into();
        if self.cursor.replace(position) != Some(position) {
            self.writer().set_cursor_position(position)?;
        }
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    fn clear_region(&mut self, what: ClearType) -> io::Result<()> {
        self.writer().clear_region(what)
    }

    fn size(&self) -> io::Result<Size> {
        Ok(self.size)
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        let (columns_rows, pixels) = (self.size, Size::ZERO);
        Ok(WindowSize { columns_rows, pixels })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
