//! As much of ARP, IPv4 and UDP as it takes to show that packets get through: one peer, no fragments, no routing.
//!
//! ```text
//!  Ethernet 14: to, from, type | ARP 28
//!                              | IPv4 20 | UDP 8 | payload
//! ```
//!
//! What comes in is untrusted: every length is checked before it is used (invariant 12). Source: RFC 826, 791, 768.

/// A network card.
pub trait Wire {
    /// Its hardware address.
    fn mac(&self) -> [u8; 6];
    /// Sends a frame; whether that went well.
    fn send(&mut self, frame: &[u8]) -> bool;
    /// Copies the next frame into `frame` and gives its length; `None` while there is none.
    fn receive(&mut self, frame: &mut [u8]) -> Option<usize>;
}

/// Longest frame, without its checksum.
pub const MAX_FRAME: usize = 1514;
const ETHERNET: usize = 14;
const ARP: usize = 28;
const IPV4: usize = 20;
const UDP: usize = 8;
/// Bytes before the payload of a UDP packet.
pub const HEADERS: usize = ETHERNET + IPV4 + UDP;
const TYPE_IPV4: [u8; 2] = [0x08, 0x00];
const TYPE_ARP: [u8; 2] = [0x08, 0x06];
const PROTOCOL_UDP: u8 = 17;
/// Ethernet, IPv4, and the lengths of their addresses.
const ARP_KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];
const BROADCAST: [u8; 6] = [0xff; 6];

/// An interface's addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Host {
    /// Hardware address.
    pub mac: [u8; 6],
    /// IPv4 address.
    pub ip: [u8; 4],
}

/// One's complement sum of 16-bit words (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let sum: u32 = bytes.chunks(2).map(word).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

fn part<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..at + N)?.try_into().ok()
}

fn number(frame: &[u8], at: usize) -> Option<u16> {
    part(frame, at).map(u16::from_be_bytes)
}

/// Writes `bytes` at `at`, where the caller has made room.
fn put(frame: &mut [u8], at: usize, bytes: &[u8]) {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The frame that asks who has `ip`.
#[must_use]
pub fn arp_request(me: Host, ip: [u8; 4]) -> [u8; ETHERNET + ARP] {
    let mut frame = [0; ETHERNET + ARP];
    put(&mut frame, 0, &BROADCAST);
    put(&mut frame, 6, &me.mac);
    put(&mut frame, 12, &TYPE_ARP);
    put(&mut frame, 14, &ARP_KIND);
    put(&mut frame, 20, &[0, 1]);
    put(&mut frame, 22, &me.mac);
    put(&mut frame, 28, &me.ip);
    put(&mut frame, 38, &ip);
    frame
}

/// The hardware address of `ip`, when `frame` is its answer to me.
#[must_use]
pub fn arp_reply(frame: &[u8], me: Host, ip: [u8; 4]) -> Option<[u8; 6]> {
    let kind = part(frame, 12)? == TYPE_ARP && part(frame, 14)? == ARP_KIND && number(frame, 20)? == 2;
    let from_to = part(frame, 28)? == ip && part(frame, 38)? == me.ip;
    part(frame, 22).filter(|_| kind && from_to)
}

/// The two ends of a UDP exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports {
    /// Mine.
    pub mine: u16,
    /// The peer's.
    pub theirs: u16,
}

/// Puts a UDP packet with `payload` into `frame` and gives its length; `None` when it doesn't fit. Without a UDP
/// checksum, which IPv4 leaves to the sender.
pub fn udp_packet(frame: &mut [u8], me: Host, peer: Host, ports: Ports, payload: &[u8]) -> Option<usize> {
    let len = HEADERS + payload.len();
    let frame = frame.get_mut(..len).filter(|frame| frame.len() <= MAX_FRAME)?;
    frame[..HEADERS].fill(0);
    put(frame, 0, &peer.mac);
    put(frame, 6, &me.mac);
    put(frame, 12, &TYPE_IPV4);
    frame[14] = 0x45;
    put(frame, 16, &((len - ETHERNET) as u16).to_be_bytes());
    (frame[22], frame[23]) = (64, PROTOCOL_UDP);
    put(frame, 26, &me.ip);
    put(frame, 30, &peer.ip);
    let sum = checksum(&frame[14..34]);
    put(frame, 24, &sum.to_be_bytes());
    put(frame, 34, &ports.mine.to_be_bytes());
    put(frame, 36, &ports.theirs.to_be_bytes());
    put(frame, 38, &((UDP + payload.len()) as u16).to_be_bytes());
    put(frame, HEADERS, payload);
    Some(len)
}

/// The sender's port and the payload, when `frame` is a whole UDP packet from `peer` to my port `mine`.
#[must_use]
pub fn udp_payload(frame: &[u8], me: Host, peer: Host, mine: u16) -> Option<(u16, &[u8])> {
    let header = frame.get(14..34)?;
    let plain = part(frame, 12)? == TYPE_IPV4 && header[0] == 0x45 && header[9] == PROTOCOL_UDP;
    let whole = number(frame, 20)? & 0x3fff == 0 && checksum(header) == 0;
    let ours = part(frame, 26)? == peer.ip && part(frame, 30)? == me.ip && number(frame, 36)? == mine;
    let len = usize::from(number(frame, 38)?).checked_sub(UDP)?;
    let payload = frame.get(HEADERS..HEADERS + len)?;
    (plain && whole && ours).then_some((number(frame, 34)?, payload))
}
