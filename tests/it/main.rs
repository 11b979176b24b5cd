//! Tests of the whole from outside: one binary, so that it links once.

mod tidy;
