//! The `hypernode` binary.

fn main() {}

#[cfg(test)]
mod tests {
    #[test]
    fn the_package_names_its_version() {
        assert_eq!(env!("CARGO_PKG_VERSION"), "0.1.0");
    }
}
