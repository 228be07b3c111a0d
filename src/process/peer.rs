//! Who is at the other end of a socket of the worker: from the kernel's own tables, in the worker's network namespace.
//! Knows nothing of system calls.

use crate::model::Pid;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What is read of one table at most: some fifty thousand connections.
const MOST: u64 = 8 << 20;
/// The longest path of a Unix socket (`sun_path`).
const LONGEST_PATH: usize = 108;

/// `10.0.0.5:5432`, `[2001:db8::5]:5432`, or `unix:/run/db.sock` where a Unix socket has a name of its own; without
/// blanks. None: no socket, one that is not connected, or `/proc` does not say.
pub fn peer(pid: Pid, descriptor: u64) -> Option<String> {
    let descriptor = i32::try_from(descriptor).ok()?;
    let link = std::fs::read_link(format!("/proc/{pid}/fd/{descriptor}")).ok()?;
    let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        if let Some(line) = find(pid, table, |line| line.split_ascii_whitespace().nth(9) == Some(inode)) {
            return of_internet(&line);
        }
    }
    let line = find(pid, "unix", |line| line.split_ascii_whitespace().nth(6) == Some(inode))?;
    of_unix(&line)
}

fn find(pid: Pid, table: &str, fits: impl Fn(&str) -> bool) -> Option<String> {
    let file = File::open(format!("/proc/{pid}/net/{table}")).ok()?;
    let mut lines = BufReader::new(file.take(MOST));
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).ok()? > 0 {
        if let Ok(text) = std::str::from_utf8(&line)
            && fits(text)
        {
            return Some(text.trim_end_matches('\n').to_string());
        }
        line.clear();
    }
    None
}

/// `sl local_address rem_address st …` (net/ipv4/tcp_ipv4.c: `get_tcp4_sock`).
fn of_internet(line: &str) -> Option<String> {
    let (address, port) = line.split_ascii_whitespace().nth(2)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // 32 bits at a time as this machine keeps them, which is in network order.
    let word = |at: usize| {
        let word = u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let address: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let all = Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?);
            // A connection to an IPv4 address is called so, whatever the socket can do beside.
            all.to_ipv4_mapped().map_or(all.into(), IpAddr::from)
        }
        _ => return None,
    };
    (!address.is_unspecified()).then(|| SocketAddr::new(address, port).to_string())
}

/// `Num RefCount Protocol Flags Type St Inode [Path]` (net/unix/af_unix.c: `unix_seq_show`). The path is the socket's
/// own, which for a server's end of a connection is that of its listener; a client's end has none.
fn of_unix(line: &str) -> Option<String> {
    let mut words = line.split_ascii_whitespace();
    let path = words.nth(7)?;
    let plain = path.len() <= LONGEST_PATH && path.bytes().all(|byte| byte.is_ascii_graphic());
    (plain && words.next().is_none()).then(|| format!("unix:{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    fn own(socket: &impl AsRawFd) -> Option<String> {
        peer(
            Pid(std::process::id() as i32),
            u64::try_from(socket.as_raw_fd()).expect("a descriptor"),
        )
    }

    #[test]
    fn the_other_end_of_own_sockets() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // A machine may have no IPv6.
            let Ok(listener) = TcpListener::bind(address) else {
                continue;
            };
            let to = listener.local_addr().expect("bound");
            let stream = TcpStream::connect(to).expect("connected");
            assert_eq!(own(&stream), Some(to.to_string()));
            assert_eq!(own(&listener), None, "it listens, and is connected to nobody");
            let asks = UdpSocket::bind(address).expect("bound");
            assert_eq!(own(&asks), None);
            asks.connect(to).expect("connected");
            assert_eq!(own(&asks), Some(to.to_string()));
        }
        let file = File::open("/proc/self/stat").expect("open");
        assert_eq!(own(&file), None, "no socket");
    }

    #[test]
    fn a_unix_socket_has_the_name_that_its_listener_has() {
        let path = std::env::temp_dir().join(format!("otop-peer-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("bound");
        let client = UnixStream::connect(&path).expect("connected");
        let (accepted, _) = listener.accept().expect("accepted");
        assert_eq!(own(&accepted), Some(format!("unix:{}", path.display())));
        assert_eq!(own(&client), None, "the kernel's table does not say");
        std::fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn addresses_as_the_kernel_writes_them() {
        let of = |remote: &str| of_internet(&format!("  1: 00000000:0000 {remote} 01 0:0 0:0 0 0 0 77 1"));
        assert_eq!(of("0500000A:1538").as_deref(), Some("10.0.0.5:5432"));
        assert_eq!(
            of("0000000000000000FFFF00000500000A:1538").as_deref(),
            Some("10.0.0.5:5432")
        );
        assert_eq!(
            of("B80D0120000000000000000005000000:01BB").as_deref(),
            Some("[2001:db8::5]:443")
        );
        assert_eq!(of("00000000:0000"), None);
        assert_eq!(of("zz"), None);
        assert_eq!(of("\u{e9}\u{e9}\u{e9}\u{e9}:0"), None);
        assert_eq!(of_unix("0: 3 0 0 0001 03 77 /run/with blanks"), None);
        assert_eq!(of_unix("0: 3 0 0 0001 03 77 /run/\u{1b}[2J"), None);
        assert_eq!(of_unix("0: 3 0 0 0001 03 77"), None);
        assert_eq!(
            of_unix("0: 3 0 0 0001 03 77 @abstract").as_deref(),
            Some("unix:@abstract")
        );
    }
}
