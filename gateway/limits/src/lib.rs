//! Strict sliding windows: the decimated log, calendar periods, all-or-none charging.
