//! The keys that are presented: issued ones, made through the control API as a backend would, and others.
//!
//! Knows nothing of what is done with them. Called by [`crate::course`].

use crate::connection::{Connection, Way};
use crate::gateway::{Addresses, TOKEN};
use crate::request;
use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::{Value, json};

/// Keys to present.
pub(crate) struct Stock {
    /// Keys of the open app.
    pub(crate) good: Vec<String>,
    /// Keys of the app whose keys have five requests a day.
    pub(crate) limited: Vec<String>,
    /// Well-formed keys that were never issued.
    pub(crate) unknown: Vec<String>,
    /// Text with a wrong checksum.
    pub(crate) junk: Vec<String>,
}

impl Stock {
    /// Makes the apps and `count` keys of the open one, fewer of the others.
    ///
    /// # Errors
    /// When the control API refuses.
    pub(crate) async fn make(at: &Addresses, count: usize) -> Result<Stock> {
        let mut api = Connection::open(at, Way::Control, 1).await?;
        let rule = json!({"unit": "day", "duration": 1, "max_requests": 5, "mode": "per_key"});
        let scheme = json!({"slug": "five", "name": "Five", "rules": [rule]});
        call(&mut api, Method::POST, "/api-auth/rate-limit-schemes", Some(&scheme)).await?;
        let open = json!({"app_slug": "open", "name": "Open", "key_prefix": "sk_live", "permissions": ["users:read", "users:write"]});
        call(&mut api, Method::POST, "/api-auth/apps", Some(&open)).await?;
        let limited = json!({"app_slug": "limited", "name": "Limited", "key_prefix": "sk_test", "rate_limit_scheme_slug": "five"});
        call(&mut api, Method::POST, "/api-auth/apps", Some(&limited)).await?;
        let mut stock = Stock {
            good: Vec::new(),
            limited: Vec::new(),
            unknown: (0..count).map(well_formed).collect(),
            junk: (0..count).map(|number| format!("sk_live_{number:043}")).collect(),
        };
        for number in 0..count {
            let wish = json!({
                "name": format!("Customer {number}"),
                "permissions": ["users:read"],
                "metadata": {"plan": "growth", "seat": number},
            });
            stock.good.push(issue(&mut api, "open", &wish).await?);
        }
        for number in 0..count.div_ceil(8) {
            let wish = json!({"name": format!("Trial {number}")});
            stock.limited.push(issue(&mut api, "limited", &wish).await?);
        }
        Ok(stock)
    }
}

async fn issue(api: &mut Connection, app: &str, wish: &Value) -> Result<String> {
    let made = call(api, Method::POST, &format!("/api-auth/apps/{app}/keys"), Some(wish)).await?;
    Ok(made["secret"].as_str().context("a new key has a secret")?.to_owned())
}

/// A call of the control API that must succeed.
///
/// # Errors
/// When it does not.
pub(crate) async fn call(api: &mut Connection, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
    let asked = request::json(Way::Control, method, path, Some(TOKEN), body)?;
    let (status, answer) = api.send(asked).await?;
    let text = String::from_utf8_lossy(&answer);
    ensure!((200..300).contains(&status), "{path} was answered {status}: {text}");
    if answer.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&answer).with_context(|| format!("{path} was answered no JSON"))
}

/// A key of the right shape, with the checksum that the README describes.
fn well_formed(number: usize) -> String {
    const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let head = format!("sk_live_{number:037}");
    let checksum = u64::from(crc32fast::hash(head.as_bytes()));
    let digit = |place: u32| {
        let value = checksum / 62_u64.pow(place) % 62;
        char::from(BASE62[usize::try_from(value).unwrap_or(0)])
    };
    let tail: String = (0..6).rev().map(digit).collect();
    head + &tail
}

#[cfg(test)]
mod tests {
    use super::well_formed;

    /// A checksum that was computed with the lines of Python in the README.
    #[test]
    fn the_checksum_is_the_one_that_the_gateway_knows() {
        assert_eq!(well_formed(7), "sk_live_0000000000000000000000000000000000007123gjF");
    }
}
