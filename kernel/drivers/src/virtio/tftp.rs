//! Fetches a file over TFTP: proof that frames arrive whole, in both directions, and in order.
//!
//! QEMU's user network answers at 10.0.2.2 and serves a directory of the host (`-netdev user,tftp=DIR`); the guest
//! may call itself 10.0.2.15.
//!
//! ```text
//!  me                      10.0.2.2
//!  ARP who has 10.0.2.2 ──►
//!                       ◄── its address
//!  RRQ name octet ────────► :69
//!                       ◄── DATA 1, 512 bytes        (from a port of its own)
//!  ACK 1 ─────────────────►
//!                       ◄── DATA n, fewer than 512: the end
//! ```
//!
//! Time is counted in polls, so that no clock is needed; the last packet is sent again when nothing came for a while.
//! Source: RFC 1350.

use super::inet::{HEADERS, Host, MAX_FRAME, Ports, Wire, arp_reply, arp_request, udp_packet, udp_payload};
use core::fmt;

/// My address in QEMU's user network.
pub const GUEST: [u8; 4] = [10, 0, 2, 15];
/// The host's address there.
pub const GATEWAY: [u8; 4] = [10, 0, 2, 2];
const MY_PORT: u16 = 50_069;
const TFTP_PORT: u16 = 69;
const BLOCK: usize = 512;
const RETRIES: u32 = 4;

const RRQ: u16 = 1;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;

/// Why a file could not be fetched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FetchError {
    /// The card did not take a frame.
    Send,
    /// Nobody answered.
    Timeout {
        /// Bytes that had arrived.
        received: usize,
    },
    /// The server refused.
    Refused {
        /// TFTP's error code; 1 is "file not found".
        code: u16,
    },
    /// The name is too long for a request.
    Name,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send => f.write_str("the network card takes no frame"),
            Self::Timeout { received } => write!(f, "no answer, after {received} bytes"),
            Self::Refused { code } => write!(f, "refused by the server, TFTP error {code}"),
            Self::Name => f.write_str("file name too long"),
        }
    }
}

impl core::error::Error for FetchError {}

/// An interface with its card.
pub struct Station<'w, W> {
    wire: &'w mut W,
    me: Host,
    /// Polls of the card before a packet counts as lost.
    patience: u32,
    frame: [u8; MAX_FRAME],
}

impl<'w, W: Wire> Station<'w, W> {
    /// The station with address `ip`, which waits for `patience` polls before it asks again.
    #[must_use]
    pub fn new(wire: &'w mut W, ip: [u8; 4], patience: u32) -> Self {
        let me = Host { mac: wire.mac(), ip };
        Self { wire, me, patience, frame: [0; MAX_FRAME] }
    }

    /// Sends `packet` until `answer` recognizes a frame that comes in.
    fn ask<R>(
        &mut self,
        packet: &[u8],
        received: usize,
        mut answer: impl FnMut(&[u8]) -> Option<R>,
    ) -> Result<R, FetchError> {
        for _ in 0..RETRIES {
            if !self.wire.send(packet) {
                return Err(FetchError::Send);
            }
            for _ in 0..self.patience {
                let got = self.wire.receive(&mut self.frame);
                if let Some(answer) = got.and_then(|len| answer(&self.frame[..len])) {
                    return Ok(answer);
                }
            }
        }
        Err(FetchError::Timeout { received })
    }

    /// The hardware address of `ip` (ARP).
    ///
    /// # Errors
    /// [`FetchError::Send`], [`FetchError::Timeout`].
    pub fn resolve(&mut self, ip: [u8; 4]) -> Result<Host, FetchError> {
        let me = self.me;
        let mac = self.ask(&arp_request(me, ip), 0, |frame| arp_reply(frame, me, ip))?;
        Ok(Host { mac, ip })
    }

    /// Fetches the file `name` from `server`, hands its bytes to `sink` piece by piece, and gives their number.
    ///
    /// # Errors
    /// [`FetchError`]; some bytes may have been handed out then.
    pub fn fetch(
        &mut self,
        server: [u8; 4],
        name: &str,
        mut sink: impl FnMut(&[u8]),
    ) -> Result<usize, FetchError> {
        let server = self.resolve(server)?;
        let mut request = [0; BLOCK];
        let len = read_request(&mut request, name).ok_or(FetchError::Name)?;
        let (mut port, mut received, mut number) = (TFTP_PORT, 0, 1u16);
        let mut ack;
        let mut payload = &request[..len];
        loop {
            let (from, piece) = self.exchange(server, port, payload, number, received, &mut sink)?;
            received += piece;
            if piece < BLOCK {
                self.acknowledge(server, from, number)?;
                return Ok(received);
            }
            ack = acknowledgement(number);
            (port, payload, number) = (from, &ack, number.wrapping_add(1));
        }
    }

    /// Sends `payload` and takes block `number`: the port that it came from, and its length.
    fn exchange(
        &mut self,
        server: Host,
        port: u16,
        payload: &[u8],
        number: u16,
        received: usize,
        sink: &mut impl FnMut(&[u8]),
    ) -> Result<(u16, usize), FetchError> {
        let (me, mut packet) = (self.me, [0; HEADERS + BLOCK]);
        let ports = Ports { mine: MY_PORT, theirs: port };
        let len = udp_packet(&mut packet, me, server, ports, payload).ok_or(FetchError::Name)?;
        self.ask(&packet[..len], received, |frame| {
            let (from, payload) = udp_payload(frame, me, server, MY_PORT)?;
            let word =
                |at: usize| payload.get(at..at + 2).map(|pair| u16::from(pair[0]) << 8 | u16::from(pair[1]));
            match (word(0)?, word(2)?) {
                (DATA, block) if block == number && payload.len() <= 4 + BLOCK => {
                    sink(&payload[4..]);
                    Some(Ok((from, payload.len() - 4)))
                }
                (ERROR, code) => Some(Err(FetchError::Refused { code })),
                _ => None,
            }
        })?
    }

    fn acknowledge(&mut self, server: Host, port: u16, number: u16) -> Result<(), FetchError> {
        let (ack, mut packet) = (acknowledgement(number), [0; HEADERS + 4]);
        let ports = Ports { mine: MY_PORT, theirs: port };
        let len = udp_packet(&mut packet, self.me, server, ports, &ack).ok_or(FetchError::Name)?;
        if self.wire.send(&packet[..len]) { Ok(()) } else { Err(FetchError::Send) }
    }
}

fn acknowledgement(number: u16) -> [u8; 4] {
    let mut ack = [0; 4];
    ack[..2].copy_from_slice(&ACK.to_be_bytes());
    ack[2..].copy_from_slice(&number.to_be_bytes());
    ack
}

fn read_request(request: &mut [u8; BLOCK], name: &str) -> Option<usize> {
    const MODE: &[u8] = b"\0octet\0";
    let end = name.len().checked_add(2)?;
    let len = end.checked_add(MODE.len()).filter(|len| *len <= BLOCK)?;
    request[..2].copy_from_slice(&RRQ.to_be_bytes());
    request[2..end].copy_from_slice(name.as_bytes());
    request[end..len].copy_from_slice(MODE);
    Some(len)
}
