//! What a row asks of the registry: reading never panics, and what is accepted reads the same when it is printed.
//!
//! An input is a byte of choices, the sender up to a line end, and the data. In both `@` stands for an address that is
//! good on the network and `#` for one that can own, since no mutation finds a checksum.

#![no_main]

use hypernode::rules::registration::{Registration, Removal, Terms};
use hypernode::types::address::Address;
use hypernode::types::pow::{Order, OrderKind};
use libfuzzer_sys::fuzz_target;

const OWNER: &str = "8e3f9ecacda19f7f7b5953593781a1961e672b8244ab01f13a6d11ed";

fuzz_target!(|bytes: &[u8]| {
    let Some((choices, text)) = bytes.split_first() else { return };
    let terms =
        Terms { prefix: if choices & 1 == 0 { 0x19 } else { 0x7f }, public_only: choices & 2 == 0 };
    let kind = if choices & 4 == 0 { OrderKind::Register } else { OrderKind::Unregister };
    let address = Address::of_bytes(b"a key", terms.prefix).to_string();
    let text = String::from_utf8_lossy(text).replace('@', &address).replace('#', OWNER);
    let (sender, data) = text.split_once('\n').unwrap_or((OWNER, &text));
    let order = Order { height: 1, sender: sender.to_owned(), kind, data: data.to_owned() };

    if let Ok(registration) = Registration::read(&order, &terms) {
        assert_eq!(registration.owner.to_string(), order.sender);
        let printed = Order { data: registration.data(), ..order.clone() };
        assert_eq!(Registration::read(&printed, &terms), Ok(registration));
        // Its own data takes it away again.
        for order in [&order, &printed] {
            let removal = Removal::read(order).expect("three parts, and its own source");
            assert!(removal.fits(&registration.endpoint, &registration.address));
        }
    }
    if let Ok(removal) = Removal::read(&order) {
        let Removal { ip, port, address, reason } = &removal;
        let reason = reason.map_or(String::new(), |reason| format!(",reason={reason}"));
        let printed = Order { data: format!("{ip}:{port}:{address}{reason}"), ..order.clone() };
        assert_eq!(Removal::read(&printed), Ok(removal));
    }
});
