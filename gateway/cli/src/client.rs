//! Calls the control API and turns what goes wrong into sentences.
//!
//! It knows HTTP, the API's error shape, and what a person can do about each failure; it knows no app and no key.

use crate::failure::Failure;
use crate::json_text;
use crate::table::visible;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::error::Error;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// As long as a gateway may trust what it holds: whoever waits for all of them asked for it.
const FLEET_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Far above any list of ours: a bound, so that a wrong address cannot fill the memory.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A connection to one control API with one token.
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
}

/// The JSON of a 2xx answer; empty for 204.
pub(crate) struct Answer {
    text: String,
}

impl Answer {
    /// The answer as a value.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.text)
            .map_err(|error| Failure::runtime(format!("the answer has another shape than this version knows: {error}")))
    }

    /// The answer's own text, indented.
    pub(crate) fn indented(&self) -> String {
        json_text::indented(&self.text)
    }
}

/// Asks the API to answer only when every gateway enforces a change. Waits for as long as that takes.
pub(crate) const FLEET: (&str, &str) = ("wait", "fleet");

/// The API's error shape.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    errors: Vec<RefusalEntry>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct RefusalEntry {
    message: String,
    #[serde(default)]
    code: u32,
}

impl Client {
    pub(crate) fn new(url: &str, token: &str) -> Result<Client, Failure> {
        // Fails only when a provider is installed already, and then there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut authorization = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| Failure::usage("the management token cannot be sent in a header"))?;
        authorization.set_sensitive(true);
        let headers = HeaderMap::from_iter([
            (AUTHORIZATION, authorization),
            (ACCEPT, HeaderValue::from_static("application/json")),
        ]);
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .user_agent(concat!("portcullis-cli/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            // A redirect would carry the token to a place that nobody named.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Failure::runtime(format!("the HTTP client cannot start: {}", innermost(&error))))?;
        Ok(Client {
            http,
            base: base_of(url)?,
        })
    }

    /// Calls `METHOD /api-auth/SEGMENTS…?QUERY`. Segments are slugs and ids, checked by their commands.
    pub(crate) async fn call(
        &self,
        method: Method,
        segments: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("api-auth").extend(segments);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url);
        if query.contains(&FLEET) {
            request = request.timeout(FLEET_TIMEOUT);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let mut response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let (status, retry_after, request_id) = (
            response.status(),
            header(&response, RETRY_AFTER.as_str()),
            header(&response, "x-request-id"),
        );
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(self.not_the_api(status));
            }
        }
        let text = String::from_utf8(bytes).map_err(|_| self.not_the_api(status))?;
        if !status.is_success() {
            return Err(self.refused(status, &text, retry_after.as_deref(), request_id.as_deref()));
        }
        if !text.is_empty() && serde_json::from_str::<serde::de::IgnoredAny>(&text).is_err() {
            return Err(self.not_the_api(status));
        }
        Ok(Answer { text })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let (base, cause) = (&self.base, innermost(error));
        let unreached = format!("the control API at {base} cannot be reached: {cause}");
        if error.is_connect() {
            Failure::Runtime(vec![
                unreached,
                "is `portcullis serve` running there? --url or PORTCULLIS_URL names another place".to_owned(),
            ])
        } else if error.is_timeout() {
            Failure::runtime(format!(
                "the control API at {base} did not answer within {} s",
                ANSWER_TIMEOUT.as_secs()
            ))
        } else {
            Failure::runtime(unreached)
        }
    }

    fn not_the_api(&self, status: StatusCode) -> Failure {
        Failure::Runtime(vec![
            format!(
                "{} answered {}, but not as a control API does",
                self.base,
                status.as_u16()
            ),
            "is the URL that of the control API (port 7070 by default), and not of the gateway?".to_owned(),
        ])
    }

    fn refused(&self, status: StatusCode, text: &str, retry_after: Option<&str>, request_id: Option<&str>) -> Failure {
        if status.is_redirection() {
            return Failure::runtime(format!(
                "{} answered with a redirect ({}): give the URL it ends at with --url",
                self.base,
                status.as_u16()
            ));
        }
        let Ok(refusal) = serde_json::from_str::<Refusal>(text) else {
            return self.not_the_api(status);
        };
        let mut messages: Vec<String> = refusal.errors.iter().map(|entry| visible(&entry.message)).collect();
        if messages.is_empty() {
            messages.extend(refusal.message.as_deref().map(visible));
        }
        if messages.is_empty() {
            return self.not_the_api(status);
        }
        let code = refusal.errors.first().map_or(0, |entry| entry.code);
        messages.extend(advice(status, code, retry_after, request_id));
        Failure::Runtime(messages)
    }
}

/// What to do about a refusal, where its own words do not say.
fn advice(status: StatusCode, code: u32, retry_after: Option<&str>, request_id: Option<&str>) -> Option<String> {
    let advice = match (status.as_u16(), code) {
        (401, _) => {
            "PORTCULLIS_TOKEN (or the file of --token-file) must hold a management token of this control API; \
             `portcullis tokens create` makes one"
        }
        (_, 40_300) => "`portcullis deployments set-plan DEPLOYMENT growth` allows it",
        (_, 40_401) => "`portcullis apps list` shows the apps there are",
        (_, 40_402) => "`portcullis keys list APP --all` shows the keys there are",
        (_, 40_403) => "`portcullis schemes list` shows the schemes there are",
        (_, 40_400) => "is the URL that of the control API (port 7070 by default), and not of the gateway?",
        (_, 40_901) => "`portcullis apps update APP --clear scheme` takes it off an app",
        (429, _) => return retry_after.map(|seconds| format!("try again in {} s", visible(seconds))),
        (500..=599, _) => {
            return request_id.map(|id| format!("the server's log has the cause under the request id {}", visible(id)));
        }
        _ => return None,
    };
    Some(advice.to_owned())
}

fn base_of(url: &str) -> Result<Url, Failure> {
    let hint = "write --url (or PORTCULLIS_URL) as http://HOST:PORT or https://HOST:PORT";
    // The text is not repeated: a password may be in it.
    let base = Url::parse(url).map_err(|error| Failure::usage(format!("the URL is not one ({error}): {hint}")))?;
    if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
        return Err(Failure::usage(format!("the URL is neither http nor https: {hint}")));
    }
    if !base.username().is_empty() || base.password().is_some() {
        return Err(Failure::usage(format!(
            "the URL holds credentials, which the control API does not take: {hint}"
        )));
    }
    if base.query().is_some() || base.fragment().is_some() {
        return Err(Failure::usage(format!("the URL has a query or fragment: {hint}")));
    }
    Ok(base)
}

fn header(response: &reqwest::Response, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// The last cause, which is the one that says something: `Connection refused (os error 111)`.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    visible(&cause.to_string())
}
