//! A server that answers without an end, or elsewhere; and credentials that must not be shown.

use crate::cluster::view::Kind;
use anyhow::{Context, Result};
use whydrop_tests::apiserver::{ApiServer, Manner};

use super::listener::Listener;

/// What this process takes, the server included.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.context("no VmRSS")?.parse::<u64>()? << 10)
}

#[tokio::test]
async fn an_answer_without_an_end_is_given_up() -> Result<()> {
    let server = ApiServer::up()?;
    server.answer("pods", Manner::EndlessName);
    let before = resident()?;
    let mut listener = Listener::to(&server)?;
    listener.until_settled().await?;
    insta::assert_snapshot!(listener.only_note()?, @"SERVER: pods: its answer is larger than 16 MiB, and was given up: they come from other sources, if any");
    assert!(listener.has(Kind::Service, "default", "kubernetes"));
    assert!(resident()?.saturating_sub(before) < 300 << 20);
    Ok(())
}

#[tokio::test]
async fn an_event_without_an_end_is_given_up_and_the_list_stays() -> Result<()> {
    let mut server = ApiServer::up()?;
    let mut listener = Listener::to(&server)?;
    listener.until_settled().await?;
    assert!(listener.has(Kind::Pod, "prod", "client-ok"));
    server.answer("pods", Manner::EndlessName);
    server.cut("pods");
    listener.until(|now| !now.notes.is_empty()).await?;
    insta::assert_snapshot!(listener.only_note()?, @"SERVER: pods: its answer is larger than 4 MiB, and was given up: they stay as last seen");
    assert!(listener.has(Kind::Pod, "prod", "client-ok"));
    // It is asked again, and follows again.
    server.answer("pods", Manner::Served);
    server.next_watch("pods").await?;
    Ok(())
}

#[tokio::test]
async fn pages_without_an_end_are_given_up() -> Result<()> {
    let server = ApiServer::up()?;
    server.answer("services", Manner::EndlessPages);
    let mut listener = Listener::to(&server)?;
    listener.until(|now| !now.notes.is_empty()).await?;
    let note = listener.notes.join("\n");
    assert!(
        note.contains("services: its list has no end: 5000 pages") || note.contains("3 s"),
        "{note}"
    );
    Ok(())
}

#[tokio::test]
async fn a_redirect_is_named_and_not_followed() -> Result<()> {
    let server = ApiServer::up()?;
    server.answer("nodes", Manner::Redirected);
    let mut listener = Listener::to(&server)?;
    listener.until_settled().await?;
    insta::assert_snapshot!(listener.only_note()?, @"SERVER: nodes: it redirects to elsewhere.example: they come from other sources, if any");
    Ok(())
}

/// A user whose credentials a shell prints.
fn plugin(script: &str) -> String {
    format!(
        "{{exec: {{apiVersion: client.authentication.k8s.io/v1, command: /bin/sh, args: [-c, \
         '{script}'], env: [{{name: SECRET, value: LEAKENV}}], interactiveMode: Never}}}}"
    )
}

#[tokio::test]
async fn a_credential_plugin_s_token_is_shown_to_the_server() -> Result<()> {
    let server = ApiServer::up()?;
    let token = server.token();
    let user = plugin(&format!(
        r#"echo "{{\"status\": {{\"token\": \"{token}\"}}}}""#
    ));
    let mut listener = Listener::as_user(&server, &user)?;
    listener.until_settled().await?;
    assert_eq!(listener.notes, Vec::<String>::new());
    assert!(listener.has(Kind::Pod, "prod", "client-ok"));
    Ok(())
}

#[tokio::test]
async fn a_credential_plugin_that_fails_is_named_without_what_it_says() -> Result<()> {
    let server = ApiServer::up()?;
    let user = plugin("echo LEAKOUT; echo LEAKERR >&2; exit 4");
    let mut listener = Listener::as_user(&server, &user)?;
    listener.until_settled().await?;
    insta::assert_snapshot!(listener.only_note()?, @"SERVER cannot be asked: the credential plugin sh has failed (exit status: 4): kubectl shows what it says");
    Ok(())
}

/// A `|` in YAML leaves a newline, which kubectl trims as well. One within it makes it no token.
#[tokio::test]
async fn a_token_with_a_newline_is_trimmed() -> Result<()> {
    let server = ApiServer::up()?;
    let user = format!("{{token: \"{}\\n\"}}", server.token());
    let mut listener = Listener::as_user(&server, &user)?;
    listener.until_settled().await?;
    assert_eq!(listener.notes, Vec::<String>::new());
    assert!(listener.has(Kind::Pod, "prod", "client-ok"));
    let mut listener = Listener::as_user(&server, r#"{token: "LEAK\nLEAK"}"#)?;
    listener.until_settled().await?;
    insta::assert_snapshot!(listener.only_note()?, @"SERVER cannot be asked: the token of the kubeconfig's user is not one word");
    Ok(())
}

#[tokio::test]
async fn a_token_that_the_server_quotes_is_not_shown() -> Result<()> {
    let server = ApiServer::up()?;
    let mut listener = Listener::as_user(&server, "{token: LEAKTOKEN}")?;
    listener.until_settled().await?;
    let note = listener.only_note()?;
    assert!(note.contains("does not accept these credentials"), "{note}");
    assert!(!note.contains("LEAK"), "{note}");
    Ok(())
}

/// Whoever answers in the server's place does not get the token.
#[tokio::test]
async fn a_server_with_another_certificate_is_not_shown_the_token() -> Result<()> {
    let (mut server, other) = (ApiServer::up()?, ApiServer::up()?);
    let mut listener = Listener::mistaken(&server, &other)?;
    listener.until(|now| !now.notes.is_empty()).await?;
    let note = listener.only_note()?;
    assert!(note.contains("certificate"), "{note}");
    assert!(!server.was_asked());
    Ok(())
}

/// What is no event ends the watch, which begins again; what then happens is followed.
#[tokio::test]
async fn what_is_no_event_spoils_no_other() -> Result<()> {
    let deep = [b"[".repeat(100_000), b"\n".to_vec()].concat();
    let junk: [&[u8]; 6] = [
        b"no event at all\n",
        b"\xff\xfe\x00\x80\n",
        b"{\"type\":\"ADDED\",\"object\":7}\n",
        b"{\"type\":\"EXPLODED\",\"object\":{}}\n",
        b"{\"type\":\"ADDED\",\"object\":{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\\u0000\"}}}\n",
        &deep,
    ];
    for junk in junk {
        let mut server = ApiServer::up()?;
        let mut listener = Listener::to(&server)?;
        listener.until_settled().await?;
        server.next_watch("pods").await?;
        server.send("pods", junk)?;
        // Watched again by then, or still.
        let mut pod = server.object("pods", "prod", "client-ok")?;
        pod["metadata"]["name"] = "later".into();
        pod["metadata"]["uid"] = "later".into();
        server.change("pods", "ADDED", pod)?;
        listener
            .until(|now| now.has(Kind::Pod, "prod", "later"))
            .await?;
        assert!(listener.has(Kind::Pod, "prod", "client-ok"));
        assert!(listener.notes.len() <= 1, "{:?}", listener.notes);
    }
    Ok(())
}

#[tokio::test]
async fn an_overloaded_server_is_reported_once_and_asked_again() -> Result<()> {
    let server = ApiServer::up()?;
    server.answer("pods", Manner::Overloaded);
    let mut listener = Listener::to(&server)?;
    listener.until_settled().await?;
    let note = listener.only_note()?;
    assert!(note.contains("503"), "{note}");
    assert!(listener.has(Kind::Service, "default", "kubernetes"));
    server.answer("pods", Manner::Served);
    listener
        .until(|now| now.has(Kind::Pod, "prod", "client-ok"))
        .await?;
    Ok(())
}
