//! Client addresses and the networks they lie in.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::lists::Lists;

/// What is wrong with a client's address or network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// An address within a network, perhaps; or the mask is too short.
    #[error("{text:?} has bits set outside of its mask: write \"{network}\", or the address alone")]
    HostBits {
        /// What was written.
        text: String,
        /// The network that it lies in.
        network: IpNet,
    },
    /// Neither of them.
    #[error("{0:?} is no address such as \"10.0.0.7\", and no network such as \"10.0.0.0/8\"")]
    Unreadable(String),
}

/// Reads an address or a network. IPv4 in IPv6 clothes becomes IPv4.
///
/// # Errors
/// Where the text is neither, or has bits set outside of its mask.
pub fn parse_network(text: &str) -> Result<IpNet, NetworkError> {
    let unreadable = || NetworkError::Unreadable(text.to_owned());
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().map_err(|_| unreadable())?,
    };
    if network.trunc() != network {
        return Err(NetworkError::HostBits { text: text.to_owned(), network: network.trunc() });
    }
    if let IpNet::V6(v6) = network
        && let Some(v4) = v6.addr().to_ipv4_mapped()
        && let Some(length) = v6.prefix_len().checked_sub(96)
    {
        return Ipv4Net::new(v4, length).map(IpNet::V4).map_err(|_| unreadable());
    }
    Ok(network)
}

/// An address, or a network of addresses: `"10.1.2.3"`, `"10.0.0.0/8"`, `"fd00::/8"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// Whether an address is one of them. That of IPv4 within IPv6 is taken for what it is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        parse_network(text).map(Self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Network {
    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "an address such as \"10.1.2.3\", or a network such as \"10.0.0.0/8\"",
            "type": "string"
        })
    }
}

/// The address of a client as an event names it; a zone (`%eth0`) is left out.
#[must_use]
pub fn parse_client(text: &[u8]) -> Option<IpAddr> {
    if let Some(v4) = parse_v4(text) {
        return Some(IpAddr::V4(v4));
    }
    let zone_at = memchr::memchr(b'%', text).unwrap_or(text.len());
    let address: IpAddr = std::str::from_utf8(&text[..zone_at]).ok()?.parse().ok()?;
    Some(address.to_canonical())
}

/// The usual case, several times as fast as the standard library's way.
fn parse_v4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0_u8; 4];
    let mut place = 0;
    let mut digits = 0;
    for &byte in text {
        match byte {
            b'0'..=b'9' => {
                let leading_zero = digits == 1 && octets[place] == 0;
                if leading_zero {
                    return None;
                }
                octets[place] = octets[place].checked_mul(10)?.checked_add(byte - b'0')?;
                digits += 1;
            }
            b'.' if digits > 0 && place < 3 => {
                place += 1;
                digits = 0;
            }
            _ => return None,
        }
    }
    (place == 3 && digits > 0).then(|| Ipv4Addr::from(octets))
}

/// Networks with a number each, looked up by address.
#[derive(Debug)]
pub(super) struct NetworkSet {
    v4: Intervals<u32>,
    v6: Intervals<u128>,
}

impl NetworkSet {
    /// A set of networks; their numbers are their places in the list.
    pub(super) fn new(networks: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (number, network) in (0..).zip(networks) {
            match network {
                IpNet::V4(network) => {
                    let (first, last) = (network.network().into(), network.broadcast().into());
                    let after = u32::checked_add(last, 1);
                    v4.push(Range { first, after, number });
                }
                IpNet::V6(network) => {
                    let (first, last) = (network.network().into(), network.broadcast().into());
                    let after = u128::checked_add(last, 1);
                    v6.push(Range { first, after, number });
                }
            }
        }
        Self { v4: Intervals::new(&v4), v6: Intervals::new(&v6) }
    }

    /// Calls `found` with the number of each network that the address lies in.
    #[inline]
    pub(super) fn scan(&self, client: &[u8], found: impl FnMut(u32)) {
        let numbers = match parse_client(client) {
            Some(IpAddr::V4(address)) => self.v4.at(address.into()),
            Some(IpAddr::V6(address)) => self.v6.at(address.into()),
            None => &[],
        };
        numbers.iter().copied().for_each(found);
    }
}

/// The addresses of a network.
struct Range<A> {
    first: A,
    /// The first address after it; `None` where it is the last network of all.
    after: Option<A>,
    number: u32,
}

/// The line of addresses, cut wherever a network begins or ends.
#[derive(Debug)]
struct Intervals<A> {
    /// Where each interval begins, in order; it ends before the next one.
    starts: Vec<A>,
    /// The networks that cover each interval.
    numbers: Lists<u32>,
}

impl<A: Copy + Ord> Intervals<A> {
    fn new(ranges: &[Range<A>]) -> Self {
        let starts: BTreeSet<A> =
            ranges.iter().flat_map(|range| [Some(range.first), range.after]).flatten().collect();
        let starts: Vec<A> = starts.into_iter().collect();
        let mut numbers = vec![Vec::new(); starts.len()];
        for range in ranges {
            let from = starts.partition_point(|&start| start < range.first);
            let to = range
                .after
                .map_or(starts.len(), |after| starts.partition_point(|&start| start < after));
            numbers[from..to].iter_mut().for_each(|list| list.push(range.number));
        }
        Self { starts, numbers: Lists::new(&numbers) }
    }

    fn at(&self, address: A) -> &[u32] {
        match self.starts.partition_point(|&start| start <= address).checked_sub(1) {
            Some(interval) => self.numbers.get(interval),
            None => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(networks: &[&str], client: &str) -> Vec<u32> {
        let networks: Vec<_> = networks.iter().map(|text| parse_network(text).unwrap()).collect();
        let mut found = Vec::new();
        NetworkSet::new(&networks).scan(client.as_bytes(), |number| found.push(number));
        found
    }

    #[test]
    fn clients_are_found_in_all_their_networks() {
        let networks = [
            "10.0.0.0/8",
            "10.1.2.3",
            "0.0.0.0/0",
            "2001:db8::/32",
            "::/0",
            "::ffff:10.1.0.0/112",
            "fe80::1",
            "255.255.255.255/32",
        ];
        for (client, expected) in [
            ("10.1.2.3", &[0, 1, 2, 5][..]),
            ("::ffff:10.1.2.3", &[0, 1, 2, 5]),
            ("10.2.0.0", &[0, 2]),
            ("9.255.255.255", &[2]),
            ("11.0.0.0", &[2]),
            ("255.255.255.255", &[2, 7]),
            ("2001:db8::1", &[3, 4]),
            ("2001:DB8:0:0::1", &[3, 4]),
            ("::1", &[4]),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &[4]),
            ("fe80::1%eth0", &[4, 6]),
            ("", &[]),
            ("host.example", &[]),
            ("10.1.2", &[]),
            ("10.1.2.3:80", &[]),
        ] {
            assert_eq!(found(&networks, client), expected, "{client}");
        }
        assert!(found(&[], "10.0.0.1").is_empty());
        assert!(found(&["10.0.0.0/8"], "9.0.0.1").is_empty());
    }

    #[test]
    fn addresses_are_read_as_the_standard_library_reads_them() {
        for text in [
            "1.2.3.4",
            "0.0.0.0",
            "255.255.255.255",
            "256.1.1.1",
            "01.2.3.4",
            "1.2.3.00",
            "1.2.3",
            "1.2.3.",
            ".1.2.3",
            "1..2.3",
            "1.2.3.4.5",
            "1.2.3.4 ",
            "",
            ".",
            "1000.1.1.1",
        ] {
            assert_eq!(parse_v4(text.as_bytes()), text.parse().ok(), "{text}");
        }
    }

    #[test]
    fn the_answer_is_that_of_each_network_alone() {
        let texts = ["10.0.0.0/8", "10.64.0.0/10", "10.64.0.0/16", "10.127.255.255", "10.64.0.1"];
        for client in ["10.0.0.0", "10.63.255.255", "10.64.0.1", "10.127.255.255", "11.0.0.0"] {
            let expected: Vec<u32> = (0..)
                .zip(texts)
                .filter(|(_, text)| {
                    parse_network(text).unwrap().contains(&client.parse::<IpAddr>().unwrap())
                })
                .map(|(number, _)| number)
                .collect();
            assert_eq!(found(&texts, client), expected, "{client}");
        }
    }

    #[test]
    fn networks_that_are_none_are_refused() {
        let error = parse_network("10.0.0.1/8").unwrap_err().to_string();
        assert!(error.contains("write \"10.0.0.0/8\""), "{error}");
        for text in ["", "10.0.0", "10.0.0.0/33", "example.org", "10.0.0.0/", "::/129"] {
            assert_eq!(parse_network(text), Err(NetworkError::Unreadable(text.to_owned())));
        }
    }
}
