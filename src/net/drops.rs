//! Datagrams that the system dropped because a UDP socket's buffer was full.

use std::fs;
use std::os::fd::AsFd;

/// The tables of UDP sockets (proc_net(5)): one line a socket.
const TABLES: [&str; 2] = ["/proc/self/net/udp", "/proc/self/net/udp6"];
/// The place of the socket's number in such a line; the drops stand in the last.
const INODE_COLUMN: usize = 9;

/// How many datagrams a UDP socket has lost since it was made; `None` where the system does not
/// tell.
pub fn dropped(socket: impl AsFd) -> Option<u64> {
    let inode = rustix::fs::fstat(socket).ok()?.st_ino.to_string();
    TABLES.iter().find_map(|table| in_table(&fs::read_to_string(table).ok()?, &inode))
}

fn in_table(table: &str, inode: &str) -> Option<u64> {
    let line = table
        .lines()
        .skip(1)
        .find(|line| line.split_ascii_whitespace().nth(INODE_COLUMN) == Some(inode))?;
    line.split_ascii_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_its_socket() {
        let line = |place: u32, inode: u32, drops: u32| {
            format!(
                "{place:5}: 0100007F:05EA 00000000:0000 07 00000000:00000000 00:00000000 00000000 \
                     0        0 {inode} 2 0000000000000000 {drops}\n"
            )
        };
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
            uid  timeout inode ref pointer drops\n";
        let table = &format!("{head}{}{}", line(73, 4711, 0), line(74, 4712, 815));
        assert_eq!(in_table(table, "4711"), Some(0));
        assert_eq!(in_table(table, "4712"), Some(815));
        assert_eq!(in_table(table, "0"), None);
    }
}
