//! Commands for a POSIX shell, made of words, so that nothing from outside can become syntax.

use std::{
    borrow::Cow,
    fmt::{self, Display},
};

/// A command that a person can paste into a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A program and its arguments.
    Run(Vec<Word>),
    /// Commands of which each runs only if the one before succeeded.
    And(Vec<Command>),
    /// Commands of which each reads what the one before prints.
    Pipe(Vec<Command>),
}

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// This text, quoted where the shell would take it for more.
    Text(String),
    /// What a command prints: a number or a plain name.
    Output(Box<Command>),
}

impl Command {
    /// A program with the arguments that are always the same, with blanks between them.
    pub fn new(words: &'static str) -> Self {
        Self::Run(Vec::new()).words(words)
    }

    /// Further arguments that are always the same.
    #[must_use]
    pub fn words(self, words: &'static str) -> Self {
        words.split(' ').fold(self, Self::arg)
    }

    /// One more argument, whatever is in it.
    #[must_use]
    pub fn arg(self, text: impl Display) -> Self {
        self.word(Word::Text(text.to_string()))
    }

    /// One more argument: what a command prints.
    #[must_use]
    pub fn output_of(self, command: Self) -> Self {
        self.word(Word::Output(Box::new(command)))
    }

    /// This command, and after its success that one.
    #[must_use]
    pub fn and(self, next: Self) -> Self {
        Self::And(vec![self, next])
    }

    /// This command, whose output that one reads.
    #[must_use]
    pub fn pipe(self, next: Self) -> Self {
        Self::Pipe(vec![self, next])
    }

    fn word(mut self, word: Word) -> Self {
        match &mut self {
            Self::Run(words) => words.push(word),
            Self::And(commands) | Self::Pipe(commands) => {
                if let Some(last) = commands.pop() {
                    commands.push(last.word(word));
                }
            }
        }
        self
    }

    /// Runs it by another program, which takes a command as its last arguments.
    #[must_use]
    pub fn run_by(&self, runner: Self) -> Self {
        match self {
            Self::Run(words) if !self.needs_a_shell() => {
                words.iter().cloned().fold(runner, Self::word)
            }
            script => runner.words("sh -c").arg(script),
        }
    }

    /// Whether another program cannot run it by itself.
    fn needs_a_shell(&self) -> bool {
        match self {
            Self::Run(words) => words.iter().any(|word| matches!(word, Word::Output(_))),
            Self::And(_) | Self::Pipe(_) => true,
        }
    }

    /// Whether some argument satisfies this.
    pub fn any_text(&self, is: &impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Run(words) => words.iter().any(|word| match word {
                Word::Text(text) => is(text),
                Word::Output(command) => command.any_text(is),
            }),
            Self::And(commands) | Self::Pipe(commands) => {
                commands.iter().any(|command| command.any_text(is))
            }
        }
    }
}

/// As it is pasted.
impl Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(words) => join(f, words, " "),
            Self::And(commands) => join(f, commands, " && "),
            Self::Pipe(commands) => join(f, commands, " | "),
        }
    }
}

impl Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Output(command) => write!(f, "$({command})"),
        }
    }
}

fn join(f: &mut fmt::Formatter<'_>, parts: &[impl Display], between: &str) -> fmt::Result {
    for (n, part) in parts.iter().enumerate() {
        if n > 0 {
            f.write_str(between)?;
        }
        write!(f, "{part}")?;
    }
    Ok(())
}

/// The text as one word of the shell's: an interface may have nearly any name.
pub fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:@/=,+%".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

#[cfg(test)]
mod tests {
    use std::process;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hostile_name_stays_one_word() {
        let command = Command::new("ip link set dev")
            .arg("a;b'c")
            .words("mtu")
            .arg(1450);
        assert_eq!(command.to_string(), r"ip link set dev 'a;b'\''c' mtu 1450");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn what_needs_a_shell_gets_one_where_another_program_runs_it() {
        let enter = || Command::new("ip netns exec").arg("a b");
        let plain = Command::new("ip route del").arg("10.0.0.0/8");
        assert_eq!(
            plain.run_by(enter()).to_string(),
            "ip netns exec 'a b' ip route del 10.0.0.0/8"
        );
        let list = Command::new("nft -a list chain").pipe(Command::new("sed -n").arg("s/x //p"));
        let nested = Command::new("nft delete rule handle").output_of(list);
        assert_eq!(
            nested.run_by(enter()).to_string(),
            "ip netns exec 'a b' sh -c 'nft delete rule handle $(nft -a list chain | sed -n '\\''s/x \
             //p'\\'')'"
        );
        let both = plain.clone().and(Command::new("true"));
        assert_eq!(
            both.run_by(Command::new("env")).to_string(),
            "env sh -c 'ip route del 10.0.0.0/8 && true'"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_shell_sees_the_words_that_were_given(text in "[^\0]{0,12}", runs in 0..3) {
            let mut command = Command::new("printf %s").arg(&text);
            for _ in 0..runs {
                command = command.and(Command::new("true")).run_by(Command::new("env"));
            }
            let script = command.to_string();
            let output = process::Command::new("sh").arg("-c").arg(script).output().unwrap();
            prop_assert_eq!(String::from_utf8_lossy(&output.stdout), text);
        }
    }
}
