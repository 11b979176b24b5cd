//! Attacks that shaped the protocol, each a scenario with a scripted villain: it must take place, and come to nothing.
