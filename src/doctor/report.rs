//! Findings as aligned text for people.

use std::io::{self, Write};

use super::finding::{Finding, Grade};

const GRADE_COLUMNS: usize = 8;
const CHECK_COLUMNS: usize = 17;
/// Evidence is broken to keep lines within this; commands never are, they are there to be copied.
const LINE_COLUMNS: usize = 100;

/// Findings under a heading.
#[derive(Clone, Debug)]
pub struct Section {
    /// Heading.
    pub title: String,
    /// Findings in the order of the checks.
    pub findings: Vec<Finding>,
}

/// Writes all sections and a line that counts the grades.
///
/// # Errors
/// The writer's.
pub fn write(sections: &[Section], out: &mut dyn Write) -> io::Result<()> {
    for section in sections {
        writeln!(out, "{}", printable(&section.title))?;
        for finding in &section.findings {
            write_finding(finding, out)?;
        }
        writeln!(out)?;
    }
    writeln!(out, "{}", tally(sections))
}

fn write_finding(finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
    let indent = 2 + GRADE_COLUMNS + CHECK_COLUMNS;
    let lines = broken(&finding.evidence, LINE_COLUMNS - indent);
    let mut lines = lines.iter();
    let (grade, check) = (finding.grade, finding.check);
    let first = lines.next().map_or("", String::as_str);
    writeln!(out, "  {grade:GRADE_COLUMNS$}{check:CHECK_COLUMNS$}{first}")?;
    for line in lines {
        writeln!(out, "{:indent$}{line}", "")?;
    }
    for command in &finding.advice {
        writeln!(out, "{:indent$}fix: {}", "", printable(command))?;
    }
    Ok(())
}

/// Names come from whoever made them; a terminal must not obey them.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The text in lines of at most `columns` characters, broken at spaces; a longer word stays whole.
fn broken(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in printable(text).split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn tally(sections: &[Section]) -> String {
    let count = |grade| {
        let all = sections.iter().flat_map(|section| &section.findings);
        all.filter(|finding| finding.grade == grade).count()
    };
    format!(
        "{} bad, {} warn, {} unknown, {} note, {} ok",
        count(Grade::Bad),
        count(Grade::Warn),
        count(Grade::Unknown),
        count(Grade::Note),
        count(Grade::Ok)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_aligned_and_commands_stand_on_lines_of_their_own() {
        let findings = vec![
            Finding::new("clock", Grade::Ok, "tsc"),
            Finding::new(
                "offload",
                Grade::Warn,
                "LRO is on: the device merges frames and forgets how long they were, so that \
                 packets and bytes become estimates.",
            )
            .advise("ethtool -K eth0 lro off"),
        ];
        let mut text = Vec::new();
        write(&[Section { title: "eth0".into(), findings }], &mut text).unwrap();
        let expected = "\
eth0
  ok      clock            tsc
  warn    offload          LRO is on: the device merges frames and forgets how long they were, so
                           that packets and bytes become estimates.
                           fix: ethtool -K eth0 lro off

0 bad, 1 warn, 0 unknown, 0 note, 1 ok
";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        let findings = vec![Finding::new("x", Grade::Ok, "a\u{1b}[2Jb").advise("c\nd")];
        let mut text = Vec::new();
        write(&[Section { title: "t\u{7}".into(), findings }], &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("a [2Jb") && text.contains("fix: c d"), "{text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    }

    #[test]
    fn a_long_word_is_not_cut() {
        assert_eq!(broken("a bcdefghij k", 5), ["a", "bcdefghij", "k"]);
    }
}
