//! Does a set of grants cover what is asked? Permission expressions: `a`, `a,b`, `a AND b`, `a OR b`, parentheses.
//!
//! Parsed when configuration or a request is read, so that a malformed one is refused there and never evaluated as false.
//! Grants are compared exactly; there are no wildcards.
