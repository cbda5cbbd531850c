//! What would let packets through, typed until it is shown.

use super::{NetnsName, shell::Command};

/// Something that would let packets through. whydrop only proposes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// Where it is to be done.
    pub site: Site,
    /// What is to be done.
    pub apply: Apply,
    /// What takes it back.
    pub undo: Option<Undo>,
    /// What to know about it, in a few words.
    pub note: Option<&'static str>,
}

/// Where a fix is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Site {
    /// In the network namespace that lost the packet.
    Namespace(Netns),
    /// On the node itself, for all of its namespaces.
    Host,
    /// On this node and on the one at the tunnel's other end.
    BothNodes,
    /// Where the packets come from.
    Sender,
    /// In the network or on the hosts behind this node.
    Beyond,
    /// Wherever `kubectl` reaches the cluster.
    Cluster,
}

/// A namespace to enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Netns {
    /// Which one it is, is still to be filled in.
    Unresolved,
    /// The one of this name.
    Known(NetnsName),
    /// One that has no name and no process, by its inode number.
    Nameless(u32),
}

impl Netns {
    /// A command, to be pasted where whydrop runs if that can be done from there.
    pub fn there(&self, command: &Command) -> String {
        match self {
            Self::Known(name) => name.enter(command).to_string(),
            // Not a command: pasted, it must not run in another namespace.
            Self::Nameless(inode) => format!("in the network namespace {inode}: {command}"),
            Self::Unresolved => command.to_string(),
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Apply {
    /// A command to paste.
    Command(Command),
    /// A sentence to read.
    Advice(String),
    /// A file to save.
    Manifest(Manifest),
    /// What another trace has recorded.
    Recorded(String),
}

/// What takes a fix back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undo {
    /// A command, for the same place.
    Command(Command),
    /// What another trace has recorded, with its place.
    Recorded(String),
}

/// A manifest of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The name of the file.
    pub file: String,
    /// What else it admits, as its labels are those of other pods, too.
    pub also: Option<String>,
    /// What is in it.
    pub yaml: String,
    /// The command that applies the file.
    pub command: Command,
}

/// What stands between a command and the one that takes it back, in a record.
const UNDO: &str = " (undo: ";

impl Manifest {
    /// The file, with its name in the first line.
    pub fn text(&self) -> String {
        let also = self.also.as_deref().map(comment).unwrap_or_default();
        format!("# {}\n{also}{}", self.file, self.yaml)
    }
}

/// Columns that a comment in a manifest takes at most, unless a word of it is longer.
const COMMENT: usize = 78;

/// A sentence as a comment, in as many lines as it needs.
fn comment(sentence: &str) -> String {
    let mut text = "#".to_owned();
    let mut column = 1;
    for word in sentence.split_whitespace() {
        let columns = 1 + word.chars().count();
        if column > 1 && column + columns > COMMENT {
            text += "\n#";
            column = 1;
        }
        text += " ";
        text += word;
        column += columns;
    }
    text + "\n"
}

impl Fix {
    /// A command for the namespace that lost the packet, and the one that takes it back.
    pub fn change(apply: Command, undo: Command) -> Self {
        Self {
            undo: Some(Undo::Command(undo)),
            ..Self::command(apply)
        }
    }

    /// A command for the namespace that lost the packet, which no other takes back.
    pub fn command(apply: Command) -> Self {
        Self::new(Apply::Command(apply))
    }

    /// A sentence.
    pub fn advice(sentence: impl Into<String>) -> Self {
        Self::new(Apply::Advice(sentence.into()))
    }

    /// A manifest, and the command that removes it again.
    pub fn manifest(manifest: Manifest, undo: Command) -> Self {
        Self {
            site: Site::Cluster,
            undo: Some(Undo::Command(undo)),
            ..Self::new(Apply::Manifest(manifest))
        }
    }

    /// The text of a fix in a trace that was recorded: `COMMAND (undo: COMMAND)`, or one of both alone.
    pub fn recorded(text: String) -> Self {
        let both = text.strip_suffix(')').and_then(|it| it.rsplit_once(UNDO));
        match both {
            Some((line, undo)) => Self {
                undo: Some(Undo::Recorded(undo.to_owned())),
                ..Self::new(Apply::Recorded(line.to_owned()))
            },
            None => Self::new(Apply::Recorded(text)),
        }
    }

    /// All of it in one text, as a record has it.
    pub fn text(&self) -> String {
        match self.undo_line() {
            Some(undo) => format!("{}{UNDO}{undo})", self.line()),
            None => self.line(),
        }
    }

    fn new(apply: Apply) -> Self {
        Self {
            site: Site::Namespace(Netns::Unresolved),
            apply,
            undo: None,
            note: None,
        }
    }

    /// Another place.
    #[must_use]
    pub fn at(self, site: Site) -> Self {
        Self { site, ..self }
    }

    /// What to know about it.
    #[must_use]
    pub fn noting(self, note: &'static str) -> Self {
        Self {
            note: Some(note),
            ..self
        }
    }

    /// Fills in which namespace lost the packet, unless that was done before.
    pub fn resolve(&mut self, netns: &Netns) {
        if let Site::Namespace(place @ Netns::Unresolved) = &mut self.site {
            place.clone_from(netns);
        }
    }

    /// The manifest, where it is one.
    pub fn as_manifest(&self) -> Option<&Manifest> {
        match &self.apply {
            Apply::Manifest(manifest) => Some(manifest),
            _ => None,
        }
    }

    /// The line that applies it: a command to paste, with what to know behind a `#`, or a sentence.
    pub fn line(&self) -> String {
        match &self.apply {
            Apply::Command(command) => {
                let remarks: Vec<_> = self.place_in_words().into_iter().chain(self.note).collect();
                let command = self.there(command);
                match remarks.as_slice() {
                    [] => command,
                    remarks => format!("{command}  # {}", remarks.join(": ")),
                }
            }
            Apply::Advice(sentence) => match self.place_in_words() {
                Some(place) => format!("{place}: {sentence}"),
                None => sentence.clone(),
            },
            Apply::Manifest(manifest) => self.there(&manifest.command),
            Apply::Recorded(line) => line.clone(),
        }
    }

    /// The line that takes it back.
    pub fn undo_line(&self) -> Option<String> {
        self.undo.as_ref().map(|undo| match undo {
            Undo::Command(command) => self.there(command),
            Undo::Recorded(line) => line.clone(),
        })
    }

    /// A command, to be pasted where whydrop runs if that can be done from there.
    fn there(&self, command: &Command) -> String {
        match &self.site {
            Site::Namespace(netns) => netns.there(command),
            _ => command.to_string(),
        }
    }

    fn place_in_words(&self) -> Option<&'static str> {
        match self.site {
            Site::Namespace(_) | Site::Cluster => None,
            Site::Host => Some("on the host"),
            Site::BothNodes => Some("on both nodes"),
            Site::Sender => Some("at the sender"),
            Site::Beyond => Some("beyond this node"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change() -> Fix {
        let set = |value: u8| Command::new("sysctl -w").arg(format!("net.x={value}"));
        Fix::change(set(1), set(0))
    }

    #[test]
    fn a_comment_takes_as_many_lines_as_it_needs() {
        let sentence = ["word"; 20].join(" ");
        let manifest = Manifest {
            file: "a.yaml".to_owned(),
            also: Some(sentence),
            yaml: "kind: X\n".to_owned(),
            command: Command::new("true"),
        };
        let text = manifest.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines.iter().all(|line| line.len() <= COMMENT));
        assert!(lines[..3].iter().all(|line| line.starts_with("# ")));
        assert_eq!(text.matches("word").count(), 20);
    }

    #[test]
    fn both_commands_are_pasted_as_they_are() {
        let mut fix = change().noting("then restart it");
        fix.resolve(&Netns::Known(NetnsName::Named("pod".to_owned())));
        // Only the first answer counts.
        fix.resolve(&Netns::Nameless(7));
        assert_eq!(
            fix.line(),
            "ip netns exec pod sysctl -w net.x=1  # then restart it"
        );
        assert_eq!(
            fix.undo_line().as_deref(),
            Some("ip netns exec pod sysctl -w net.x=0")
        );
    }

    #[test]
    fn a_record_of_both_commands_is_two_commands_again() {
        let fix = Fix::recorded(change().text());
        assert_eq!(fix.line(), "sysctl -w net.x=1");
        assert_eq!(fix.undo_line().as_deref(), Some("sysctl -w net.x=0"));
        assert_eq!(fix.text(), change().text());
        let advice = Fix::recorded("let through tcp (or not)".to_owned());
        assert_eq!(advice.line(), "let through tcp (or not)");
        assert_eq!(advice.undo_line(), None);
    }

    #[test]
    fn what_belongs_elsewhere_says_so() {
        let mut fix = change().at(Site::Host);
        fix.resolve(&Netns::Known(NetnsName::Named("pod".to_owned())));
        assert_eq!(fix.line(), "sysctl -w net.x=1  # on the host");
        let advice = Fix::advice("let through tcp").at(Site::Beyond);
        assert_eq!(advice.line(), "beyond this node: let through tcp");
        let mut nameless = change();
        nameless.resolve(&Netns::Nameless(7));
        assert_eq!(
            nameless.line(),
            "in the network namespace 7: sysctl -w net.x=1"
        );
    }
}
