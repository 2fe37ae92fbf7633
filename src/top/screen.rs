//! The terminal: taken over, drawn on, and given back whatever happens.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::{Key, Model};
use super::snapshot::Snapshot;
use super::view;

/// How often a new state is asked for.
const REFRESH: Duration = Duration::from_secs(1);
/// How soon the end is noticed.
const LOOK: Duration = Duration::from_millis(50);

/// A terminal in our hands. Dropped, it is as it was; a panic gives it back, too.
pub struct Screen {
    terminal: DefaultTerminal,
    model: Model,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").field("model", &self.model).finish_non_exhaustive()
    }
}

/// A screen that is drawn by a thread of its own.
#[derive(Debug)]
pub struct Running {
    thread: Option<JoinHandle<io::Result<()>>>,
    stop: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// Input or output is no terminal, or it cannot be set up.
    pub fn take() -> io::Result<Self> {
        if !(io::stdout().is_terminal() && io::stdin().is_terminal()) {
            return Err(io::Error::other("top needs a terminal"));
        }
        // Installs the hook for panics, before anything is changed.
        let terminal = ratatui::try_init().inspect_err(|_| ratatui::restore())?;
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let plain = std::env::var("TERM").is_ok_and(|term| term == "dumb" || term.contains("mono"));
        let model = Model { colours: !no_colour && !plain, ..Model::default() };
        let screen = Self { terminal, model };
        // What waits for keys is opened now: later, system calls may be restricted.
        event::poll(Duration::ZERO)?;
        Ok(screen)
    }

    /// Draws states until the user quits or `stop` is set.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn run(
        mut self,
        mut state: impl FnMut() -> Result<Snapshot, String>,
        stop: &AtomicBool,
        ended: &AtomicBool,
    ) -> io::Result<()> {
        let mut next = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let ends = ended.load(Ordering::Relaxed);
            if Instant::now() >= next || ends != self.model.ended {
                self.model.update(state());
                self.model.ended = ends;
                next = Instant::now() + REFRESH;
                self.draw()?;
            }
            if !event::poll(LOOK.min(next.saturating_duration_since(Instant::now())))? {
                continue;
            }
            match event::read()? {
                Event::Key(pressed) if pressed.kind != KeyEventKind::Release => {
                    if is_interrupt(pressed) || key(pressed).is_some_and(|k| !self.model.press(k)) {
                        return Ok(());
                    }
                    self.draw()?;
                }
                Event::Resize(..) => self.draw()?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Draws in a thread of its own; when the user quits, `stop` is set.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        self,
        state: impl FnMut() -> Result<Snapshot, String> + Send + 'static,
        stop: &Arc<AtomicBool>,
    ) -> io::Result<Running> {
        let (ends, stops) = (Arc::new(AtomicBool::new(false)), Arc::clone(stop));
        let ended = Arc::clone(&ends);
        let thread = std::thread::Builder::new().name("screen".to_owned()).spawn(move || {
            let result = self.run(state, &stops, &ends);
            stops.store(true, Ordering::Relaxed);
            result
        })?;
        Ok(Running { thread: Some(thread), stop: Arc::clone(stop), ended })
    }

    fn draw(&mut self) -> io::Result<()> {
        self.terminal.draw(|frame| view::draw(frame, &self.model)).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

impl Running {
    /// Says that nothing new comes, and waits until the user quits or a signal comes.
    pub fn wait(mut self) {
        self.ended.store(true, Ordering::Relaxed);
        self.join();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A terminal that is gone needs no word; a panic has said its own.
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.join();
    }
}

/// In raw mode it is a key like others.
fn is_interrupt(pressed: KeyEvent) -> bool {
    pressed.modifiers.contains(KeyModifiers::CONTROL)
        && matches!(pressed.code, KeyCode::Char('c' | 'd'))
}

fn key(pressed: KeyEvent) -> Option<Key> {
    if pressed.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
        return None;
    }
    match pressed.code {
        KeyCode::Char(c) => Some(Key::Char(c)),
        KeyCode::Enter => Some(Key::Enter),
        KeyCode::Esc => Some(Key::Escape),
        KeyCode::Backspace => Some(Key::Backspace),
        KeyCode::Up => Some(Key::Up),
        KeyCode::Down => Some(Key::Down),
        _ => None,
    }
}
