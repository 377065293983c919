//! Captures that Wireshark opens: each message a TCP segment of a conversation with port 2321, where its TPM 2.0 dissector looks.
//!
//! The classic file format, big-endian, with raw IPv4 packets (link type 101). Messages go without the simulator's framing, as
//! swtpm writes them too.

use tpm_server::Event;

use super::record::Record;

/// The port whose traffic Wireshark takes for TPM 2.0.
pub(super) const TPM_PORT: u16 = 2321;
const CLIENT_PORT: u16 = 50_000;
/// The port beside it, where it looks for what the simulator's platform is told.
pub(super) const PLATFORM_PORT: u16 = TPM_PORT + 1;
/// Microseconds, and the byte order by how it reads.
pub(super) const MAGIC: u32 = 0xA1B2_C3D4;
/// The same with nanoseconds.
pub(super) const MAGIC_NANOSECONDS: u32 = 0xA1B2_3C4D;
/// The section header of the newer format, the same in both byte orders.
pub(super) const SECTION: u32 = 0x0A0D_0D0A;
/// Packets begin with the IP header.
pub(super) const LINK_RAW: u32 = 101;

/// What the simulator's platform can be told (TpmTcpProtocol.h of the reference implementation).
pub(super) mod platform {
    pub(in crate::trace) const POWER_ON: u32 = 1;
    pub(in crate::trace) const POWER_OFF: u32 = 2;
    pub(in crate::trace) const RESET: u32 = 17;
    /// All of it.
    pub(in crate::trace) const CODES: std::ops::RangeInclusive<u32> = 1..=31;
}

const SYN: u8 = 0x02;
const PUSH: u8 = 0x08;
const ACK: u8 = 0x10;
const ADDRESS: [u8; 4] = [127, 0, 0, 1];
const TCP: u8 = 6;
/// Bytes of an IPv4 header and a TCP header without options.
const HEADERS: usize = 40;
/// Most bytes of a segment: what an IPv4 packet can carry.
const LARGEST: usize = 65_535 - HEADERS;

/// Whether a file that begins like this is a capture.
pub(crate) fn is_capture(head: &[u8]) -> bool {
    let Some(first) = head.first_chunk::<4>() else {
        return false;
    };
    let magic = u32::from_be_bytes(*first);
    [MAGIC, MAGIC_NANOSECONDS]
        .iter()
        .any(|known| magic == *known || magic == known.swap_bytes())
        || magic == SECTION
}

/// The head of a capture file.
pub(super) fn file_header() -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(MAGIC.to_be_bytes());
    out.extend(2u16.to_be_bytes());
    out.extend(4u16.to_be_bytes());
    out.extend([0; 8]);
    out.extend(0x0004_0000u32.to_be_bytes());
    out.extend(LINK_RAW.to_be_bytes());
    out
}

/// A TCP conversation between a client and a TPM, as packets.
#[derive(Debug)]
pub(super) struct Conversation {
    /// The ports of client and TPM.
    ports: [u16; 2],
    /// Bytes that either side has sent: client, TPM.
    sent: [u32; 2],
}

impl Default for Conversation {
    fn default() -> Self {
        Self {
            ports: [CLIENT_PORT, TPM_PORT],
            sent: [0; 2],
        }
    }
}

/// The power of a TPM, as a client of the simulator's platform port would ask for it. Wireshark knows nothing else that happens.
#[derive(Debug, Default)]
pub(super) struct Platform(Option<Conversation>);

impl Platform {
    /// The packets of an event.
    pub(super) fn signal(&mut self, at: u64, event: &Event) -> Vec<u8> {
        let code: u32 = match event {
            Event::PowerOn { .. } => platform::POWER_ON,
            Event::PowerOff | Event::PowerCut => platform::POWER_OFF,
            _ => return Vec::new(),
        };
        let mut out = Vec::new();
        let conversation = self.0.get_or_insert_with(|| {
            let mut conversation = Conversation {
                ports: [CLIENT_PORT.saturating_add(1), PLATFORM_PORT],
                sent: [0; 2],
            };
            out = conversation.open(at);
            conversation
        });
        out.extend(conversation.data(at, From::Client, &code.to_be_bytes()));
        out.extend(conversation.data(at, From::Tpm, &[0; 4]));
        out
    }
}

#[derive(Clone, Copy)]
enum From {
    Client,
    Tpm,
}

impl Conversation {
    /// The packets that open the conversation.
    pub(super) fn open(&mut self, at: u64) -> Vec<u8> {
        let mut out = self.packet(at, From::Client, SYN, &[]);
        self.advance(From::Client, 1);
        out.extend(self.packet(at, From::Tpm, SYN | ACK, &[]));
        self.advance(From::Tpm, 1);
        out.extend(self.packet(at, From::Client, ACK, &[]));
        out
    }

    /// The packets of one exchange.
    pub(super) fn packets(&mut self, record: &Record) -> Vec<u8> {
        let mut out = self.data(record.at, From::Client, &record.command);
        out.extend(self.data(
            record.at.saturating_add(record.us),
            From::Tpm,
            &record.response,
        ));
        out
    }

    fn data(&mut self, at: u64, from: From, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for part in bytes.chunks(LARGEST) {
            out.extend(self.packet(at, from, PUSH | ACK, part));
            self.advance(from, u32::try_from(part.len()).unwrap_or_default());
        }
        out
    }

    fn advance(&mut self, from: From, by: u32) {
        let [client, tpm] = &mut self.sent;
        let count = match from {
            From::Client => client,
            From::Tpm => tpm,
        };
        *count = count.wrapping_add(by);
    }

    fn packet(&self, at: u64, from: From, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = HEADERS.saturating_add(payload.len());
        let ([client, tpm], [ours, theirs]) = (self.sent, self.ports);
        let (source, destination, sequence, acknowledged) = match from {
            From::Client => (ours, theirs, client, tpm),
            From::Tpm => (theirs, ours, tpm, client),
        };
        let mut ip = Vec::from([0x45, 0]);
        ip.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        ip.extend([0, 0, 0x40, 0, 64, TCP]);
        let mut addresses = Vec::from(ADDRESS);
        addresses.extend(ADDRESS);
        let sum = checksum(ip.iter().chain(&addresses).copied());
        ip.extend(sum.to_be_bytes());
        ip.extend(&addresses);

        let mut head = Vec::new();
        head.extend(source.to_be_bytes());
        head.extend(destination.to_be_bytes());
        head.extend(sequence.to_be_bytes());
        let acknowledged = if flags & ACK == 0 { 0 } else { acknowledged };
        head.extend(acknowledged.to_be_bytes());
        head.extend([5 << 4, flags]);
        head.extend(u16::MAX.to_be_bytes());
        let tcp_length = u16::try_from(length.saturating_sub(20)).unwrap_or(u16::MAX);
        let mut pseudo = addresses;
        pseudo.extend([0, TCP]);
        pseudo.extend(tcp_length.to_be_bytes());
        // The checksum counts as zero while it is computed.
        let summed = pseudo.iter().chain(&head).chain(&[0; 4]).chain(payload);
        let sum = checksum(summed.copied());
        head.extend(sum.to_be_bytes());
        head.extend([0, 0]);

        let mut out = Vec::new();
        let seconds = u32::try_from(at / 1_000_000).unwrap_or(u32::MAX);
        out.extend(seconds.to_be_bytes());
        let micros = u32::try_from(at % 1_000_000).unwrap_or_default();
        out.extend(micros.to_be_bytes());
        let stored = u32::try_from(length).unwrap_or(u32::MAX);
        out.extend(stored.to_be_bytes());
        out.extend(stored.to_be_bytes());
        out.extend(ip);
        out.extend(head);
        out.extend(payload);
        out
    }
}

/// The internet checksum (RFC 1071).
fn checksum(bytes: impl Iterator<Item = u8>) -> u16 {
    let mut sum = 0u64;
    for (place, byte) in bytes.enumerate() {
        let word = u64::from(byte);
        sum = sum.wrapping_add(if place % 2 == 0 { word << 8 } else { word });
    }
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF).wrapping_add(sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Entry, Occurrence, What, read_capture};

    #[test]
    fn what_is_written_is_read_again() {
        let command = hex::decode("80010000000c0000017b0004").unwrap();
        let response = hex::decode("800100000010000000000004deadbeef").unwrap();
        let records = [
            Record::of_bytes(5_000_007, 11, command.clone(), response.clone()),
            Record::of_bytes(6_000_000, 1, response, command),
        ];
        let mut file = file_header();
        let mut conversation = Conversation::default();
        file.extend(conversation.open(0));
        let mut platform = Platform::default();
        file.extend(platform.signal(1, &Event::PowerOn { resumed: false }));
        for record in &records {
            file.extend(conversation.packets(record));
        }
        assert!(platform.signal(7, &Event::HashEnd).is_empty());
        file.extend(platform.signal(8, &Event::PowerOff));
        assert!(is_capture(&file));
        let read = read_capture(&file).unwrap();
        let [one, two] = records.map(|record| Entry::Exchange(Box::new(record)));
        let power = |at, what| Entry::Event(Occurrence { at, what });
        let on = power(1, What::PowerOn { resumed: false });
        assert_eq!(read, [on, power(8, What::PowerOff), one, two]);
    }

    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        let header = hex::decode("45000073000040004011c0a80001c0a800c7").unwrap();
        assert_eq!(checksum(header.into_iter()), 0xB861);
        let header = hex::decode("450000730000400040110000c0a80001c0a800c7").unwrap();
        assert_eq!(checksum(header.into_iter()), 0xB861);
    }
}
