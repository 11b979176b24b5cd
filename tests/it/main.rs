//! Tests of the whole from outside: one binary, so that it links once.

mod boards;
mod cli;
mod cluster;
mod completions;
mod config;
mod crash;
mod damage;
mod disk;
mod draw;
mod elsewhere;
mod golden;
mod guard;
mod halt;
mod history;
mod hostile;
mod power;
mod property;
mod refusals;
mod registry;
mod rules;
mod sample;
mod sign_state;
mod store;
mod tidy;
mod twice;
