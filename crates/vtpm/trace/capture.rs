//! Reading captures: our own, swtpm's, and what tcpdump saw of a TPM's TCP port.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context as _, bail, ensure};

use super::event::{Occurrence, What};
use super::pcap::{MAGIC, MAGIC_NANOSECONDS, PLATFORM_PORT, SECTION, platform};
use super::record::{Entry, Record};

/// Tags that a message begins with: of commands and of responses.
const TAGS: [u16; 3] = [0x8001, 0x8002, 0x00C4];
const HEADER: usize = 10;
/// No message is larger.
const LARGEST: usize = 65_536;
const TCP: u8 = 6;
const LINK_NULL: u32 = 0;
const LINK_ETHERNET: u32 = 1;
const LINK_RAW: u32 = 101;
const LINK_LINUX: u32 = 113;
const LINK_LINUX_2: u32 = 276;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;

/// Finds the exchanges with TPMs in a capture (pcap or pcapng, in either byte order), and what their platforms were told.
pub(crate) fn read_capture(file: &[u8]) -> anyhow::Result<Vec<Entry>> {
    let mut packets = Vec::new();
    match word(file, 0, Order::Network) {
        Some(SECTION) => newer_format(file, &mut packets)?,
        _ => classic_format(file, &mut packets)?,
    }
    let mut streams = Streams::default();
    for packet in &packets {
        if let Some(segment) = segment(packet) {
            streams.take(packet.at, &segment);
        }
    }
    Ok(streams.finish())
}

/// The order of bytes of a capture's own numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Network,
    Swapped,
}

fn word(bytes: &[u8], at: usize, order: Order) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk::<4>()?;
    let word = u32::from_be_bytes(*word);
    Some(match order {
        Order::Network => word,
        Order::Swapped => word.swap_bytes(),
    })
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let half = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*half))
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

struct Packet<'a> {
    /// Microseconds since 1970.
    at: u64,
    link: u32,
    bytes: &'a [u8],
}

fn classic_format<'a>(file: &'a [u8], packets: &mut Vec<Packet<'a>>) -> anyhow::Result<()> {
    let magic = word(file, 0, Order::Network).context("the capture is empty")?;
    let known = |magic: u32| magic == MAGIC || magic == MAGIC_NANOSECONDS;
    let (order, magic) = if known(magic) {
        (Order::Network, magic)
    } else {
        (Order::Swapped, magic.swap_bytes())
    };
    ensure!(known(magic), "it is not a capture: its first word is wrong");
    let per_micro = if magic == MAGIC { 1 } else { 1000 };
    let link = word(file, 20, order).context("the capture's head is cut off")? & 0x0FFF_FFFF;
    let mut at = 24;
    while let (Some(seconds), Some(part), Some(length)) = (
        word(file, at, order),
        word(file, at + 4, order),
        word(file, at + 8, order),
    ) {
        let Some(bytes) = file
            .get(at + 16..)
            .and_then(|rest| rest.get(..size(length)))
        else {
            break;
        };
        packets.push(Packet {
            at: u64::from(seconds) * 1_000_000 + u64::from(part) / per_micro,
            link,
            bytes,
        });
        at += 16 + bytes.len();
    }
    Ok(())
}

fn newer_format<'a>(file: &'a [u8], packets: &mut Vec<Packet<'a>>) -> anyhow::Result<()> {
    let mut order = Order::Network;
    let mut interfaces: Vec<(u32, u64)> = Vec::new();
    let mut at = 0;
    while let Some(kind) = word(file, at, order) {
        if kind == SECTION || kind == SECTION.swap_bytes() {
            order = match word(file, at + 8, Order::Network) {
                Some(0x1A2B_3C4D) => Order::Network,
                Some(0x4D3C_2B1A) => Order::Swapped,
                _ => bail!("the capture has a section of unknown byte order"),
            };
            interfaces.clear();
        }
        let Some(length) = word(file, at + 4, order).map(size) else {
            break;
        };
        let Some(block) = file.get(at..).and_then(|rest| rest.get(..length)) else {
            break;
        };
        ensure!(length >= 12, "the capture has a block of {length} bytes");
        match kind {
            INTERFACE => {
                let link = word(block, 8, order).unwrap_or_default();
                let link = if order == Order::Network {
                    link >> 16
                } else {
                    link & 0xFFFF
                };
                interfaces.push((link, units_per_second(block, order)));
            }
            PACKET => {
                let fields = [8, 12, 16, 20].map(|at| word(block, at, order));
                let [Some(interface), Some(high), Some(low), Some(stored)] = fields else {
                    bail!("the capture has a packet that is cut off");
                };
                let Some((link, units)) = interfaces.get(size(interface)).copied() else {
                    bail!("the capture has a packet of an unknown interface");
                };
                let bytes = block.get(28..).and_then(|rest| rest.get(..size(stored)));
                let time = u128::from(high) << 32 | u128::from(low);
                packets.push(Packet {
                    at: u64::try_from(time * 1_000_000 / u128::from(units)).unwrap_or(0),
                    link,
                    bytes: bytes.context("the capture has a packet that is cut off")?,
                });
            }
            _ => {}
        }
        at += length;
    }
    Ok(())
}

/// The resolution of an interface's times: option 9, a power of ten, or of two if the highest bit is set.
fn units_per_second(block: &[u8], order: Order) -> u64 {
    let mut at = 16;
    while let Some(option) = word(block, at, order) {
        let (code, length) = match order {
            Order::Network => (option >> 16, option & 0xFFFF),
            Order::Swapped => (option & 0xFFFF, option >> 16),
        };
        if code == 0 {
            break;
        }
        if code == 9
            && let Some(value) = block.get(at + 4)
        {
            let exponent = u32::from(value & 0x7F);
            let base: u64 = if value & 0x80 == 0 { 10 } else { 2 };
            return base.checked_pow(exponent).unwrap_or(u64::MAX);
        }
        at += 4 + size(length).next_multiple_of(4);
    }
    1_000_000
}

/// One side of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Side {
    address: [u8; 16],
    port: u16,
}

struct Segment<'a> {
    from: Side,
    to: Side,
    sequence: u32,
    opens: bool,
    payload: &'a [u8],
}

/// The TCP segment in a packet.
fn segment<'a>(packet: &Packet<'a>) -> Option<Segment<'a>> {
    let bytes = packet.bytes;
    let ip = match packet.link {
        LINK_NULL => bytes.get(4..)?,
        LINK_ETHERNET => match half(bytes, 12)? {
            0x0800 | 0x86DD => bytes.get(14..)?,
            0x8100 => bytes.get(18..)?,
            _ => return None,
        },
        LINK_RAW | 12 | 228 | 229 => bytes,
        LINK_LINUX => bytes.get(16..)?,
        LINK_LINUX_2 => bytes.get(20..)?,
        _ => return None,
    };
    let address = |at: usize, length: usize| {
        let mut address = [0; 16];
        for (to, from) in address.iter_mut().zip(ip.get(at..)?.get(..length)?) {
            *to = *from;
        }
        Some(address)
    };
    let (tcp, source, destination) = match ip.first()? >> 4 {
        4 => {
            let header = usize::from(ip.first()? & 0xF) * 4;
            let whole = ip.get(..usize::from(half(ip, 2)?)).unwrap_or(ip);
            if *ip.get(9)? != TCP {
                return None;
            }
            (whole.get(header..)?, address(12, 4)?, address(16, 4)?)
        }
        6 if *ip.get(6)? == TCP => (ip.get(40..)?, address(8, 16)?, address(24, 16)?),
        _ => return None,
    };
    let offset = usize::from(tcp.get(12)? >> 4) * 4;
    Some(Segment {
        from: Side {
            address: source,
            port: half(tcp, 0)?,
        },
        to: Side {
            address: destination,
            port: half(tcp, 2)?,
        },
        sequence: word(tcp, 4, Order::Network)?,
        opens: tcp.get(13)? & 0x02 != 0,
        payload: tcp.get(offset..)?,
    })
}

/// One direction of a connection.
#[derive(Default)]
struct Flow {
    /// The sequence number that comes next.
    next: Option<u32>,
    bytes: Vec<u8>,
    /// The same bytes, read as what the simulator's platform port is told.
    signals: Signals,
}

/// What a platform port was told.
#[derive(Default)]
struct Signals {
    bytes: Vec<u8>,
    /// It was something else.
    foreign: bool,
}

impl Signals {
    /// What the next bytes say, as far as it can be told from one that is for something else.
    fn take(&mut self, bytes: &[u8]) -> Vec<u32> {
        let mut codes = Vec::new();
        if self.foreign {
            return codes;
        }
        self.bytes.extend_from_slice(bytes);
        while let Some(code) = word(&self.bytes, 0, Order::Network) {
            if !platform::CODES.contains(&code) {
                self.foreign = true;
                self.bytes = Vec::new();
                break;
            }
            self.bytes.drain(..4);
            codes.push(code);
        }
        codes
    }
}

#[derive(Default)]
struct Streams {
    flows: HashMap<(Side, Side), Flow>,
    /// Commands that wait for their answer, by who sent them.
    waiting: HashMap<(Side, Side), (u64, Vec<u8>)>,
    /// By moment, then in the order in which they were seen.
    found: BTreeMap<(u64, usize), Found>,
    /// Who has answered commands.
    tpms: HashSet<Side>,
}

enum Found {
    Exchange(Box<Record>),
    /// A code that may have been for the platform behind a port.
    Signal(Side, u32),
}

impl Streams {
    fn take(&mut self, at: u64, segment: &Segment<'_>) {
        let key = (segment.from, segment.to);
        let flow = self.flows.entry(key).or_default();
        if segment.opens {
            *flow = Flow {
                next: Some(segment.sequence.wrapping_add(1)),
                ..Flow::default()
            };
            return;
        }
        if segment.payload.is_empty() {
            return;
        }
        let next = flow.next.unwrap_or(segment.sequence);
        let ahead = segment.sequence.wrapping_sub(next);
        // What was sent a second time is behind by less than half of the numbers.
        let fresh = if ahead > u32::MAX / 2 {
            let known = size(next.wrapping_sub(segment.sequence));
            segment.payload.get(known..).unwrap_or_default()
        } else {
            if ahead != 0 {
                // A part was not captured: what came before it will never be whole.
                flow.bytes.clear();
                flow.signals.bytes.clear();
            }
            segment.payload
        };
        if fresh.is_empty() {
            return;
        }
        flow.bytes.extend_from_slice(fresh);
        for code in flow.signals.take(fresh) {
            let number = self.found.len();
            let signal = Found::Signal(segment.to, code);
            self.found.insert((at, number), signal);
        }
        let length = u32::try_from(segment.payload.len()).unwrap_or_default();
        flow.next = Some(segment.sequence.wrapping_add(length));
        let messages = cut(&mut flow.bytes);
        for message in messages {
            self.message(at, key, message);
        }
    }

    /// A message is the answer if the other side has asked, else a question.
    fn message(&mut self, at: u64, key: (Side, Side), message: Vec<u8>) {
        let (from, to) = key;
        if let Some((asked, command)) = self.waiting.remove(&(to, from)) {
            let record = Record::of_bytes(asked, at.saturating_sub(asked), command, message);
            let number = self.found.len();
            self.tpms.insert(from);
            self.found
                .insert((asked, number), Found::Exchange(Box::new(record)));
        } else {
            self.waiting.insert(key, (at, message));
        }
    }

    fn finish(self) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut powered: HashMap<Side, bool> = HashMap::new();
        for ((at, _), found) in self.found {
            match found {
                Found::Exchange(record) => entries.push(Entry::Exchange(record)),
                Found::Signal(side, code) => {
                    let tpm = side.port.checked_sub(1).map(|port| Side { port, ..side });
                    let known = side.port == PLATFORM_PORT
                        || tpm.is_some_and(|tpm| self.tpms.contains(&tpm));
                    if known {
                        let events = happened(powered.entry(side).or_default(), code).into_iter();
                        entries.extend(events.map(|what| Entry::Event(Occurrence { at, what })));
                    }
                }
            }
        }
        entries
    }
}

/// What a code means for a TPM that has power or not, as far as is known. Clients say that it is to have power each time they come.
fn happened(powered: &mut bool, code: u32) -> Vec<What> {
    const ON: What = What::PowerOn { resumed: false };
    match (code, *powered) {
        (platform::POWER_ON, false) => {
            *powered = true;
            vec![ON]
        }
        (platform::POWER_OFF, _) => {
            *powered = false;
            vec![What::PowerOff]
        }
        (platform::RESET, true) => vec![What::PowerOff, ON],
        _ => Vec::new(),
    }
}

/// Cuts whole messages off the front. What stands between them is framing: the simulator's, or codes of its platform.
fn cut(bytes: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    let mut at = 0;
    while let Some(head) = bytes.get(at..).filter(|rest| rest.len() >= HEADER) {
        let tag = half(head, 0).unwrap_or_default();
        let length = word(head, 2, Order::Network).map_or(0, size);
        if !TAGS.contains(&tag) || !(HEADER..=LARGEST).contains(&length) {
            at += 1;
            continue;
        }
        let Some(message) = head.get(..length) else {
            break;
        };
        messages.push(message.to_vec());
        at += length;
    }
    bytes.drain(..at.min(bytes.len()));
    messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::pcap::{Conversation, file_header};

    #[test]
    fn framing_is_skipped_and_parts_are_joined() {
        let frame = hex::decode("80010000000c0000017b0004").unwrap();
        let mut framed = hex::decode("00000008030000000c").unwrap();
        framed.extend(&frame);
        let mut held = framed[..15].to_vec();
        assert!(cut(&mut held).is_empty());
        held.extend(&framed[15..]);
        held.extend([0; 4]);
        assert_eq!(cut(&mut held), [frame]);
        assert!(held.len() < HEADER);
    }

    #[test]
    fn power_is_read_where_a_platform_is_told_of_it() {
        let frame = hex::decode("80010000000c0000017b0004").unwrap();
        let (tpm, other) = (12_000, 13_000);
        let mut streams = Streams::default();
        let mut sequence = 0;
        let mut send = |from: u16, to: u16, payload: &[u8]| {
            let side = |port| Side {
                address: [0; 16],
                port,
            };
            sequence += 1;
            streams.take(
                sequence,
                &Segment {
                    from: side(from),
                    to: side(to),
                    sequence: 0,
                    opens: false,
                    payload,
                },
            );
        };
        // A capture that began in the middle of things, with a simulator and something that only looks like one.
        send(1, tpm + 1, &[0, 0, 0, 1, 0, 0, 0, 11]);
        send(1, other + 1, &[0, 0, 0, 1]);
        send(2, tpm, &frame);
        send(tpm, 2, &frame);
        send(3, tpm + 1, &[0, 0, 0, 1, 0, 0]);
        send(4, tpm + 1, &[0, 0, 0, 17]);
        send(5, tpm + 1, &[0, 0, 0, 2]);
        send(6, tpm + 1, b"GET / HTTP/1.1");
        let lines: Vec<String> = streams
            .finish()
            .iter()
            .map(|entry| match entry {
                Entry::Event(event) => event.what.to_string(),
                Entry::Exchange(_) => "command".to_owned(),
            })
            .collect();
        let cycle = ["power off", "power on"];
        assert_eq!(lines[..2], ["power on", "command"]);
        assert_eq!(lines[2..], [&cycle[..], &cycle[..1]].concat());
    }

    #[test]
    fn no_bytes_break_the_reader() {
        let command = hex::decode("80010000000c0000017b0004").unwrap();
        let mut file = file_header();
        let mut conversation = Conversation::default();
        file.extend(conversation.open(0));
        file.extend(conversation.packets(&Record::of_bytes(1, 1, command.clone(), command)));
        for length in 0..file.len() {
            let _ = read_capture(&file[..length]);
        }
        for place in 0..file.len() {
            for value in [0, 1, 0x7F, 0xFF] {
                let mut broken = file.clone();
                broken[place] = value;
                let _ = read_capture(&broken);
            }
        }
        for kind in [SECTION, MAGIC, MAGIC.swap_bytes()] {
            let mut noise = kind.to_be_bytes().to_vec();
            noise.extend((0..4000u32).map(|n| u8::try_from(n * 7 % 251).unwrap()));
            let _ = read_capture(&noise);
        }
    }
}
