//! What a request is answered.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{Either, Full, channel::Channel};
use hyper::{Request, Response, StatusCode, body::Incoming, header};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use super::{
    Asked,
    kubelet::Kubelets,
    store::{Manner, Store, WatchMessage, Watcher, line},
    workloads,
};

pub(super) type Body = Either<Full<Bytes>, Channel<Bytes, io::Error>>;

/// Answers one request.
pub(super) async fn answer(
    request: Request<Incoming>,
    store: &Mutex<Store>,
    asking: &UnboundedSender<Asked>,
    kubelets: &Kubelets,
) -> Result<Response<Body>, Infallible> {
    let asked = Asked {
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
    };
    asking.send(asked.clone()).ok();
    let token = request.headers().get(header::AUTHORIZATION);
    let known = token.is_some_and(|token| kubelets.takes(token));
    let request = if known {
        match workloads::answer(request, &asked, kubelets).await {
            Ok(response) => return Ok(response),
            Err(request) => request,
        }
    } else {
        request
    };
    drop(request);
    let plural = asked.path.rsplit('/').next().unwrap_or_default();
    Ok(match manner(plural, store).await {
        Manner::Unauthorized => status(401, "Unauthorized", "Unauthorized"),
        _ if !known => status(401, "Unauthorized", "Unauthorized"),
        Manner::Forbidden => {
            let verb = if asked.parameter("watch").is_some() {
                "watch"
            } else {
                "list"
            };
            let message = format!(
                "{plural} is forbidden: User \"system:serviceaccount:ops:whydrop\" cannot {verb} \
                 resource \"{plural}\" in API group \"\" at the cluster scope"
            );
            status(403, "Forbidden", &message)
        }
        Manner::EndlessName => endless(asked.parameter("watch").is_some()),
        Manner::EndlessEvents if asked.parameter("watch").is_some() => storm(),
        Manner::Overloaded => status(
            503,
            "ServiceUnavailable",
            "the server is currently unable to handle the request",
        ),
        Manner::EndlessPages => whole(
            StatusCode::OK,
            &json!({"metadata": {"resourceVersion": "1", "continue": "more"}, "items": []}),
        ),
        Manner::Redirected => redirected(),
        Manner::Served | Manner::Silent | Manner::EndlessEvents => served(&asked, plural, store),
    })
}

/// How requests for a kind are answered, once they are.
async fn manner(plural: &str, store: &Mutex<Store>) -> Manner {
    loop {
        let changed = {
            let store = store.lock().unwrap_or_else(PoisonError::into_inner);
            match store.manner(plural) {
                Manner::Silent => Arc::clone(&store.changed).notified_owned(),
                manner => return manner,
            }
        };
        changed.await;
    }
}

fn served(asked: &Asked, plural: &str, store: &Mutex<Store>) -> Response<Body> {
    let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(node) = asked.path.strip_prefix("/api/v1/nodes/") {
        return match store.object("nodes", "", node) {
            Ok(node) => whole(StatusCode::OK, &node),
            Err(_) => status(404, "NotFound", "no such node"),
        };
    }
    let number = |name| asked.parameter(name).and_then(|value| value.parse().ok());
    if let Some(page) = store.page(&asked.path) {
        return whole(StatusCode::OK, page);
    }
    if asked.parameter("watch").is_some() {
        let after = number("resourceVersion").unwrap_or_default();
        if let Some((since, watcher)) = store.watch(plural, after) {
            return stream(since, watcher);
        }
    } else {
        let from = number("continue").unwrap_or_default();
        if let Some(list) = store.list(plural, usize::try_from(from).unwrap_or_default()) {
            return whole(StatusCode::OK, &list);
        }
    }
    status(
        404,
        "NotFound",
        "the server could not find the requested resource",
    )
}

/// What has happened since, and then what happens.
fn stream(since: Vec<Value>, mut watcher: Watcher) -> Response<Body> {
    let (mut sender, body) = Channel::new(16);
    tokio::spawn(async move {
        for event in since {
            if sender.send_data(line(&event)).await.is_err() {
                return;
            }
        }
        while let Some(message) = watcher.recv().await {
            let sent = match message {
                WatchMessage::Line(line) => sender.send_data(line).await,
                WatchMessage::Cut => {
                    sender.abort(io::ErrorKind::ConnectionReset.into());
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
    });
    json_response(StatusCode::OK, Either::Right(body))
}

/// An object whose name goes on for as long as anyone reads.
fn endless(is_watch: bool) -> Response<Body> {
    let begin: &[u8] = match is_watch {
        true => br#"{"type":"ADDED","object":{"metadata":{"name":""#,
        false => br#"{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":""#,
    };
    let (mut sender, body) = Channel::new(1);
    let begin = Bytes::copy_from_slice(begin);
    tokio::spawn(async move {
        let mut next = begin;
        let more = Bytes::from(vec![b'a'; 1 << 16]);
        while sender.send_data(next).await.is_ok() {
            next = more.clone();
        }
    });
    json_response(StatusCode::OK, Either::Right(body))
}

/// A few pods that change for as long as anyone reads.
fn storm() -> Response<Body> {
    let (mut sender, body) = Channel::new(1);
    tokio::spawn(async move {
        for version in 1_000_000_u64.. {
            let event = json!({"type": "MODIFIED", "object": {
                "kind": "Pod", "apiVersion": "v1",
                "metadata": {
                    "name": format!("busy-{}", version % 100), "namespace": "prod",
                    "uid": "u", "resourceVersion": version.to_string(),
                    "labels": {"app": "b".repeat(60)},
                },
            }});
            if sender.send_data(line(&event)).await.is_err() {
                return;
            }
        }
    });
    json_response(StatusCode::OK, Either::Right(body))
}

fn redirected() -> Response<Body> {
    let mut response = json_response(
        StatusCode::TEMPORARY_REDIRECT,
        Either::Left(Full::default()),
    );
    let to = header::HeaderValue::from_static("https://user:secret@elsewhere.example/api?key=x");
    response.headers_mut().insert(header::LOCATION, to);
    response
}

pub(super) fn status(code: u16, reason: &str, message: &str) -> Response<Body> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    whole(StatusCode::from_u16(code).unwrap_or_default(), &status)
}

pub(super) fn whole(status: StatusCode, body: &Value) -> Response<Body> {
    json_response(status, Either::Left(Full::from(body.to_string())))
}

pub(super) fn json_response(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
