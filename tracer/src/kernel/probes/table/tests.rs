use super::*;

fn names(programs: &[&Program]) -> Vec<&'static str> {
    programs.iter().map(|program| program.name).collect()
}

/// The programs for a kernel whose `kfree_skb` has so many arguments, and all else.
fn with_arguments(arguments: usize) -> Result<Vec<&'static str>> {
    let (fitting, skipped) = fitting(|hook| match hook {
        Hook::Tracepoint(KFREE_SKB, _) => Some(arguments),
        _ => Some(3),
    })?;
    assert!(skipped.is_empty(), "{skipped:?}");
    Ok(names(&fitting))
}

#[test]
fn the_program_for_drops_follows_from_the_number_of_arguments() {
    let others = [
        "tc_ingress",
        "tc_egress",
        "netif_receive_skb",
        "net_dev_queue",
        "tcp_retransmit_skb",
        "tcp_v4_connect",
        "tcp_v6_connect",
        "tcp_v4_pre_connect",
        "tcp_v6_pre_connect",
    ];
    for (arguments, program) in [
        (2, "kfree_skb"),
        (3, "kfree_skb_reason"),
        (4, "kfree_skb_rx_sk"),
        (5, "kfree_skb_rx_sk"),
    ] {
        let expected: Vec<_> = [program].into_iter().chain(others).collect();
        assert_eq!(with_arguments(arguments).expect("programs"), expected);
    }
}

#[test]
fn there_is_no_trace_without_drops() {
    for (arguments, words) in [
        (Some(1), "1 argument, and 2 are needed"),
        (None, "not in this kernel's BTF"),
    ] {
        let is_other = |hook: Hook| hook.tracepoint() != Some(KFREE_SKB);
        let error = fitting(|hook| is_other(hook).then_some(3).or(arguments));
        let error = format!("{:#}", error.expect_err("no program for drops"));
        assert!(error.starts_with("no drop can be seen"), "{error}");
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn an_optional_hook_that_is_absent_is_skipped_with_the_reason() {
    let (fitting, skipped) =
        fitting(|hook| (hook.tracepoint() != Some("tcp_retransmit_skb")).then_some(3))
            .expect("programs");
    assert!(!names(&fitting).contains(&"tcp_retransmit_skb"));
    let [skipped] = skipped.as_slice() else {
        panic!("{skipped:?}");
    };
    assert_eq!(skipped.program.name, "tcp_retransmit_skb");
    assert_eq!(skipped.reason, "not in this kernel's BTF");
}

/// A kernel that has all there is.
fn as_many_as_needed(hook: Hook) -> Option<usize> {
    match hook {
        Hook::Tracepoint(..) => Some(4),
        Hook::Function(_, needed) => Some(needed),
        Hook::Interface => None,
    }
}

#[test]
fn a_function_with_other_arguments_is_skipped() {
    let (fitting, skipped) = fitting(|_| Some(4)).expect("programs");
    assert!(!names(&fitting).contains(&"tcp_v4_connect"));
    assert_eq!(skipped[0].reason, "it has 4 arguments, and 3 are needed");
}

#[test]
fn what_is_refused_is_skipped_if_it_is_optional_and_fatal_if_not() {
    let refuse = |refused: &'static str| {
        let mut skipped = Vec::new();
        let (all, _) = fitting(as_many_as_needed).expect("programs");
        let done = try_each(all, &mut skipped, |program| {
            if program.name != refused {
                return Ok(());
            }
            Err(anyhow!("R1 is a scalar"))
        })?;
        Ok::<_, anyhow::Error>((names(&done), skipped))
    };
    for program in PROGRAMS.iter().filter(|program| !program.required) {
        let (done, skipped) = refuse(program.name).expect("no error");
        assert!(!done.contains(&program.name) && done.contains(&"kfree_skb_rx_sk"));
        assert_eq!(skipped[0].program, program);
        assert_eq!(skipped[0].reason, "R1 is a scalar");
    }
    let error = format!(
        "{:#}",
        refuse("kfree_skb_rx_sk").expect_err("a required program")
    );
    assert!(error.contains("R1 is a scalar"), "{error}");
}
