//! What a counter is held to: a rule's limit and window, ready to count with.
//!
//! Decides which arithmetic a window takes; counts nothing. Compiled with a key's plan, compared on every charge so that an
//! edited rule is noticed.

use crate::calendar::Period;
use crate::layout::Layout;
use portcullis_verify::{CompiledRule, Window};

/// A limit over a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quota {
    /// Any stretch of the window's length.
    Rolling(Layout),
    /// A calendar period.
    Calendar {
        /// Which.
        period: Period,
        /// Admissions in each.
        limit: u32,
    },
}

impl Quota {
    /// What a rule asks for.
    pub(crate) fn of(rule: &CompiledRule) -> Quota {
        let limit = rule.limit.max(1);
        match rule.window {
            Window::Rolling { us } => Quota::Rolling(Layout::new(limit, us)),
            Window::CalendarDay => Quota::Calendar {
                period: Period::Day,
                limit,
            },
            Window::CalendarMonth => Quota::Calendar {
                period: Period::Month,
                limit,
            },
        }
    }

    /// Admissions per window.
    pub(crate) fn limit(&self) -> u32 {
        match self {
            Quota::Rolling(layout) => layout.limit(),
            Quota::Calendar { limit, .. } => *limit,
        }
    }
}
