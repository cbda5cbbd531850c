//! Application: one request, as far as its status line.

use std::io;

use super::{report, took, verdict};
use crate::{
    model::{Confidence, Layer, LayerReport, LayerResult, LayerTest, Point},
    probe::send::Response,
};

/// The layer, by what came back.
pub(crate) fn layer(test: String, at: &str, result: &io::Result<Response>) -> LayerReport {
    let (outcome, evidence, why) = match result {
        Ok(response) => {
            let line = &response.status_line;
            let evidence = format!("{line}, first byte after {}", took(response.first_byte));
            match status(line) {
                Some(100..500) => (LayerResult::Ok, evidence, None),
                Some(_) => {
                    let why =
                        format!("the server at {at} answers with an error of its own: {line}");
                    (
                        LayerResult::Failed,
                        evidence,
                        Some(("probe-http-error", why)),
                    )
                }
                None => {
                    let why = format!("the server at {at} does not speak HTTP");
                    (LayerResult::Failed, evidence, Some(("probe-not-http", why)))
                }
            }
        }
        Err(error) => {
            let how = match error.kind() {
                io::ErrorKind::TimedOut => "no answer came in time".to_owned(),
                io::ErrorKind::ConnectionReset => "the connection was reset".to_owned(),
                io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
                other => other.to_string(),
            };
            let why = format!("TCP connects to {at}, and the request gets no response: {how}");
            (LayerResult::Failed, how, Some(("probe-http-silent", why)))
        }
    };
    // A request or an answer that was lost on its way looks like a server that is silent.
    let confidence = match result {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Confidence::Likely,
        _ => Confidence::Confirmed,
    };
    let test = LayerTest {
        test,
        result: outcome,
        evidence: Some(evidence),
        verdict: why.map(|(rule, why)| verdict(rule, Point::Application, confidence, why, at)),
    };
    report(Layer::Application, vec![test], None)
}

/// The code of a status line.
fn status(line: &str) -> Option<u16> {
    let mut words = line.split(' ');
    words.next().filter(|first| first.starts_with("HTTP/"))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn result(line: &str) -> LayerResult {
        let response = Response {
            status_line: line.to_owned(),
            first_byte: Duration::from_millis(3),
        };
        layer(String::new(), "10.0.0.1:80", &Ok(response)).result
    }

    #[test]
    fn an_error_of_the_client_is_an_answer_and_one_of_the_server_is_none() {
        assert_eq!(result("HTTP/1.1 200 OK"), LayerResult::Ok);
        assert_eq!(result("HTTP/1.1 404 Not Found"), LayerResult::Ok);
        assert_eq!(
            result("HTTP/1.1 503 Service Unavailable"),
            LayerResult::Failed
        );
        assert_eq!(result("SSH-2.0-OpenSSH"), LayerResult::Failed);
    }
}
