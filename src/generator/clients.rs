//! Who works on the cluster: clients, each with its user, its protocol and its node.

use super::Profile;
use super::random::Random;
use super::weighted::Weighted;

/// Weights of clients are `1 / rank` to this power: 1 % of them do half of the work.
const ACTIVITY_EXPONENT: f64 = 1.2;

const NAMES: &[&str] = &[
    "alice", "bjoern", "carla", "dmitri", "emma", "farid", "grace", "hiroshi", "ines", "jonas",
    "kaori", "liam", "marta", "noor", "olga", "pavel", "quinn", "rosa", "sven", "tomasz", "uma",
    "victor", "wei", "yusuf", "zoe",
];

/// One client machine.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) address: String,
    pub(super) user: String,
    pub(super) sid: String,
    pub(super) auth_id: String,
    pub(super) protocol: &'static str,
    /// The node it is connected to; it stays there.
    pub(super) node: u16,
}

/// All clients, and how active each is.
#[derive(Debug)]
pub(super) struct Clients {
    list: Vec<Client>,
    activity: Weighted,
}

impl Clients {
    pub(super) fn new(profile: Profile, nodes: u16, random: &mut Random) -> Self {
        let count = profile.clients();
        let archive = profile == Profile::Surveillance;
        let list = (0..count)
            .map(|index| if archive { recorder(index, nodes) } else { desk(random, index, nodes) })
            .collect();
        let activity = if archive {
            // Three nodes have 50, 27 and 23 % of the work, and the API a quarter of a percent.
            let mut weights = vec![0.01; count as usize];
            weights[..4].copy_from_slice(&[50.0, 27.0, 23.0, 0.25]);
            Weighted::new(&weights)
        } else {
            Weighted::zipf(count, ACTIVITY_EXPONENT)
        };
        Self { list, activity }
    }

    pub(super) fn pick(&self, random: &mut Random) -> u16 {
        u16::try_from(self.activity.pick(random)).expect("there are a few hundred clients")
    }

    /// Any client, busy or not.
    pub(super) fn any(&self, random: &mut Random) -> u16 {
        let count = u16::try_from(self.list.len()).expect("there are a few hundred clients");
        u16::try_from(random.below(u32::from(count))).expect("below the number of clients")
    }

    pub(super) fn get(&self, client: u16) -> &Client {
        &self.list[usize::from(client)]
    }
}

/// A recording server: it writes under its machine account.
fn recorder(index: u32, nodes: u16) -> Client {
    let is_api = index == 3;
    let user = if is_api { "admin".to_owned() } else { format!("VSS\\MILESTONE-RS{}$", index + 1) };
    Client {
        address: format!("10.220.{}.{}", 200 + index / 200, 100 + index % 200 / 2 * 5 % 150),
        user,
        sid: sid(index),
        auth_id: format!("{}", 500 + index),
        protocol: if is_api { "api" } else { "smb2" },
        node: node_of(index, nodes),
    }
}

/// A desk or a server of a department.
fn desk(random: &mut Random, index: u32, nodes: u16) -> Client {
    let name = random.pick(NAMES);
    let (protocol, user) = match index % 20 {
        0..13 => ("nfs3", format!("{}", 1_000 + index)),
        13..19 => ("smb2", format!("AD\\{name}{index}")),
        _ => ("api", "admin".to_owned()),
    };
    let (third, fourth) = (index / 250, index % 250 + 1);
    let address = if index % 32 == 7 {
        format!("2001:db8:60e0:{:x}::{fourth:x}", 0x7352 + third)
    } else {
        format!("10.20.{third}.{fourth}")
    };
    let auth_id = format!("{}", 8_589_934_592_u64 + u64::from(index));
    Client { address, user, sid: sid(index), auth_id, protocol, node: node_of(index, nodes) }
}

fn sid(index: u32) -> String {
    format!("S-1-5-21-1234567890-3456789012-2345678901-{}", 1_000 + index)
}

fn node_of(index: u32, nodes: u16) -> u16 {
    u16::try_from(index % u32::from(nodes)).expect("below the number of nodes")
}
