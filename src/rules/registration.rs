//! What a row of the PoW ledger asks of the registry: its data field, read strictly (`docs/protocol.md` §5).

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::types::address::Address;
use crate::types::network::Endpoint;
use crate::types::pow::{DATA_MAX, Order, PowAddress};

/// What became of a row, each with a stable code. The first check that fails decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Ok,
    BadData,
    BadSender,
    BadSource,
    BadIp,
    BadPort,
    BadAddress,
    BadReward,
    SenderTaken,
    IpTaken,
    AddressTaken,
    NoCollateral,
    NotRegistered,
    Mismatch,
}

/// A registration as its data says it, not yet held against the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registration {
    pub owner: PowAddress,
    pub endpoint: Endpoint,
    pub address: Address,
    pub reward: PowAddress,
}

/// What makes an address and an IP good on a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// First byte of addresses.
    pub prefix: u8,
    /// Whether only addresses that the whole internet can reach count.
    pub public_only: bool,
}

/// `ip:port:address[,key=value]…`, split and no more.
struct Data<'a> {
    ip: &'a str,
    port: &'a str,
    address: &'a str,
    options: BTreeMap<&'a str, &'a str>,
}

impl Verdict {
    /// The code, for programs.
    pub fn code(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::BadData => "bad_data",
            Verdict::BadSender => "bad_sender",
            Verdict::BadSource => "bad_source",
            Verdict::BadIp => "bad_ip",
            Verdict::BadPort => "bad_port",
            Verdict::BadAddress => "bad_address",
            Verdict::BadReward => "bad_reward",
            Verdict::SenderTaken => "sender_taken",
            Verdict::IpTaken => "ip_taken",
            Verdict::AddressTaken => "address_taken",
            Verdict::NoCollateral => "no_collateral",
            Verdict::NotRegistered => "not_registered",
            Verdict::Mismatch => "mismatch",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Ok => "accepted",
            Verdict::BadData => "the data is not ip:port:address[,key=value]…, each key once",
            Verdict::BadSender => "the sender is not 56 lower-case hex digits",
            Verdict::BadSource => "source= is not the sender",
            Verdict::BadIp => "no IPv4 address that an HN of this network can have",
            Verdict::BadPort => "the port is not 1 to 65535, without sign or leading zero",
            Verdict::BadAddress => "no address of an HN of this network",
            Verdict::BadReward => "reward= is not 56 lower-case hex digits",
            Verdict::SenderTaken => "the sender has an HN registered already",
            Verdict::IpTaken => "another HN has this IP",
            Verdict::AddressTaken => "another HN has this address",
            Verdict::NoCollateral => "the sender holds less than 10000 coins after this block",
            Verdict::NotRegistered => "nobody is registered so",
            Verdict::Mismatch => "the sender is registered with another IP, port or address",
        })
    }
}

impl Registration {
    /// Reads a row that registers; its sender's address comes with it when it is one.
    pub fn read(order: &Order, terms: &Terms) -> Result<Registration, Verdict> {
        let data = Data::split(&order.data).ok_or(Verdict::BadData)?;
        let owner = PowAddress::parse(&order.sender).ok_or(Verdict::BadSender)?;
        data.check_source(&order.sender)?;
        let ip = ip_of(data.ip, terms).ok_or(Verdict::BadIp)?;
        let port = port_of(data.port).ok_or(Verdict::BadPort)?;
        let address =
            Address::parse(data.address, terms.prefix).map_err(|_| Verdict::BadAddress)?;
        let reward = match data.options.get("reward") {
            Some(reward) => PowAddress::parse(reward).ok_or(Verdict::BadReward)?,
            None => owner,
        };
        Ok(Registration { owner, endpoint: Endpoint { ip, port }, address, reward })
    }

    /// The data field that reads as this.
    pub fn data(&self) -> String {
        let reward = match self.reward == self.owner {
            true => String::new(),
            false => format!(",reward={}", self.reward),
        };
        format!("{}:{}{reward}", self.endpoint, self.address)
    }
}

/// Who a row that unregisters is about, word for word: nothing is read loosely, so that it fits one HN or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal<'a> {
    pub ip: &'a str,
    pub port: &'a str,
    pub address: &'a str,
    /// What the controller gives as its reason.
    pub reason: Option<&'a str>,
}

impl<'a> Removal<'a> {
    /// Reads a row that unregisters.
    pub fn read(order: &'a Order) -> Result<Removal<'a>, Verdict> {
        let data = Data::split(&order.data).ok_or(Verdict::BadData)?;
        data.check_source(&order.sender)?;
        let reason = data.options.get("reason").copied();
        Ok(Removal { ip: data.ip, port: data.port, address: data.address, reason })
    }

    /// Whether it is about this HN.
    pub fn fits(&self, endpoint: &Endpoint, address: &Address) -> bool {
        endpoint.ip.to_string() == self.ip
            && endpoint.port.to_string() == self.port
            && address.to_string() == self.address
    }
}

impl Data<'_> {
    fn split(text: &str) -> Option<Data<'_>> {
        if text.len() > DATA_MAX {
            return None;
        }
        let mut fields = text.split(',');
        let mut parts = fields.next()?.split(':');
        let (ip, port, address) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let mut options = BTreeMap::new();
        for field in fields {
            let (key, value) = field.split_once('=').filter(|(_, value)| !value.contains('='))?;
            if options.insert(key, value).is_some() {
                return None;
            }
        }
        Some(Data { ip, port, address, options })
    }

    fn check_source(&self, sender: &str) -> Result<(), Verdict> {
        match self.options.get("source") {
            Some(source) if *source != sender => Err(Verdict::BadSource),
            Some(_) | None => Ok(()),
        }
    }
}

/// Dotted, without leading zeros.
fn ip_of(text: &str, terms: &Terms) -> Option<Ipv4Addr> {
    let ip: Ipv4Addr = text.parse().ok()?;
    (ip.to_string() == text && !(terms.public_only && is_special(ip))).then_some(ip)
}

/// Blocks of addresses that are nobody's on the internet (§5).
fn is_special(ip: Ipv4Addr) -> bool {
    let [a, b, _, _] = ip.octets();
    match a {
        0 | 10 | 127 | 224.. => true,
        100 => (64..128).contains(&b),
        169 => b == 254,
        172 => (16..32).contains(&b),
        192 => b == 168,
        _ => false,
    }
}

fn port_of(text: &str) -> Option<u16> {
    let port: u16 = text.parse().ok()?;
    (port > 0 && port.to_string() == text).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::pow::OrderKind;

    const OWNER: &str = "8e3f9ecacda19f7f7b5953593781a1961e672b8244ab01f13a6d11ed";
    const ADDRESS: &str = "BSr4oBftynAV5ZdmdhMZPLR5NyV3A27gq1";
    const MAIN: Terms = Terms { prefix: 0x19, public_only: true };

    fn read(data: &str, terms: &Terms) -> Result<Registration, Verdict> {
        let (sender, data) = (OWNER.to_owned(), data.to_owned());
        let order = Order { height: 1, sender, kind: OrderKind::Register, data };
        Registration::read(&order, terms)
    }

    #[test]
    fn data_is_read_strictly_and_the_first_fault_counts() {
        let good = format!("203.0.113.1:6969:{ADDRESS}");
        let registration = read(&good, &MAIN).expect("it is good");
        assert_eq!(registration.data(), good);
        let other = OWNER.replace('8', "9");
        let rewarded = read(&format!("{good},reward={other},colour=red"), &MAIN).expect("good");
        assert_eq!(rewarded.data(), format!("{good},reward={other}"));
        assert_eq!(read(&rewarded.data(), &MAIN), Ok(rewarded));
        for (data, code) in [
            (String::new(), "bad_data"),
            (format!("{good}:"), "bad_data"),
            (format!("{good},reward"), "bad_data"),
            (format!("{good},a=b=c"), "bad_data"),
            (format!("{good},a=1,a=1"), "bad_data"),
            (format!("{good},source={other},reward=x"), "bad_source"),
            (format!("+{good}"), "bad_ip"),
            (format!("203.0.113.01:6969:{ADDRESS}"), "bad_ip"),
            (format!("203.0.113.1:06969:{ADDRESS}"), "bad_port"),
            (format!("203.0.113.1:0:{ADDRESS}"), "bad_port"),
            (format!("203.0.113.1:+6969:{ADDRESS}"), "bad_port"),
            (format!("203.0.113.1:65536:{ADDRESS}"), "bad_port"),
            ("203.0.113.1:6969:".to_owned() + &ADDRESS.to_lowercase(), "bad_address"),
            (format!("203.0.113.1:6969:{ADDRESS},reward={}", OWNER.to_uppercase()), "bad_reward"),
            ("a:b:'; DROP TABLE transactions; --".to_owned(), "bad_ip"),
            ("x".repeat(10_240), "bad_data"),
        ] {
            assert_eq!(read(&data, &MAIN).map_err(Verdict::code), Err(code), "{data}");
        }
    }

    #[test]
    fn only_public_addresses_count_where_everybody_must_reach_them() {
        let anywhere = Terms { public_only: false, ..MAIN };
        let data = |ip: &str| format!("{ip}:1:{ADDRESS}");
        for ip in [
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.1.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            assert_eq!(read(&data(ip), &MAIN), Err(Verdict::BadIp), "{ip}");
            assert!(read(&data(ip), &anywhere).is_ok(), "{ip}");
        }
        for ip in ["1.1.1.1", "100.63.0.1", "100.128.0.1", "172.15.0.1", "172.32.0.1", "223.1.1.1"]
        {
            assert!(read(&data(ip), &MAIN).is_ok(), "{ip}");
        }
    }
}
