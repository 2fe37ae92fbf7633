//! Man page and completions from the table of flags; `-generate WHAT`, for packages.

use std::fmt::Write;

use super::syntax::{Class, Flag, Kind};
use super::usage::{described, names};

/// Writes what was asked for; `None` when there is no such thing.
pub(super) fn text(what: &str, table: &[Flag]) -> Option<String> {
    match what {
        "man" => Some(man(table)),
        "completions-bash" => Some(bash(table)),
        "completions-zsh" => Some(zsh(table)),
        "completions-fish" => Some(fish(table)),
        _ => None,
    }
}

fn working(table: &[Flag]) -> impl Iterator<Item = &Flag> {
    table.iter().filter(|flag| flag.class == Class::Works)
}

/// man(7).
fn man(table: &[Flag]) -> String {
    let mut page = format!(
        ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n.TH KPROXY 8 \"\" \"kproxy {}\"\n",
        env!("CARGO_PKG_VERSION")
    );
    page.push_str(
        ".SH NAME\nkproxy \\- forward proxy between probes and their backend\n\
         .SH SYNOPSIS\n\\fBkproxy\\fR \\fB\\-proxy\\-http\\fR \\fI[addr:]port\\fR \
         [\\fB\\-proxy\\-http\\-allow\\fR \\fIhost[:port],...\\fR] [\\fIflags\\fR]\n\
         .SH DESCRIPTION\nAn HTTP forward proxy through which probes in a private network reach \
         the service, and nothing else. Flags have one or two dashes, and a value after a space or \
         =; switches are turned off with =false.\n.SH OPTIONS\n",
    );
    for flag in working(table) {
        let (help, placeholder) = described(flag);
        // Writing to a string cannot fail.
        let _ = write!(page, ".TP\n\\fB\\-{}\\fR", roff(flag.name));
        if !placeholder.is_empty() {
            let _ = write!(page, " \\fI{}\\fR", roff(placeholder));
        }
        let _ = write!(page, "\n{}", roff(&help));
        if !flag.default.is_empty() {
            let _ = write!(page, " [default: {}]", roff(flag.default));
        }
        page.push('\n');
    }
    page.push_str(
        ".TP\n\\fB\\-help\\fR\nPrint the flags\n\
         .SH ENVIRONMENT\n\\fBKENTIK_API_EMAIL\\fR, \\fBKENTIK_API_TOKEN\\fR and \
         \\fBKENTIK_REGION\\fR are used where their flag is not given. Keep the token there: \
         others can read a command line.\n\
         .SH SIGNALS\nSIGTERM and SIGINT end it in order.\n\
         .SH EXIT STATUS\n0 after a signal; 1 when something failed; 2 for a wrong command line.\n",
    );
    for (title, class) in
        [("FLAGS WITHOUT FUNCTION YET", Class::Absent), ("FLAGS THAT ARE IGNORED", Class::Ignored)]
    {
        let mut list = String::new();
        names(&mut list, table, class);
        let _ = write!(page, ".SH {title}\n{}\n", roff(list.trim()).replace("\n ", "\n"));
    }
    page.push_str(".SH SEE ALSO\nkprobe(8), khub(8)\n");
    page
}

/// Text that means itself.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\*(Aq");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}

fn takes_file(flag: &Flag) -> bool {
    flag.help.contains("`file`") || flag.help.contains("`directory`")
}

fn bash(table: &[Flag]) -> String {
    let list = |wanted: fn(&Flag) -> bool, between: &str| {
        let flags = working(table).filter(|flag| wanted(flag));
        flags.map(|flag| format!("-{}", flag.name)).collect::<Vec<_>>().join(between)
    };
    let all = list(|_| true, " ");
    let valued = list(|flag| flag.kind != Kind::Switch && !takes_file(flag), "|");
    format!(
        "_kproxy() {{\n    local word=${{COMP_WORDS[COMP_CWORD]}}\n    \
         case ${{COMP_WORDS[COMP_CWORD-1]}} in\n        {valued}) return ;;\n    esac\n    \
         COMPREPLY=($(compgen -W '{all} -help' -- \"$word\"))\n}}\ncomplete -F _kproxy kproxy\n"
    )
}

fn zsh(table: &[Flag]) -> String {
    let mut script = String::from("#compdef kproxy\n\n_arguments \\\n");
    for flag in working(table) {
        let (help, placeholder) = described(flag);
        let value = if placeholder.is_empty() {
            String::new()
        } else {
            format!(":{}:", zsh_text(placeholder))
        };
        let _ = writeln!(script, "    '-{}[{}]{value}' \\", flag.name, zsh_text(&help));
    }
    script.push_str("    '-help[print the flags]'\n");
    script
}

/// In single quotes, within brackets.
fn zsh_text(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '\'' => out.push_str("'\\''"),
            '[' | ']' | ':' | '\\' => out.extend(['\\', letter]),
            _ => out.push(letter),
        }
    }
    out
}

fn fish(table: &[Flag]) -> String {
    let mut script = String::new();
    for flag in working(table) {
        let (help, _) = described(flag);
        let value = if flag.kind == Kind::Switch { "" } else { " -r -f" };
        let help = help.replace('\\', "\\\\").replace('\'', "\\'");
        let _ = writeln!(script, "complete -c kproxy -o {}{value} -d '{help}'", flag.name);
    }
    script.push_str("complete -c kproxy -o help -d 'print the flags'\n");
    script
}

#[cfg(test)]
mod tests {
    use super::super::FLAGS;
    use super::*;

    #[test]
    fn every_flag_is_in_the_man_page_and_every_one_that_works_in_the_completions() {
        let page = text("man", FLAGS).unwrap().replace("\\-", "-");
        for flag in FLAGS {
            assert!(page.contains(&format!("-{}", flag.name)), "{}", flag.name);
        }
        for what in ["completions-bash", "completions-zsh", "completions-fish"] {
            let script = text(what, FLAGS).unwrap();
            for flag in working(FLAGS) {
                let fish = format!(" -o {} ", flag.name);
                let named = [" ", "'", "|"].iter().any(|start| {
                    [" ", "[", "|", ")"]
                        .iter()
                        .any(|end| script.contains(&format!("{start}-{}{end}", flag.name)))
                });
                assert!(named || script.contains(&fish), "{what}: {}", flag.name);
            }
        }
        assert_eq!(text("nonsense", FLAGS), None);
    }

    #[test]
    fn text_means_itself_in_a_man_page() {
        assert_eq!(roff(".kentik.com, it's -x \\"), "\\&.kentik.com, it\\*(Aqs \\-x \\e");
    }

    #[test]
    fn zsh_sees_no_structure_in_a_help_line() {
        assert_eq!(zsh_text("a [b:c] it's"), "a \\[b\\:c\\] it'\\''s");
    }
}
