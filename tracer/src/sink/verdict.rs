//! A verdict: the dropping point, why, the evidence and the fix.

use super::{
    canvas::{Canvas, Paint, Piece, piece},
    units::INDENT,
};
use crate::model::{Apply, Confidence, Fix, Point, PolicyVerdict, Verdict};

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
pub(super) fn draw_remedy(canvas: &mut Canvas<'_>, policy: Option<&PolicyVerdict>, fixes: &[Fix]) {
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
    for fix in fixes {
        draw_fix(canvas, fix);
    }
}

/// What to do, and what takes it back: commands are copied one by one, sentences are read.
fn draw_fix(canvas: &mut Canvas<'_>, fix: &Fix) {
    match &fix.apply {
        Apply::Advice(_) => canvas.labelled(INDENT, "fix:", &fix.line(), Paint::Act),
        Apply::Command(_) | Apply::Recorded(_) => {
            canvas.verbatim(INDENT, "fix:", &fix.line(), Paint::Act);
        }
        Apply::Manifest(manifest) => {
            canvas.verbatim(INDENT, "fix:", &manifest.text(), Paint::Act);
            canvas.verbatim(INDENT, "apply:", &fix.line(), Paint::Act);
        }
    }
    if let Some(undo) = fix.undo_line() {
        canvas.verbatim(INDENT, "undo:", &undo, Paint::Dim);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Netns, NetnsName, shell::Command},
        sink::Style,
    };

    fn lines(fix: &Fix) -> Vec<String> {
        let style = Style {
            width: Some(60),
            ..Style::plain()
        };
        let mut canvas = Canvas::new(&style);
        draw_fix(&mut canvas, fix);
        canvas.finish().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_fix_and_what_takes_it_back_are_copied_one_by_one() {
        let [apply, undo] = ["ip route del", "ip route add"];
        let route = |words| Command::new(words).arg("x");
        let mut fix = Fix::change(route(apply), route(undo));
        fix.resolve(&Netns::Known(NetnsName::Named("n".to_owned())));
        assert_eq!(
            lines(&fix),
            [
                "    fix: ip netns exec n ip route del x",
                "    undo: ip netns exec n ip route add x"
            ]
        );
    }

    #[test]
    fn a_command_stays_in_one_piece_and_a_sentence_is_wrapped() {
        let text = "word ".repeat(20);
        let text = text.trim_end();
        let command = Command::new("echo").arg(text);
        assert_eq!(
            lines(&Fix::command(command)),
            [format!("    fix: echo '{text}'")]
        );
        let wrapped = lines(&Fix::advice(text));
        assert!(
            wrapped.len() > 1 && wrapped.iter().all(|line| line.len() <= 60),
            "{wrapped:?}"
        );
    }
}
