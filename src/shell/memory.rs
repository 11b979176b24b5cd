//! Memory classes: how much a node may hold on the machine it runs on (ADR 15).
//!
//! Everything whose size others decide has a bound; here they are chosen by the machine, and added up.

use rustix::system::sysinfo;

use super::crowd::Places;
use super::{api, ledger, link, store, tcp};
use crate::machine::limits::Limits;
use crate::machine::{chain, seal};
use crate::rules::sealed::STATE_BYTES_MAX;
use crate::types::message::SEALS_BYTES_MAX;

const MIB: u64 = 1 << 20;

/// A class of machines. A 32-bit process is in the first, whatever the machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryClass {
    /// 512 MB, and addresses of 32 bits.
    Small32,
    /// 512 MB.
    Small,
    /// 1 to 2 GB.
    Medium,
    /// 4 GB and more.
    Large,
}

/// What a node of a class may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Those of the core.
    pub limits: Limits,
    /// Connections that stand, or are being made.
    pub places: Places,
    /// Bytes that may wait for all peers together.
    pub sending_bytes: usize,
    /// Size of the database's map to begin with: each time it grows, the database is opened again.
    pub map_bytes: u64,
}

impl MemoryClass {
    /// All of them, the smallest first.
    pub const ALL: [MemoryClass; 4] =
        [MemoryClass::Small32, MemoryClass::Small, MemoryClass::Medium, MemoryClass::Large];

    /// The class of this machine.
    #[allow(
        clippy::useless_conversion,
        reason = "the kernel counts with 32 bits on a 32-bit machine"
    )]
    pub fn of_machine() -> MemoryClass {
        let info = sysinfo();
        let bytes = u64::from(info.totalram).saturating_mul(u64::from(info.mem_unit));
        MemoryClass::of(bytes, cfg!(target_pointer_width = "32"))
    }

    /// The class of a machine with so many bytes, from which the kernel and graphics have taken their part already.
    pub fn of(bytes: u64, is_32_bit: bool) -> MemoryClass {
        match bytes / MIB {
            _ if is_32_bit => MemoryClass::Small32,
            ..700 => MemoryClass::Small,
            700..3_000 => MemoryClass::Medium,
            3_000.. => MemoryClass::Large,
        }
    }

    /// As it is written in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            MemoryClass::Small32 => "512MB-32bit",
            MemoryClass::Small => "512MB",
            MemoryClass::Medium => "1GB",
            MemoryClass::Large => "4GB",
        }
    }

    /// What its smallest machine has.
    pub fn machine_bytes(self) -> u64 {
        match self {
            MemoryClass::Small32 | MemoryClass::Small => 512 * MIB,
            MemoryClass::Medium => 1024 * MIB,
            MemoryClass::Large => 4096 * MIB,
        }
    }

    /// What a node may hold.
    pub fn bounds(self) -> Bounds {
        let usual = Limits::default();
        let (limits, dialled, sending, map) = match self {
            MemoryClass::Small32 => {
                let (messages, message_bytes) = (8_192, 2 << 20);
                let verified = 8_192;
                let peers = Limits { accepted: 32, observers: 8, asked: 4, ..usual };
                (Limits { messages, message_bytes, verified, ..peers }, 48, 8, 64)
            }
            MemoryClass::Small => {
                (Limits { accepted: 48, observers: 12, asked: 6, ..usual }, 48, 12, 64)
            }
            MemoryClass::Medium => (usual, 128, 32, 256),
            MemoryClass::Large => {
                let (messages, message_bytes) = (32_768, 8 << 20);
                let verified = 65_536;
                let peers = Limits { accepted: 192, observers: 48, asked: 32, ..usual };
                (Limits { messages, message_bytes, verified, ..peers }, 256, 64, 1024)
            }
        };
        Bounds {
            limits,
            places: Places::around(&limits, dialled),
            sending_bytes: sending << 20,
            map_bytes: map * MIB,
        }
    }
}

impl Bounds {
    /// The most that each part holds, in bytes: with every place taken by somebody who sends all that he may.
    pub fn parts(&self) -> [(&'static str, u64); 11] {
        let limits = &self.limits;
        let count = |number: usize| number as u64;
        let connections = u64::from(self.places.accepted) + u64::from(self.places.dialled);
        // Around a message are four maps.
        let mempool = 2 * limits.message_bytes + limits.messages * 400;
        [
            ("connections", connections * count(link::LINK_BYTES)),
            ("queues to peers", count(self.sending_bytes)),
            ("answers with bodies", count(limits.asked * tcp::ANSWER_BYTES)),
            ("messages for the core", count(tcp::WORDS_BYTES)),
            ("mempool", count(mempool)),
            ("verified signatures", count(limits.verified * 100)),
            ("headers without bodies", count(chain::UNFULL_BYTES)),
            ("votes and seals", count(seal::INTAKE_BYTES + 2 * SEALS_BYTES_MAX)),
            ("sealed states", count(STATE_BYTES_MAX)),
            ("PoW ledger", ledger::MEMORY_BYTES),
            ("clients and database", count(api::MEMORY_BYTES + store::MEMORY_BYTES)),
        ]
    }

    /// Their sum.
    pub fn bytes(&self) -> u64 {
        self.parts().iter().map(|(_, bytes)| bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_of_each_class_add_up_to_what_its_smallest_machine_can_spare() {
        for class in MemoryClass::ALL {
            let bounds = class.bounds();
            // The rest is the system's, and the pages of the database that it keeps for us.
            let most = class.machine_bytes() / 8 * 5;
            assert!(bounds.bytes() <= most, "{}: {:?}", class.name(), bounds.parts());
            // They are what they are for: a part that counts for nothing is forgotten.
            assert!(bounds.parts().iter().all(|(_, bytes)| *bytes > 0));
            assert!(bounds.map_bytes <= store::MAP_MAX_BYTES);
        }
    }

    #[test]
    fn a_larger_machine_holds_no_less() {
        for pair in MemoryClass::ALL.windows(2) {
            let (less, more) = (pair[0].bounds(), pair[1].bounds());
            assert!(less.bytes() < more.bytes() && less.map_bytes <= more.map_bytes);
            let (less, more) = (less.limits, more.limits);
            assert!(less.accepted < more.accepted && less.observers < more.observers);
            assert!(less.asked <= more.asked && less.messages <= more.messages);
            assert!(less.verified <= more.verified && less.message_bytes <= more.message_bytes);
        }
    }

    #[test]
    fn the_class_of_a_machine_is_that_of_the_memory_it_was_sold_with() {
        // As the kernels of such boards count: a part of it is theirs, or belongs to the graphics.
        for (mib, class) in [
            (360, MemoryClass::Small),
            (490, MemoryClass::Small),
            (870, MemoryClass::Medium),
            (1_870, MemoryClass::Medium),
            (3_600, MemoryClass::Large),
            (7_900, MemoryClass::Large),
        ] {
            assert_eq!(MemoryClass::of(mib * MIB, false), class, "{mib} MiB");
            assert_eq!(MemoryClass::of(mib * MIB, true), MemoryClass::Small32);
        }
    }
}
