//! The control API: apps, keys, schemes and tokens over JSON and HTTP.
