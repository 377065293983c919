//! Things that are handed out to be used once and soon: questions, and enrolments that are under way.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use rand_core::CryptoRng;

/// Bytes of a ticket; qualifying data of a quote may be no longer than the largest digest.
pub const TICKET_SIZE: usize = 32;

/// Why a ticket was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketFault {
    /// It was never given out, or it was used before.
    Unknown,
    /// Its time is over.
    Expired,
    /// More are given out than are kept.
    TooMany,
}

impl fmt::Display for TicketFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "it was never given out, or was used before",
            Self::Expired => "its time is over",
            Self::TooMany => "too many are under way; try again later",
        })
    }
}

impl std::error::Error for TicketFault {}

/// Values that wait for one use each, until their time is over.
#[derive(Debug)]
pub struct Once<T> {
    lifetime: Duration,
    most: usize,
    waiting: HashMap<[u8; TICKET_SIZE], (SystemTime, T)>,
}

impl<T> Once<T> {
    /// Keeps at most `most` values for `lifetime` each.
    #[must_use]
    pub fn new(lifetime: Duration, most: usize) -> Self {
        Self {
            lifetime,
            most,
            waiting: HashMap::new(),
        }
    }

    /// Gives out a ticket for a value.
    ///
    /// # Errors
    /// [`TicketFault::TooMany`].
    pub fn issue(
        &mut self,
        value: T,
        now: SystemTime,
        rng: &mut impl CryptoRng,
    ) -> Result<[u8; TICKET_SIZE], TicketFault> {
        if self.waiting.len() >= self.most {
            self.waiting.retain(|_, (until, _)| *until >= now);
        }
        if self.waiting.len() >= self.most {
            return Err(TicketFault::TooMany);
        }
        let mut ticket = [0; TICKET_SIZE];
        rng.fill_bytes(&mut ticket);
        self.waiting.insert(ticket, (now + self.lifetime, value));
        Ok(ticket)
    }

    /// Takes the value of a ticket, which is worth nothing afterwards.
    ///
    /// # Errors
    /// [`TicketFault::Unknown`] or [`TicketFault::Expired`].
    pub fn redeem(&mut self, ticket: &[u8], now: SystemTime) -> Result<T, TicketFault> {
        let (until, value) = <[u8; TICKET_SIZE]>::try_from(ticket)
            .ok()
            .and_then(|ticket| self.waiting.remove(&ticket))
            .ok_or(TicketFault::Unknown)?;
        if now > until {
            return Err(TicketFault::Expired);
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_once_and_for_a_while() {
        let mut once = Once::new(Duration::from_secs(60), 2);
        let now = SystemTime::UNIX_EPOCH;
        let rng = &mut rand::rng();
        let first = once.issue("first", now, rng).unwrap();
        let second = once.issue("second", now, rng).unwrap();
        assert_ne!(first, second);
        assert_eq!(once.issue("third", now, rng), Err(TicketFault::TooMany));
        assert_eq!(once.redeem(&first, now), Ok("first"));
        assert_eq!(once.redeem(&first, now), Err(TicketFault::Unknown));
        let later = now + Duration::from_secs(61);
        assert_eq!(once.redeem(&second, later), Err(TicketFault::Expired));
        assert_eq!(once.redeem(b"short", now), Err(TicketFault::Unknown));
        once.issue("old", now, rng).unwrap();
        once.issue("old", now, rng).unwrap();
        assert!(
            once.issue("new", later, rng).is_ok(),
            "what is over makes room"
        );
    }
}
