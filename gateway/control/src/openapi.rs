//! The OpenAPI 3.1 document, generated from the handlers and the request and answer types.
//!
//! Adds only what all routes share: who may call, and how errors look. A golden file beside `Cargo.toml` pins the result.

use crate::error_code::ErrorCode;
use crate::router::api_routes;
use crate::wire::ErrorBody;
use std::fmt::Write as _;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, Ref, RefOr, Response,
    ResponseBuilder,
};
use utoipa::{PartialSchema as _, ToSchema as _};

/// The name of the one security scheme.
const MANAGEMENT_TOKEN: &str = "management_token";

/// The whole document.
pub(crate) fn document() -> OpenApi {
    let (_, mut document) = api_routes().split_for_parts();
    let frame = frame();
    document.info = frame.info;
    document.security = frame.security;
    let components = document.components.get_or_insert_default();
    components
        .security_schemes
        .extend(frame.components.unwrap_or_default().security_schemes);
    let mut schemas = vec![(ErrorBody::name().into_owned(), ErrorBody::schema())];
    ErrorBody::schemas(&mut schemas);
    components.schemas.extend(schemas);
    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            add_shared_errors(operation);
        }
    }
    document
}

fn frame() -> OpenApi {
    let token = Http::builder()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "A management token. Each belongs to one deployment, and sees that one only.",
        ))
        .build();
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Portcullis control API")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(description()))
                .build(),
        )
        .components(Some(
            ComponentsBuilder::new()
                .security_scheme(MANAGEMENT_TOKEN, SecurityScheme::Http(token))
                .build(),
        ))
        .security(Some([SecurityRequirement::new(MANAGEMENT_TOKEN, Vec::<String>::new())]))
        .build()
}

fn description() -> String {
    let mut text = String::from(
        "Issues, rotates and revokes API keys, and sets their rate limits.\n\n\
         Ids are positive 64-bit integers, sent as strings and taken as strings or numbers. Times are RFC 3339 in UTC. \
         Unknown fields of a request are ignored, `null` means left out, and an empty string or list clears. A change is \
         answered once the gateway of the same process decides by it, and says how many gateways elsewhere do: `enforced` of \
         `gateways`. With `?wait=fleet` it is answered once every one of them has applied the change, or has heard nothing for so \
         long that it refuses every key; after that no gateway decides by what held before, except those counted as \
         `unenforced`, which serve on without news. Every answer carries an `X-Request-ID`.\n\n\
         A secret is `{key_prefix}_` and 43 characters of `0-9A-Za-z`: 37 random ones, then the CRC-32 (IEEE 802.3, as in \
         zlib) of all that precedes as 6 base62 digits, most significant first, in the order 0-9, A-Z, a-z. So a secret \
         scanner can tell a real one without asking anybody, with `[A-Za-z0-9][A-Za-z0-9_]{0,31}_[0-9A-Za-z]{43}` and the \
         checksum. `key_suffix` is the last 8 characters.\n\n\
         Errors name everything that is wrong at once. The `code` of an entry is one of:\n\n\
         | code | meaning |\n|---|---|\n",
    );
    for code in ErrorCode::ALL {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} | {} |", code.number(), code.meaning());
    }
    text
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete]
        .into_iter()
        .flatten()
}

/// Adds the errors that every route can answer with, and those that follow from its shape.
fn add_shared_errors(operation: &mut Operation) {
    let mut errors = vec![
        ("400", "The request is wrong; every fault is named."),
        ("401", "The management token is missing or wrong."),
        ("403", "The token is a gateway's."),
        ("429", "Too many wrong tokens from this address; see `Retry-After`."),
        ("500", "The server failed."),
        (
            "503",
            "The store cannot be asked, or a change is not confirmed in time; see the code.",
        ),
    ];
    let names_something = operation.parameters.iter().flatten().any(
        |parameter| matches!(parameter, RefOr::T(parameter) if matches!(parameter.parameter_in, ParameterIn::Path)),
    );
    let takes_body = operation.request_body.is_some();
    if names_something || takes_body {
        errors.push(("404", "There is no such thing in this deployment."));
    }
    if takes_body {
        errors.push(("408", "The body did not arrive in time."));
        errors.push(("413", "The body is too large."));
        errors.push(("415", "The body is not sent as JSON."));
    }
    for (status, description) in errors {
        operation
            .responses
            .responses
            .entry(status.to_owned())
            .or_insert_with(|| RefOr::T(error(description)));
    }
}

fn error(description: &str) -> Response {
    let schema = Ref::from_schema_name(ErrorBody::name());
    ResponseBuilder::new()
        .description(description)
        .content("application/json", ContentBuilder::new().schema(Some(schema)).build())
        .build()
}
