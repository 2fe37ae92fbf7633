//! The screen for a model: pure, the same model and size give the same cells.
//!
//! Nothing is told by colour alone; without colours bold and reverse remain.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::model::{Model, Sort};
use super::snapshot::{Conversation, Snapshot};

const HELP: [&str; 13] = [
    "b  sort by bits per second",
    "p  sort by packets per second",
    "r  sort by retransmissions",
    "t  sort by round trip time",
    "a  sort by application",
    "/  show rows with a text; Enter keeps it, Esc takes it back",
    "j k or arrows  scroll",
    "space  pause and go on",
    "?  this help",
    "q  quit",
    "",
    "Rates are averages over the records of the last 15 to 30 s; rows are the",
    "100 heaviest by each measure. RTT is client to server and back, as far as seen.",
];
/// Columns between conversation and application: bits, packets, retransmissions, round trip.
const NUMBERS: usize = 4 * 7;

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, model: &Model) {
    let parts = Layout::vertical([
        Constraint::Length(4),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ]);
    let [head, titles, body, foot] = parts.areas(frame.area());
    match &model.snapshot {
        Some(snapshot) => frame.render_widget(Paragraph::new(summary(model, snapshot)), head),
        None => {
            let text = model.trouble.as_deref().unwrap_or("waiting for the first state");
            frame.render_widget(Paragraph::new(text.to_owned()), head);
        }
    }
    let wide = widths(titles.width as usize);
    let bar = Style::new().add_modifier(Modifier::REVERSED);
    frame.render_widget(Paragraph::new(titles_line(model, wide)).style(bar), titles);
    let shown = model.rows().into_iter().skip(model.offset).take(body.height as usize);
    let lines: Vec<Line<'_>> = shown.map(|row| Line::from(row_text(row, wide))).collect();
    frame.render_widget(Paragraph::new(lines), body);
    frame.render_widget(Paragraph::new(foot_line(model)), foot);
    if model.help {
        help(frame, body);
    }
}

/// Widths of conversation and application: the first takes what an IPv4 pair needs, and half of
/// what is beyond.
fn widths(width: usize) -> (usize, usize) {
    let texts = width.saturating_sub(NUMBERS + 1);
    let conversation = (texts * 3 / 4).min(38 + texts.saturating_sub(51) / 2);
    (conversation, texts - conversation)
}

fn summary(model: &Model, snapshot: &Snapshot) -> Vec<Line<'static>> {
    let Snapshot { ring, records, traffic, .. } = snapshot;
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let alarm = |count: u64| match (count, model.colours) {
        (0, _) => Style::new(),
        (_, true) => bold.fg(Color::Red),
        (_, false) => bold,
    };
    let sources: Vec<String> = snapshot
        .sources
        .iter()
        .map(|(name, readers)| match readers {
            1 => clean(name),
            more => format!("{} × {more}", clean(name)),
        })
        .collect();
    let state = match (model.ended, model.paused) {
        (true, _) => "  end of file".to_owned(),
        (_, true) => "  paused".to_owned(),
        _ => format!("  up {}", duration(snapshot.uptime_s)),
    };
    let percent = 100.0 * ring.dropped as f64 / (ring.received.max(1)) as f64;
    let lost = records.lost_channel + records.lost_outputs;
    // After the end of a file the tables are empty.
    let conversations = records.conversations.max(traffic.conversations);
    let scale = f64::from(traffic.sample_rate);
    let error = traffic.error_percent.map(|error| format!(" ± {error:.1} %")).unwrap_or_default();
    vec![
        Line::from(vec![
            Span::styled(format!("kprobe {}", clean(&snapshot.version)), bold),
            Span::raw(format!("  {}", sources.join(", "))),
            Span::styled(state, bold),
        ]),
        Line::from(vec![
            Span::raw(format!("ring     {} received  ", grouped(ring.received))),
            Span::styled(
                format!("{} dropped ({percent:.3} %)", grouped(ring.dropped)),
                alarm(ring.dropped),
            ),
            Span::raw(format!("  {} times full", grouped(ring.freezes))),
        ]),
        Line::from(vec![
            Span::raw(format!("records  {} made  ", grouped(records.sent))),
            Span::styled(
                format!(
                    "{} lost (channel {}, outputs {})",
                    grouped(lost),
                    grouped(records.lost_channel),
                    grouped(records.lost_outputs)
                ),
                alarm(lost),
            ),
        ]),
        Line::from(format!(
            "traffic  {}bit/s{error}  {}pkt/s  sampling 1:{}  {} conversations",
            si(traffic.bits_per_s * scale),
            si(traffic.packets_per_s * scale),
            traffic.sample_rate,
            grouped(conversations),
        )),
    ]
}

fn titles_line(model: &Model, (conversation, application): (usize, usize)) -> String {
    let mark = |sort: Sort, title: &str| {
        if model.sort == sort { format!("*{title}") } else { title.to_owned() }
    };
    format!(
        "{:<conversation$}{:>7}{:>7}{:>7}{:>7} {:<application$}",
        "CONVERSATION",
        mark(Sort::Bits, "BIT/S"),
        mark(Sort::Packets, "PKT/S"),
        mark(Sort::Retransmissions, "RETR"),
        mark(Sort::RoundTrip, "RTT"),
        mark(Sort::Application, "APPLICATION"),
    )
}

fn row_text(row: &Conversation, (conversation, application): (usize, usize)) -> String {
    let title = title(row, conversation);
    let app = cut_end(&clean(&row.application()), application);
    let retransmitted = if row.protocol == 6 { si(row.retransmitted as f64) } else { "-".into() };
    format!(
        "{title:<conversation$}{:>7}{:>7}{:>7}{:>7} {app:<application$}",
        si(row.bits_per_s).trim_end(),
        si(row.packets_per_s).trim_end(),
        retransmitted.trim_end(),
        row.rtt_us.map_or_else(|| "-".to_owned(), time),
    )
}

fn foot_line(model: &Model) -> String {
    if model.typing {
        return format!("/{}_", model.filter);
    }
    if let (Some(trouble), Some(_)) = (&model.trouble, &model.snapshot) {
        return format!("no news: {}", clean(trouble));
    }
    let keys = "b bits p pkts r retr t rtt a app  / filter  space pause  ? help  q quit";
    if model.filter.is_empty() { keys.to_owned() } else { format!("/{}  {keys}", model.filter) }
}

fn help(frame: &mut Frame<'_>, body: Rect) {
    let height = (HELP.len() as u16).min(body.height);
    let area = Rect { height, ..body };
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(HELP.map(Line::from).to_vec()), area);
}

/// What came over the network has no say about the terminal.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

fn cut_end(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).take(width).collect()
}

/// As much of a conversation as fits, with a blank before the numbers. The client's port goes first,
/// then the protocol, then the middles of the addresses.
fn title(row: &Conversation, width: usize) -> String {
    let width = width.saturating_sub(1);
    let (client, server) = row.ends(false);
    let short = format!("{client} > {server}");
    let fitting = [row.title(), format!("{} {short}", row.protocol()), short]
        .into_iter()
        .find(|text| text.chars().count() <= width);
    fitting.unwrap_or_else(|| {
        let texts = width.saturating_sub(3);
        let spare = (texts / 2).saturating_sub(server.chars().count());
        let client = cut_middle(&client, texts / 2 + spare);
        let server = cut_middle(&server, texts.saturating_sub(client.chars().count()));
        cut_end(&format!("{client} > {server}"), width)
    })
}

fn cut_middle(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let front = kept.div_ceil(2);
    let back = text.chars().skip(length - (kept - front));
    text.chars().take(front).chain(['…']).chain(back).take(width).collect()
}

/// Three digits and a prefix: `93.2 M`, `800 `.
fn si(value: f64) -> String {
    // An empty sum is negative zero.
    let (mut value, mut prefix) = (if value > 0.0 { value } else { 0.0 }, "");
    for next in ["k", "M", "G", "T", "P"] {
        if value < 999.5 {
            break;
        }
        (value, prefix) = (value / 1000.0, next);
    }
    let digits = if value < 9.995 && value.fract() != 0.0 {
        2
    } else if value < 99.95 && value.fract() != 0.0 {
        1
    } else {
        0
    };
    format!("{value:.digits$} {prefix}")
}

fn time(us: u64) -> String {
    match us {
        0..=9_999 => format!("{us}us"),
        10_000..=9_999_999 => format!("{}ms", us / 1000),
        _ => format!("{}s", us / 1_000_000),
    }
}

fn duration(seconds: u64) -> String {
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours}:{minutes:02}:{:02}", seconds % 60)
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::testing::snapshot;
    use super::*;

    fn screen(model: &Model, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, model)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let mut text = String::new();
        for row in 0..height {
            let line: String = (0..width).map(|x| buffer[(x, row)].symbol()).collect();
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    fn model() -> Model {
        Model { snapshot: Some(snapshot()), ..Model::default() }
    }

    #[test]
    fn a_state_at_80_by_24_is_this_screen() {
        let text = screen(&model(), 80, 24);
        if std::env::var_os("KPROBE_BLESS").is_some() {
            std::fs::write("tests/golden/top-80x24.txt", &text).unwrap();
        }
        assert_eq!(text, include_str!("../../tests/golden/top-80x24.txt"));
    }

    #[test]
    fn any_size_can_be_drawn_and_no_row_is_wider_than_the_screen() {
        let mut model = model();
        for help in [false, true] {
            model.help = help;
            for (width, height) in [(1, 1), (3, 9), (20, 5), (79, 24), (200, 60), (500, 3)] {
                screen(&model, width, height);
            }
        }
        let (conversation, application) = widths(80);
        assert_eq!((conversation, application), (38, 13));
        for row in model.rows() {
            assert_eq!(row_text(row, widths(80)).chars().count(), 80);
        }
    }

    #[test]
    fn nothing_is_lost_without_colours() {
        let mut with = model();
        with.colours = true;
        assert_eq!(screen(&with, 80, 24), screen(&model(), 80, 24));
    }

    #[test]
    fn numbers_have_three_digits_and_a_prefix() {
        for (value, text) in [
            (0.0, "0 "),
            (800.0, "800 "),
            (999.6, "1.00 k"),
            (12_345.0, "12.3 k"),
            (93_200_000.0, "93.2 M"),
            (2.5e12, "2.50 T"),
        ] {
            assert_eq!(si(value), text);
        }
        assert_eq!([time(812), time(20_100), time(1_250_000)], ["812us", "20ms", "1250ms"]);
        assert_eq!((grouped(12_345_678), grouped(12)), ("12,345,678".into(), "12".into()));
    }

    #[test]
    fn a_trouble_is_shown_with_and_without_a_state() {
        let mut model = Model { trouble: Some("connection refused".into()), ..Model::default() };
        assert!(screen(&model, 80, 24).starts_with("connection refused"));
        model.snapshot = Some(snapshot());
        assert!(screen(&model, 80, 24).ends_with("no news: connection refused\n"));
    }
}
