//! What requests about Jobs, pods, logs and permissions are answered.

use std::io;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Either, channel::Channel};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, handshake::derive_accept_key, protocol::Role},
};

use super::{
    Asked,
    answers::{Body, json_response, status, whole},
    kubelet::{Kubelets, Log},
};

/// Answers a request, if it is about workloads.
pub(super) async fn answer(
    request: Request<Incoming>,
    asked: &Asked,
    kubelets: &Kubelets,
) -> Result<Response<Body>, Request<Incoming>> {
    if let Some(open) = &mut kubelets.state().silent {
        *open += 1;
    }
    let is_silent = kubelets.state().silent.is_some();
    if is_silent {
        std::future::pending::<()>().await;
    }
    let path: Vec<&str> = asked.path.split('/').skip(1).collect();
    let is_dry = asked.parameter("dryRun") == Some("All");
    match (request.method(), path.as_slice()) {
        (&Method::POST, ["apis", "authorization.k8s.io", ..]) => {
            let review = body(request).await;
            Ok(reviewed(&review, kubelets))
        }
        (&Method::POST, ["apis", "batch", "v1", "namespaces", _, "jobs"]) => {
            let job = body(request).await;
            let mut state = kubelets.state();
            if is_dry {
                state.tried += 1;
                return Ok(whole(StatusCode::CREATED, &job));
            }
            Ok(match state.create(job) {
                Ok(job) => whole(StatusCode::CREATED, &job),
                Err(error) => status(500, "InternalError", &format!("{error:#}")),
            })
        }
        (&Method::POST, ["api", "v1", "namespaces", _, "pods"]) if is_dry => {
            let pod = body(request).await;
            let mut state = kubelets.state();
            state.tried += 1;
            Ok(match &state.refusal {
                Some(why) => status(403, "Forbidden", why),
                None => whole(StatusCode::CREATED, &pod),
            })
        }
        (&Method::GET, ["apis", "batch", "v1", "namespaces", _, "jobs"]) => {
            let jobs = kubelets.state().jobs_with(&selector(asked));
            Ok(whole(StatusCode::OK, &json!({"items": jobs})))
        }
        (&Method::DELETE, ["apis", "batch", "v1", "namespaces", _, "jobs", job]) => {
            let is_there = kubelets.state().delete(job);
            Ok(match is_there {
                true => whole(
                    StatusCode::OK,
                    &json!({"kind": "Status", "status": "Success"}),
                ),
                false => status(404, "NotFound", "no such Job"),
            })
        }
        (&Method::GET, ["api", "v1", "namespaces", _, "events"]) => {
            let message = kubelets.state().refusal.clone();
            let events = message.map(|message| json!({"type": "Warning", "message": message}));
            let events: Vec<Value> = events.into_iter().collect();
            Ok(whole(StatusCode::OK, &json!({"items": events})))
        }
        (&Method::GET, ["api", "v1", "namespaces", _, "pods"]) => {
            let pods = kubelets.state().pods_with(&selector(asked));
            Ok(whole(StatusCode::OK, &json!({"items": pods})))
        }
        (&Method::GET, ["api", "v1", "namespaces", _, "pods", pod]) => {
            let pod = kubelets.state().pod(pod);
            Ok(match pod {
                Some(pod) => whole(StatusCode::OK, &pod),
                None => status(404, "NotFound", "no such pod"),
            })
        }
        (&Method::GET, ["api", "v1", "namespaces", _, "pods", pod, "log"]) => {
            let log = kubelets.state().log(pod);
            Ok(match log {
                Some(Ok(log)) => stream(log, asked),
                Some(Err(why)) => status(500, "InternalError", &why),
                None => status(404, "NotFound", "no such pod"),
            })
        }
        (&Method::GET, ["api", "v1", "namespaces", _, "pods", pod, "attach"]) => {
            Ok(attach(request, pod, kubelets))
        }
        _ => Err(request),
    }
}

async fn body(request: Request<Incoming>) -> Value {
    let bytes = request
        .into_body()
        .collect()
        .await
        .map(|body| body.to_bytes());
    serde_json::from_slice(&bytes.unwrap_or_default()).unwrap_or_default()
}

fn selector(asked: &Asked) -> String {
    let selector = asked.parameter("labelSelector").unwrap_or_default();
    selector
        .replace("%2F", "/")
        .replace("%3D", "=")
        .replace("%2C", ",")
}

fn reviewed(review: &Value, kubelets: &Kubelets) -> Response<Body> {
    let asked = &review["spec"]["resourceAttributes"];
    let text = |key: &str| asked[key].as_str().unwrap_or_default();
    let resource = match text("subresource") {
        "" => text("resource").to_owned(),
        subresource => format!("{}/{subresource}", text("resource")),
    };
    let what = format!("{} {resource}", text("verb"));
    let is_allowed = !kubelets.state().forbidden.contains(&what);
    whole(
        StatusCode::CREATED,
        &json!({"status": {"allowed": is_allowed}}),
    )
}

/// A log up to its end, or as it comes.
fn stream(log: Log, asked: &Asked) -> Response<Body> {
    let since = asked.parameter("sinceTime").unwrap_or_default().to_owned();
    let follows = asked.parameter("follow") == Some("true");
    let (mut sender, body) = Channel::<Bytes, io::Error>::new(16);
    tokio::spawn(async move {
        let mut changes = log.state.subscribe();
        let cuts = changes.borrow().2;
        let mut sent = 0;
        loop {
            let (count, streams, now) = *changes.borrow_and_update();
            let lines = log.from(sent, &since);
            sent = count;
            if now != cuts {
                // Half a line is on its way already.
                if let Some(line) = lines.first() {
                    let half = line.as_bytes()[..line.len() / 2].to_vec();
                    let _ = sender.send_data(half.into()).await;
                }
                sender.abort(io::ErrorKind::ConnectionReset.into());
                return;
            }
            for line in lines {
                if sender.send_data(line.into()).await.is_err() {
                    return;
                }
            }
            if !follows || streams == 0 || changes.changed().await.is_err() {
                return;
            }
        }
    });
    json_response(StatusCode::OK, Either::Right(body))
}

/// A connection to a pod's standard input.
fn attach(mut request: Request<Incoming>, pod: &str, kubelets: &Kubelets) -> Response<Body> {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).cloned();
    let is_there = kubelets.state().has_stdin(pod);
    let Some(key) = key.filter(|_| is_there) else {
        return status(400, "BadRequest", "no standard input to attach to");
    };
    let (kubelets, pod) = (kubelets.clone(), pod.to_owned());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let io = TokioIo::new(upgraded);
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        let mut taken = 0;
        while let Some(Ok(message)) = socket.next().await {
            taken += message.len();
            let longest = kubelets.state().longest_upload;
            if longest.is_some_and(|longest| taken > longest) {
                return;
            }
            if let Message::Binary(bytes) = message
                // The channel of standard input.
                && let Some((0, bytes)) = bytes.split_first()
                && !kubelets.state().write(&pod, bytes)
            {
                return;
            }
        }
    });
    let mut response = Response::new(Either::Left(http_body_util::Full::default()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let accept = derive_accept_key(key.as_bytes());
    let headers = response.headers_mut();
    let fixed = header::HeaderValue::from_static;
    headers.insert(header::CONNECTION, fixed("Upgrade"));
    headers.insert(header::UPGRADE, fixed("websocket"));
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, fixed("v4.channel.k8s.io"));
    if let Ok(accept) = accept.parse() {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}
