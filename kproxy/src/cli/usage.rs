//! Help, laid out as Go's `flag` package does.

use std::fmt::Write;

use super::syntax::{Class, Flag, Kind};

/// All flags that do or will do something, and the names of those that never will.
pub(super) fn text(table: &[Flag]) -> String {
    let mut text = String::from(
        "Usage of kproxy: the HTTP forward proxy of the flow proxy agent.\n\n\
         \x20 kproxy -proxy-http [addr:]port [-proxy-http-allow host[:port],...] [flags]\n\n\
         Flags have one or two dashes, and a value after a space or =; switches are turned off\n\
         with =false. Keep the token in KENTIK_API_TOKEN: others can read a command line.\n\n",
    );
    for flag in table.iter().filter(|flag| flag.class == Class::Works) {
        entry(&mut text, flag);
    }
    text.push_str("\nAccepted, not there yet; a warning at start names them:\n");
    names(&mut text, table, Class::Absent);
    text.push_str("\nAccepted and ignored:\n");
    names(&mut text, table, Class::Ignored);
    text
}

fn entry(text: &mut String, flag: &Flag) {
    let (help, placeholder) = described(flag);
    // Writing to a string cannot fail.
    let _ = write!(text, "  -{}", flag.name);
    if !placeholder.is_empty() {
        let _ = write!(text, " {placeholder}");
    }
    let _ = write!(text, "\n    \t{help}");
    if !flag.default.is_empty() {
        let _ = write!(text, " (default {})", flag.default);
    }
    text.push('\n');
}

/// The help sentence, and what it calls the value; empty for a switch.
pub(super) fn described(flag: &Flag) -> (String, &'static str) {
    match flag.help.split('`').collect::<Vec<_>>()[..] {
        [before, name, after] => (format!("{before}{name}{after}"), name),
        _ => (flag.help.to_owned(), kind(flag.kind)),
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Switch => "",
        Kind::Integer => "int",
        Kind::Text | Kind::Secret => "string",
    }
}

/// The names of a class, in lines.
pub(super) fn names(text: &mut String, table: &[Flag], class: Class) {
    let mut width = usize::MAX;
    for flag in table.iter().filter(|flag| flag.class == class) {
        if width > 80 {
            text.push_str(if width == usize::MAX { " " } else { "\n " });
            width = 1;
        }
        text.push_str(" -");
        text.push_str(flag.name);
        width += flag.name.len() + 2;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::FLAGS;

    #[test]
    fn help_names_every_flag() {
        let text = super::text(FLAGS);
        for flag in FLAGS {
            assert!(text.contains(&format!("-{}", flag.name)), "{}", flag.name);
        }
        assert!(text.contains(
            "  -proxy-http-idle-timeout seconds\n    \tseconds without a byte that end a tunnel (default 900)\n"
        ));
        assert!(text.contains("  -verbose\n    \tas -log_level debug\n"));
    }
}
