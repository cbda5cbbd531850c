//! A verdict: the dropping point, why, the evidence and the fix.

use super::{
    canvas::{Canvas, Paint, Piece, piece},
    units::INDENT,
};
use crate::model::{Confidence, Point, PolicyVerdict, Verdict};

/// Facts shown with each drop. The others are in the JSON.
const EVIDENCE_SHOWN: usize = 2;

/// The dropping point, and how sure it is, in words.
pub(super) fn blame(verdict: &Verdict) -> String {
    format!("{} ({})", verdict.point.name(), verdict.confidence.name())
}

/// How loud a verdict is.
pub(super) fn alarm(confidence: Confidence) -> Paint {
    match confidence {
        Confidence::Confirmed => Paint::Bad,
        Confidence::Likely | Confidence::Possible => Paint::Warn,
    }
}

/// The dropping point, and how sure it is.
pub(super) fn point(verdict: &Verdict) -> Piece {
    piece(blame(verdict), alarm(verdict.confidence))
}

/// Why, how we know and what to do about it; in short where it was `told` just before.
pub(super) fn draw_verdict(canvas: &mut Canvas<'_>, verdict: &Verdict, told: bool) {
    if told {
        if verdict.point != Point::Unknown {
            canvas.line(INDENT, INDENT, &[piece("why: as above", Paint::Dim)]);
        }
        return;
    }
    let Verdict {
        why,
        evidence,
        fix,
        policy,
        ..
    } = verdict;
    if !why.is_empty() {
        canvas.labelled(INDENT, "why:", why, Paint::Plain);
    }
    // To say that there is one more takes a line too.
    let shown = if evidence.len() == EVIDENCE_SHOWN + 1 {
        evidence.len()
    } else {
        EVIDENCE_SHOWN
    };
    for fact in evidence.iter().take(shown) {
        canvas.labelled(INDENT, "-", fact, Paint::Dim);
    }
    if evidence.len() > shown {
        let more = evidence.len() - shown;
        let text = format!("{more} more facts with -o json");
        canvas.labelled(INDENT, "-", &text, Paint::Dim);
    }
    draw_remedy(canvas, policy.as_ref(), fix);
}

/// What a policy misses, and what to do.
pub(super) fn draw_remedy(canvas: &mut Canvas<'_>, policy: Option<&PolicyVerdict>, fix: &[String]) {
    if let Some(policy) = policy {
        let text = format!(
            "{} isolates {} for {}; missing: {}",
            policy.policies.join(", "),
            policy.pod,
            policy.direction.name(),
            policy.missing
        );
        canvas.labelled(INDENT, "policy:", &text, Paint::Plain);
    }
    for command in fix {
        let (apply, undo) = split_undo(command);
        if is_sentence(apply) {
            canvas.labelled(INDENT, "fix:", apply, Paint::Act);
        } else {
            canvas.verbatim(INDENT, "fix:", apply, Paint::Act);
        }
        if let Some(undo) = undo {
            canvas.verbatim(INDENT, "undo:", &undo, Paint::Dim);
        }
    }
}

/// How fixes begin that are no command: they are read, not copied, and may be wrapped.
const SENTENCES: [&str; 3] = ["beyond this node", "change the ", "on both nodes: "];

fn is_sentence(fix: &str) -> bool {
    SENTENCES.iter().any(|start| fix.starts_with(start))
}

/// What to do, and what takes it back in the same namespace: to be copied one by one.
fn split_undo(fix: &str) -> (&str, Option<String>) {
    let parts = fix
        .strip_suffix(')')
        .and_then(|fix| fix.split_once(" (undo: "));
    let Some((apply, undo)) = parts else {
        return (fix, None);
    };
    let place = apply
        .starts_with("in netns ")
        .then(|| apply.split_once(": "))
        .flatten();
    let undo = match place {
        Some((place, _)) => format!("{place}: {undo}"),
        None => undo.to_owned(),
    };
    (apply, Some(undo))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Style;

    #[test]
    fn a_fix_and_what_takes_it_back_are_copied_one_by_one() {
        let (apply, undo) = split_undo("in netns n: ip route del x (undo: ip route add x)");
        assert_eq!(apply, "in netns n: ip route del x");
        assert_eq!(undo.as_deref(), Some("in netns n: ip route add x"));
        assert_eq!(split_undo("open (any) port"), ("open (any) port", None));
    }

    #[test]
    fn a_command_stays_in_one_piece_and_a_sentence_is_wrapped() {
        let style = Style {
            width: Some(60),
            ..Style::plain()
        };
        let lines = |fix: &str| {
            let mut canvas = Canvas::new(&style);
            draw_remedy(&mut canvas, None, &[fix.to_owned()]);
            canvas
                .finish()
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let command = format!(
            "in netns n: nft insert rule {}",
            "word ".repeat(20).trim_end()
        );
        assert_eq!(lines(&command), [format!("    fix: {command}")]);
        let sentence = format!("beyond this node, {}", "word ".repeat(20).trim_end());
        let wrapped = lines(&sentence);
        assert!(
            wrapped.len() > 1 && wrapped.iter().all(|line| line.len() <= 60),
            "{wrapped:?}"
        );
    }
}
