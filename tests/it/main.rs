//! Tests of the whole from outside: one binary, so that it links once.

mod golden;
mod sample;
mod tidy;
