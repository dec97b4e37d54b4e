//! Any text may stand where an expression should: none panics or takes long, and what is taken for one comes back from its own text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_verify::PermissionExpression;

fuzz_target!(|text: &str| {
    let expression: PermissionExpression = match text.parse() {
        Ok(expression) => expression,
        Err(error) => {
            assert!(error.position >= 1 && error.position <= text.chars().count() + 1);
            assert!(!error.to_string().contains('\n'));
            return;
        }
    };
    assert_eq!(expression.to_string().parse(), Ok(expression.clone()));

    let mut grants: Vec<Box<str>> = expression.names().map(Into::into).collect();
    grants.sort_unstable();
    grants.dedup();
    assert!(expression.allows(&grants));
    assert!(!expression.allows(&[]));
    // Taking grants away one by one: once it is a denial it stays one.
    let mut was_allowed = true;
    while let Some(taken) = text.len().checked_rem(grants.len()) {
        grants.remove(taken);
        let is_allowed = expression.allows(&grants);
        assert!(was_allowed || !is_allowed);
        was_allowed = is_allowed;
    }
});
