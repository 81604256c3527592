//! System calls that need unsafe code: one thin safe function for each, and nothing else.
