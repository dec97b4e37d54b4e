//! All that an operator can set: settings, their file and environment, and every fault at once.
