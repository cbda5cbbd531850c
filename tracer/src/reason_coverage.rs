//! Each drop reason of the running kernel: judged by a rule, known as harmless, or left to "unknown"
//! on purpose. A new kernel's reasons fail this test until it is said which.

use std::collections::BTreeSet;

use crate::{
    kernel::{btf::KernelBtf, reasons::Reasons},
    verdict::treatment::{Treatment, UNJUDGED, treatments},
};

#[test]
fn each_reason_of_this_kernel_is_judged_harmless_or_left_unknown_on_purpose() {
    let btf = KernelBtf::of_running_kernel().expect("the kernel's BTF");
    let reasons = Reasons::read(&btf);
    let names: BTreeSet<_> = reasons.names().collect();
    assert!(names.len() > 50, "the kernel has reasons: {names:?}");
    let forgotten: Vec<_> = names
        .iter()
        .filter(|reason| treatments(reason).is_empty())
        .collect();
    assert!(
        forgotten.is_empty(),
        "no rule, and no word why: {forgotten:?}"
    );
}

#[test]
fn what_is_left_unknown_on_purpose_is_not_judged() {
    for (reason, _) in UNJUDGED {
        let mut treatments = treatments(reason);
        // Some packets of that reason may be harmless.
        treatments.remove(&Treatment::Harmless);
        assert_eq!(treatments, [Treatment::Unjudged].into(), "{reason}");
    }
}
