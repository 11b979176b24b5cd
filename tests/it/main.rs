//! Tests of the whole from outside: one binary, so that it links once.

mod draw;
mod golden;
mod property;
mod rules;
mod sample;
mod tidy;
