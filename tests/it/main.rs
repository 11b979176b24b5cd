//! Tests of the whole from outside: one binary, so that it links once.

mod cli;
mod cluster;
mod crash;
mod disk;
mod draw;
mod golden;
mod guard;
mod history;
mod property;
mod rules;
mod sample;
mod store;
mod tidy;
mod twice;
