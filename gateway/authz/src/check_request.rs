//! Reads the body of `/v1/authz/check`, as the published clients send it.
//!
//! Unknown fields are ignored and nulls are absent; everything else must be exactly right. Messages name the field and never
//! repeat a value, which may be a secret in the wrong place. Called by [`crate::flow`].

use crate::refuse::{bad_request, unsupported_principal};
use http::Method;
use portcullis_http::{Refusal, RequestPath, client_address};
use portcullis_verify::PermissionExpression;
use serde::Deserialize;
use serde_json::Value;
use std::net::IpAddr;
use zeroize::Zeroizing;

#[cfg(test)]
mod tests;

/// Longest method, in bytes; the longest registered one has 17.
const METHOD_BYTES_MAX: usize = 32;

/// A question that can be put to the engine.
pub(crate) struct CheckRequest {
    credential: Zeroizing<String>,
    resource: String,
    /// The method it is about.
    pub(crate) method: Method,
    /// The client's address, when the caller knows it.
    pub(crate) address: Option<IpAddr>,
    /// All of these are needed.
    pub(crate) permissions: Vec<PermissionExpression>,
}

/// The body as it stands. Fields are values first, so that a wrong type is told without what it holds.
#[derive(Deserialize)]
struct Body {
    principal: Option<Value>,
    resource: Option<Value>,
    method: Option<Value>,
    client_ip: Option<Value>,
    user_agent: Option<Value>,
    required_permissions: Option<Value>,
}

/// Reads a body; a refusal says what is wrong with it.
pub(crate) fn parse(body: &[u8]) -> Result<CheckRequest, Refusal> {
    // A list would pass for an object with its fields in order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(bad_request("The body must be one JSON object."));
    }
    let body: Body = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
    let credential = credential(body.principal)?;
    let resource = text("resource", body.resource)?.ok_or_else(|| bad_request("`resource` is required."))?;
    let method = text("method", body.method)?.ok_or_else(|| bad_request("`method` is required."))?;
    text("user_agent", body.user_agent)?;
    Ok(CheckRequest {
        credential,
        resource,
        method: (method.len() <= METHOD_BYTES_MAX)
            .then(|| Method::from_bytes(method.as_bytes()).ok())
            .flatten()
            .ok_or_else(|| bad_request("`method` is not an HTTP method."))?,
        address: text("client_ip", body.client_ip)?
            .map(|address| parse_address(&address))
            .transpose()?,
        permissions: permissions(body.required_permissions)?,
    })
}

impl CheckRequest {
    /// The key, or `None` when the caller sent none.
    pub(crate) fn credential(&self) -> Option<&[u8]> {
        (!self.credential.is_empty()).then_some(self.credential.as_bytes())
    }

    /// The path of the resource, without its query.
    pub(crate) fn path(&self) -> Result<RequestPath<'_>, Refusal> {
        let path = self
            .resource
            .split_once('?')
            .map_or(self.resource.as_str(), |(path, _)| path);
        RequestPath::parse(path).map_err(|error| bad_request(format!("`resource` is not usable. {error}")))
    }
}

/// Position and kind of a JSON error; its own text may quote what was sent.
fn unreadable(error: &serde_json::Error) -> Refusal {
    let (line, column) = (error.line(), error.column());
    if error.is_data() {
        bad_request(format!("The body repeats a field (line {line}, column {column})."))
    } else {
        bad_request(format!("The body is not valid JSON (line {line}, column {column})."))
    }
}

fn text(field: &str, value: Option<Value>) -> Result<Option<String>, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(bad_request(format!("`{field}` must be a string."))),
    }
}

/// The value of an `api_key` principal; empty when it is absent, which is a missing key and not a bad request.
fn credential(principal: Option<Value>) -> Result<Zeroizing<String>, Refusal> {
    let mut principal = match principal {
        Some(Value::Object(principal)) => principal,
        Some(_) => return Err(bad_request("`principal` must be an object.")),
        None => return Err(bad_request("`principal` is required.")),
    };
    let value = Zeroizing::new(text("principal.value", principal.remove("value"))?.unwrap_or_default());
    match text("principal.type", principal.remove("type"))?.as_deref() {
        Some("api_key") => Ok(value),
        Some(_) => Err(unsupported_principal()),
        None => Err(bad_request("`principal.type` is required.")),
    }
}

fn parse_address(text: &str) -> Result<IpAddr, Refusal> {
    let address = text
        .parse()
        .map_err(|_| bad_request("`client_ip` is not an IP address."))?;
    Ok(client_address::canonical(address))
}

fn permissions(value: Option<Value>) -> Result<Vec<PermissionExpression>, Refusal> {
    let entries = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err(bad_request("`required_permissions` must be a list of strings.")),
    };
    let expression = |(index, entry): (usize, Value)| {
        let Value::String(text) = entry else {
            return Err(bad_request(format!(
                "`required_permissions[{index}]` must be a string."
            )));
        };
        text.parse()
            .map_err(|error| bad_request(format!("`required_permissions[{index}]` is malformed: {error}.")))
    };
    entries.into_iter().enumerate().map(expression).collect()
}
