//! A verdict: the dropping point, why, the evidence and the fix.

use super::{
    Page,
    canvas::{Paint, Piece, piece},
    units::INDENT,
};
use crate::model::{Apply, Confidence, Fix, PolicyVerdict, Verdict};

/// Facts shown of each verdict without `-v`.
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

/// Why, how that is known and what to do about it.
pub(super) fn draw_verdict(page: &mut Page<'_>, verdict: &Verdict) {
    let Verdict {
        why,
        evidence,
        fix,
        policy,
        ..
    } = verdict;
    if !why.is_empty() {
        page.canvas.labelled(INDENT, "why:", why, Paint::Plain);
    }
    let shown = match evidence.len() {
        all if page.verbose => all,
        // To say that there is one more takes a line, too.
        all if all == EVIDENCE_SHOWN + 1 => all,
        _ => EVIDENCE_SHOWN,
    };
    for fact in evidence.iter().take(shown) {
        page.canvas.labelled(INDENT, "-", fact, Paint::Dim);
    }
    if let Some(more @ 1..) = evidence.len().checked_sub(shown) {
        let text = format!("{more} more facts with -v");
        page.canvas.labelled(INDENT, "-", &text, Paint::Dim);
    }
    draw_remedy(page, policy.as_ref(), fix);
}

/// What a policy misses, and what to do.
pub(super) fn draw_remedy(page: &mut Page<'_>, policy: Option<&PolicyVerdict>, fixes: &[Fix]) {
    if let Some(policy) = policy {
        let text = format!(
            "{} isolates {} for {}; missing: {}",
            policy.policies.join(", "),
            policy.pod,
            policy.direction.name(),
            policy.missing
        );
        page.canvas.labelled(INDENT, "policy:", &text, Paint::Plain);
    }
    for fix in fixes {
        draw_fix(page, fix);
    }
}

/// What to do, and what takes it back: commands are copied one by one, sentences are read.
fn draw_fix(page: &mut Page<'_>, fix: &Fix) {
    match &fix.apply {
        Apply::Advice(_) => page
            .canvas
            .labelled(INDENT, "advice:", &fix.line(), Paint::Act),
        Apply::Command(_) | Apply::Recorded(..) => {
            page.canvas
                .verbatim(INDENT, "fix:", &fix.line(), Paint::Act);
        }
        Apply::Manifest(manifest) if page.manifests.is_known(&manifest.file, &manifest.text()) => {
            let flow = page.manifests.flow_of(&manifest.file);
            let flow = flow.filter(|flow| !flow.is_empty());
            let text = match flow {
                Some(flow) => format!("{}, as shown above for {flow}", manifest.file),
                None => format!("{}, as shown above", manifest.file),
            };
            page.canvas.labelled(INDENT, "fix:", &text, Paint::Act);
            return;
        }
        Apply::Manifest(manifest) => {
            page.canvas
                .verbatim(INDENT, "fix:", &manifest.text(), Paint::Act);
            page.canvas
                .verbatim(INDENT, "apply:", &fix.line(), Paint::Act);
        }
    }
    if let Some(undo) = fix.undo_line() {
        page.canvas.verbatim(INDENT, "undo:", &undo, Paint::Dim);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Manifest, Netns, NetnsName, shell::Command},
        sink::{
            Style,
            text::{Canvas, Manifests},
        },
    };

    fn lines(manifests: &mut Manifests, fix: &Fix) -> Vec<String> {
        let style = Style {
            width: Some(60),
            ..Style::plain()
        };
        let mut page = Page {
            canvas: Canvas::new(&style),
            style: &style,
            verbose: false,
            manifests,
        };
        draw_fix(&mut page, fix);
        let text = page.canvas.finish();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_fix_and_what_takes_it_back_are_copied_one_by_one() {
        let [apply, undo] = ["ip route del", "ip route add"];
        let route = |words| Command::new(words).arg("x");
        let mut fix = Fix::change(route(apply), route(undo));
        fix.resolve(&Netns::Known(NetnsName::Named("n".to_owned())));
        assert_eq!(
            lines(&mut Manifests::default(), &fix),
            [
                "    fix: ip netns exec n ip route del x",
                "    undo: ip netns exec n ip route add x"
            ]
        );
    }

    #[test]
    fn a_command_stays_in_one_piece_and_a_sentence_is_wrapped() {
        let mut manifests = Manifests::default();
        let text = "word ".repeat(20);
        let text = text.trim_end();
        let command = Command::new("echo").arg(text);
        assert_eq!(
            lines(&mut manifests, &Fix::command(command)),
            [format!("    fix: echo '{text}'")]
        );
        let wrapped = lines(&mut manifests, &Fix::advice(text));
        assert!(
            wrapped.len() > 1 && wrapped.iter().all(|line| line.len() <= 60),
            "{wrapped:?}"
        );
    }

    #[test]
    fn a_manifest_is_named_with_the_flow_that_it_was_shown_for() {
        let mut manifests = Manifests {
            flow: "pay/client → shop/cart:80".to_owned(),
            ..Manifests::default()
        };
        let manifest = Manifest {
            also: None,
            file: "allow.yaml".to_owned(),
            yaml: "kind: NetworkPolicy".to_owned(),
            command: Command::new("kubectl apply -f allow.yaml"),
        };
        let fix = Fix::manifest(manifest, Command::new("kubectl delete networkpolicy allow"));
        lines(&mut manifests, &fix);
        manifests.flow = "another".to_owned();
        let again = lines(&mut manifests, &fix).join(" ");
        let words = again.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(
            words,
            "fix: allow.yaml, as shown above for pay/client → shop/cart:80"
        );
    }

    #[test]
    fn a_manifest_is_shown_once_and_named_after_that() {
        let mut manifests = Manifests::default();
        let manifest = Manifest {
            also: None,
            file: "allow.yaml".to_owned(),
            yaml: "kind: NetworkPolicy".to_owned(),
            command: Command::new("kubectl apply -f allow.yaml"),
        };
        let undo = Command::new("kubectl delete networkpolicy allow");
        let fix = Fix::manifest(manifest, undo);
        assert_eq!(lines(&mut manifests, &fix).len(), 4);
        assert_eq!(
            lines(&mut manifests, &fix),
            ["    fix: allow.yaml, as shown above"]
        );
    }
}
