//! `whydrop completions` and `whydrop man`: files that packages install beside the program. Both are
//! made from the command line's definition, so that they are never out of date.

use std::io::{self, ErrorKind, Write};

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::Cli;

/// Prints the completion script for a shell.
///
/// # Errors
///
/// `out` cannot be written to. A closed pipe is no error.
pub(crate) fn completions(out: &mut impl Write, shell: Shell) -> io::Result<()> {
    let mut script = Vec::new();
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    write(out, &script)
}

/// Prints the manual page of the program, or that of one of its subcommands.
///
/// # Errors
///
/// `out` cannot be written to, or there is no such subcommand. A closed pipe is no error.
pub(crate) fn man(out: &mut impl Write, subcommand: Option<&str>) -> io::Result<()> {
    let mut program = Cli::command();
    program.build();
    let command = match subcommand {
        None => program,
        Some(name) => {
            let found = program.find_subcommand(name).cloned();
            let missing = || io::Error::other(format!("there is no subcommand {name}"));
            // Its page is that of `whydrop-check`, as for git.
            let title = format!("{}-{name}", program.get_name());
            found.ok_or_else(missing)?.display_name(title)
        }
    };
    let notes = command.get_after_long_help().map(ToString::to_string);
    let sections = Man::new(command);
    let mut page = Vec::new();
    sections.render_title(&mut page)?;
    sections.render_name_section(&mut page)?;
    sections.render_synopsis_section(&mut page)?;
    sections.render_description_section(&mut page)?;
    sections.render_options_section(&mut page)?;
    if subcommand.is_none() {
        sections.render_subcommands_section(&mut page)?;
    }
    if let Some(notes) = notes {
        writeln!(page, ".SH NOTES\n.nf\n{}\n.fi", roff(&notes))?;
    }
    write(out, &page)
}

fn write(out: &mut impl Write, text: &[u8]) -> io::Result<()> {
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Text as roff shows it unchanged: clap_mangen would fill its lines, which are tables.
fn roff(text: &str) -> String {
    // A line that starts with a zero-width space is not a request.
    text.replace('\\', "\\e")
        .replace('-', "\\-")
        .replace("\n.", "\n\\&.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(print: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        print(&mut out).expect("a vector can be written to");
        String::from_utf8(out).expect("it is text")
    }

    #[test]
    fn completions_know_subcommands_and_options() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = text(|out| completions(out, shell));
            for word in ["explain", "netns", "kubeconfig"] {
                assert!(script.contains(word), "{word} is missing for {shell}");
            }
        }
    }

    #[test]
    fn pages_are_of_the_program_and_of_its_subcommands() {
        let page = text(|out| man(out, None));
        assert!(page.contains(".TH whydrop 1"), "{page}");
        assert!(page.contains("Exit status"), "{page}");
        let page = text(|out| man(out, Some("explain")));
        assert!(page.contains(".TH whydrop-explain 1"), "{page}");
        assert!(man(&mut Vec::new(), Some("nothing")).is_err());
    }
}
