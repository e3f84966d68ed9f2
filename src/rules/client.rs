//! Client addresses and the networks they lie in.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::lists::Lists;

/// What is wrong with a client's address or network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NetworkError {
    #[error("{text:?} has bits set outside of its mask: write \"{network}\", or the address alone")]
    HostBits { text: String, network: IpNet },
    #[error("{0:?} is no address such as \"10.0.0.7\", and no network such as \"10.0.0.0/8\"")]
    Unreadable(String),
}

/// Reads an address or a network. IPv4 in IPv6 clothes becomes IPv4.
pub(super) fn parse_network(text: &str) -> Result<IpNet, NetworkError> {
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

/// The address of a client as an event names it; a zone (`%eth0`) is left out.
pub(super) fn parse_address(text: &[u8]) -> Option<IpAddr> {
    let zone_at = memchr::memchr(b'%', text).unwrap_or(text.len());
    let address: IpAddr = std::str::from_utf8(&text[..zone_at]).ok()?.parse().ok()?;
    Some(address.to_canonical())
}

/// Networks with a number each, looked up by address.
#[derive(Debug)]
pub(super) struct NetworkSet {
    v4: Intervals,
    v6: Intervals,
}

impl NetworkSet {
    /// A set of networks; their numbers are their places in the list.
    pub(super) fn new(networks: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (number, network) in (0..).zip(networks) {
            let (first, last) = (widen(network.network()), widen(network.broadcast()));
            let ranges = if matches!(network, IpNet::V4(_)) { &mut v4 } else { &mut v6 };
            ranges.push(Range { first, last, number });
        }
        Self { v4: Intervals::new(&v4), v6: Intervals::new(&v6) }
    }

    /// Calls `found` with the number of each network that the address lies in.
    #[inline]
    pub(super) fn scan(&self, client: &[u8], mut found: impl FnMut(u32)) {
        if let Some(address) = parse_address(client) {
            let intervals = if address.is_ipv4() { &self.v4 } else { &self.v6 };
            intervals.at(widen(address)).iter().for_each(|&number| found(number));
        }
    }
}

fn widen(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The addresses of a network, both ends included.
struct Range {
    first: u128,
    last: u128,
    number: u32,
}

/// The line of addresses, cut wherever a network begins or ends.
#[derive(Debug)]
struct Intervals {
    /// Where each interval begins, in order; it ends before the next one.
    starts: Vec<u128>,
    /// The networks that cover each interval.
    numbers: Lists,
}

impl Intervals {
    fn new(ranges: &[Range]) -> Self {
        let starts: BTreeSet<u128> = ranges
            .iter()
            .flat_map(|range| [Some(range.first), range.last.checked_add(1)])
            .flatten()
            .collect();
        let starts: Vec<u128> = starts.into_iter().collect();
        let mut numbers = vec![Vec::new(); starts.len()];
        for range in ranges {
            let from = starts.partition_point(|&start| start < range.first);
            let to = starts.partition_point(|&start| start <= range.last);
            numbers[from..to].iter_mut().for_each(|list| list.push(range.number));
        }
        Self { starts, numbers: Lists::new(&numbers) }
    }

    fn at(&self, address: u128) -> &[u32] {
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
