//! Man page and completions, from the command line's own description; `--generate`, for packages.

use anyhow::bail;
use clap::Command;
use clap_complete::Shell;

/// Writes what was asked for.
///
/// # Errors
/// It is none of the things there are.
pub(crate) fn text(what: &str, command: Command) -> anyhow::Result<Vec<u8>> {
    let shell = match what {
        "man" => {
            let mut page = Vec::new();
            let man = clap_mangen::Man::new(command).title("KHUB").section("8");
            man.render(&mut page)?;
            return Ok(page);
        }
        "completions-bash" => Shell::Bash,
        "completions-zsh" => Shell::Zsh,
        "completions-fish" => Shell::Fish,
        _ => bail!("--generate {what}: expected man, completions-bash, -zsh or -fish"),
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut shown(&command), "khub", &mut script);
    Ok(script)
}

/// Completions show hidden flags, too: it gets a command without them.
fn shown(command: &Command) -> Command {
    let mut shown = Command::new("khub");
    for flag in command.get_arguments().filter(|flag| !flag.is_hide_set()) {
        shown = shown.arg(flag.clone());
    }
    shown.version(env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;

    #[test]
    fn every_face_has_every_flag_that_is_shown_and_no_other() {
        for what in ["man", "completions-bash", "completions-zsh", "completions-fish"] {
            let text = String::from_utf8(text(what, command()).unwrap()).unwrap();
            let text = text.replace("\\-", "-");
            for flag in command().get_arguments() {
                let long = flag.get_long().unwrap();
                let named =
                    text.contains(&format!("--{long}")) || text.contains(&format!("-l {long}"));
                assert_eq!(named, !flag.is_hide_set(), "{what}: {long}");
            }
        }
        assert!(text("nonsense", command()).is_err());
    }
}
