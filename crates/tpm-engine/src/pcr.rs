//! Platform configuration registers (Part 1, 17; attributes by the PC Client platform profile).

use crate::algorithms::{hash_algorithm, small};
use crate::hierarchy::EntityPolicy;
use crate::profile::Profile;
use crate::state_format::{Group, Section};
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use tpm_crypto::hash::hash;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::buffers::{Small, Tpm2bAuth};
use tpm_wire::codec::{Input, Marshal, Parse, Parsed, refuse};
use tpm_wire::pcr::{TpmlPcrSelection, TpmsPcrSelect, TpmsPcrSelection};
use tpm_wire::rc::Rc;

/// PCR in a bank.
pub(crate) const PCR_COUNT: u32 = 24;
/// The PCR of the D-RTM event sequence.
pub(crate) const DRTM_PCR: u32 = 17;
/// The PCR of the H-CRTM event sequence.
pub(crate) const HCRTM_PCR: u32 = 0;

/// The PCR of one hash algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bank {
    /// The hash.
    pub(crate) hash: TpmiAlgHash,
    /// The PCR that exist.
    pub(crate) allocated: TpmsPcrSelect,
    values: Vec<Small<64>>,
}

/// What may be done with a PCR, by locality (PC Client platform profile, table of PCR attributes).
#[derive(Clone, Copy, Debug)]
pub(crate) struct PcrAttributes {
    /// Survives TPM Resume.
    pub(crate) saved: bool,
    /// Localities, as bits, that may reset it.
    pub(crate) reset_localities: u8,
    /// Localities, as bits, that may extend it.
    pub(crate) extend_localities: u8,
    /// Its changes count in the update counter (not in `TPM_PT_PCR_NO_INCREMENT`).
    pub(crate) counted: bool,
}

impl PcrAttributes {
    /// Whether a command from the locality may extend the PCR.
    pub(crate) const fn may_extend(self, locality: u8) -> bool {
        has_locality(self.extend_localities, locality)
    }

    /// Whether a command from the locality may reset the PCR: at locality 4 only a hash sequence may (Part 3, 22.8).
    pub(crate) const fn may_reset(self, locality: u8) -> bool {
        locality != 4 && has_locality(self.reset_localities, locality)
    }
}

const fn has_locality(localities: u8, locality: u8) -> bool {
    locality <= 4 && localities & (1 << locality) != 0
}

/// The attributes of a PCR.
pub(crate) const fn attributes(pcr: u32) -> PcrAttributes {
    let (saved, reset_localities, extend_localities) = match pcr {
        0..=15 => (true, 0x00, 0x1F),
        16 | 23 => (false, 0x0F, 0x1F),
        17 | 18 => (false, 0x10, 0x1C),
        19 => (false, 0x10, 0x0C),
        20 => (false, 0x14, 0x0E),
        21 | 22 => (false, 0x14, 0x04),
        _ => (false, 0, 0),
    };
    PcrAttributes {
        saved,
        reset_localities,
        extend_localities,
        counted: !matches!(pcr, 16 | 21..=23),
    }
}

/// All banks, and what belongs to PCR besides their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pcrs {
    /// The banks, in the order in which they are reported.
    pub(crate) banks: Vec<Bank>,
    /// The allocation that takes effect at the next TPM Reset; it blocks `TPM2_Shutdown(STATE)`.
    pub(crate) pending: Option<TpmlPcrSelection>,
    /// Grows with each change of a PCR that counts.
    pub(crate) update_counter: u32,
    /// Authorization value of the PCR that have one (20 to 22).
    pub(crate) auth: Tpm2bAuth,
    /// Policy of the PCR that have one (20 to 22).
    pub(crate) policy: EntityPolicy,
}

/// A PCR as it was, in every bank.
pub(crate) struct PcrBefore {
    pcr: u32,
    /// In the order of the banks.
    values: ArrayVec<Small<64>, { TpmiAlgHash::ALL.len() }>,
    update_counter: u32,
}

impl Pcrs {
    /// Banks of a new TPM: those of its profile with all PCR, and the other hashes, which can be allocated.
    pub(crate) fn manufacture(profile: &Profile) -> Self {
        let implemented = |hash: &TpmiAlgHash| profile.limits.has_algorithm(hash.id());
        let is_active = |hash: &TpmiAlgHash| profile.pcr_banks.contains(hash);
        let active = profile.pcr_banks.iter().copied();
        let others = TpmiAlgHash::ALL.iter().copied();
        let banks = active
            .chain(others.filter(|hash| !is_active(hash)))
            .filter(implemented)
            .map(|hash| Bank {
                hash,
                allocated: TpmsPcrSelect([if is_active(&hash) { 0xFF } else { 0 }; 3]),
                values: Vec::new(),
            })
            .collect();
        let mut pcrs = Self {
            banks,
            pending: None,
            update_counter: 0,
            auth: Tpm2bAuth::EMPTY,
            policy: EntityPolicy::default(),
        };
        for bank in &mut pcrs.banks {
            bank.values = alloc::vec![Small::zeros(bank.hash.digest_size()); 24];
        }
        pcrs
    }

    /// The value of a PCR that exists.
    pub(crate) fn value(&self, bank: TpmiAlgHash, pcr: u32) -> Option<&[u8]> {
        let bank = self.banks.iter().find(|candidate| candidate.hash == bank)?;
        if !bank.allocated.contains(pcr) {
            return None;
        }
        bank.values
            .get(usize::try_from(pcr).ok()?)
            .map(|value| &**value)
    }

    fn value_mut(&mut self, bank: TpmiAlgHash, pcr: u32) -> Option<&mut Small<64>> {
        let bank = self
            .banks
            .iter_mut()
            .find(|candidate| candidate.hash == bank)?;
        if !bank.allocated.contains(pcr) {
            return None;
        }
        bank.values.get_mut(usize::try_from(pcr).ok()?)
    }

    /// Sets a PCR of a bank. False if there is no such bank, or the value has not its size; a PCR that is not allocated stays.
    pub(crate) fn set_value(&mut self, bank: TpmiAlgHash, pcr: u32, value: &[u8]) -> bool {
        if value.len() != bank.digest_size() || !self.banks.iter().any(|known| known.hash == bank) {
            return false;
        }
        if let Some(place) = self.value_mut(bank, pcr) {
            *place = small(value);
        }
        true
    }

    /// Extends a PCR of one bank; a bank without it stays as it is (Part 1, 17.2).
    pub(crate) fn extend(&mut self, bank: TpmiAlgHash, pcr: u32, digest: &[u8]) {
        if let Some(value) = self.value_mut(bank, pcr) {
            *value = small(&hash(hash_algorithm(bank), &[value, digest]));
            self.note_change(pcr);
        }
    }

    /// What a PCR is now, to go [back](Self::take_back) to.
    pub(crate) fn before(&self, pcr: u32) -> PcrBefore {
        let index = usize::try_from(pcr).unwrap_or(usize::MAX);
        let values = self.banks.iter().map(|bank| bank.values.get(index));
        PcrBefore {
            pcr,
            values: values.map_while(|value| value.cloned()).collect(),
            update_counter: self.update_counter,
        }
    }

    /// Undoes the changes of one PCR since [`before`](Self::before).
    pub(crate) fn take_back(&mut self, before: &PcrBefore) {
        let index = usize::try_from(before.pcr).unwrap_or(usize::MAX);
        for (bank, value) in self.banks.iter_mut().zip(&before.values) {
            if let Some(place) = bank.values.get_mut(index) {
                *place = value.clone();
            }
        }
        self.update_counter = before.update_counter;
    }

    /// Counts a change of a PCR towards the update counter, for the PCR that do.
    pub(crate) fn note_change(&mut self, pcr: u32) {
        if attributes(pcr).counted {
            self.update_counter = self.update_counter.wrapping_add(1);
        }
    }

    /// Sets a PCR of every bank to zeros or ones (`TPM2_PCR_Reset`, D-RTM).
    pub(crate) fn fill(&mut self, pcr: u32, byte: u8) {
        for bank in &mut self.banks {
            let Ok(index) = usize::try_from(pcr) else {
                continue;
            };
            if let Some(value) = bank.values.get_mut(index) {
                value.as_mut_slice().fill(byte);
            }
        }
    }

    /// The selection without PCR that do not exist, and the digest of the rest (Part 1, 17.5).
    pub(crate) fn digest(
        &self,
        hash_alg: TpmiAlgHash,
        selection: &TpmlPcrSelection,
    ) -> (TpmlPcrSelection, Small<64>) {
        let selection = self.existing(selection);
        let mut hasher = tpm_crypto::hash::Hasher::new(hash_algorithm(hash_alg));
        for bank in &selection {
            for pcr in bank.pcr_select.iter() {
                if let Some(value) = self.value(bank.hash, pcr) {
                    hasher.update(value);
                }
            }
        }
        (selection, small(&hasher.finish()))
    }

    /// The selection without PCR that do not exist.
    pub(crate) fn existing(&self, selection: &TpmlPcrSelection) -> TpmlPcrSelection {
        selection
            .iter()
            .map(|wanted| {
                let mut pcr_select = TpmsPcrSelect::default();
                for pcr in wanted
                    .pcr_select
                    .iter()
                    .filter(|pcr| self.value(wanted.hash, *pcr).is_some())
                {
                    pcr_select.insert(pcr);
                }
                TpmsPcrSelection {
                    hash: wanted.hash,
                    pcr_select,
                }
            })
            .collect()
    }

    /// Whether the PCR has an authorization value (Part 1, 17.7).
    pub(crate) const fn has_auth(pcr: u32) -> bool {
        matches!(pcr, 20..=22)
    }

    /// Whether the PCR has a policy.
    pub(crate) const fn has_policy(pcr: u32) -> bool {
        matches!(pcr, 20..=22)
    }

    /// `TPM2_Startup` (Part 3, 9.3).
    ///
    /// `keep` on TPM Resume: the values of the PCR that are saved stay. `locality` is that of the startup, 4 after an
    /// H-CRTM event; it is the last byte of PCR 0.
    pub(crate) fn startup(&mut self, keep: bool, reset: bool, locality: u8, hcrtm: bool) {
        if reset {
            self.allocate_pending();
            self.update_counter = 0;
        }
        if !keep {
            self.auth = Tpm2bAuth::EMPTY;
        }
        for pcr in (0..PCR_COUNT).filter(|pcr| !(keep && attributes(*pcr).saved)) {
            self.note_change(pcr);
        }
        for bank in &mut self.banks {
            for (pcr, value) in (0u32..).zip(&mut bank.values) {
                let attributes = attributes(pcr);
                if keep && attributes.saved || hcrtm && pcr == HCRTM_PCR {
                    continue;
                }
                // PCR that only locality 4 may reset start as ones, the others as zeros (PC Client profile).
                let byte = if attributes.reset_localities & 0x10 != 0 {
                    0xFF
                } else {
                    0x00
                };
                value.as_mut_slice().fill(byte);
                if pcr == HCRTM_PCR
                    && let Some(last) = value.as_mut_slice().last_mut()
                {
                    *last = locality;
                }
            }
        }
    }

    fn allocate_pending(&mut self) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        for bank in &mut self.banks {
            if let Some(wanted) = pending.iter().find(|wanted| wanted.hash == bank.hash) {
                bank.allocated = wanted.pcr_select;
            }
        }
    }

    /// The hashes of the banks that have any PCR.
    pub(crate) fn active(&self) -> impl Iterator<Item = TpmiAlgHash> + '_ {
        self.banks
            .iter()
            .filter(|bank| !bank.allocated.is_empty())
            .map(|bank| bank.hash)
    }

    /// The banks as they are told to whoever asks: those with PCR, and others while the list stays as long as firmware reads it.
    ///
    /// EDK2 takes a list of more banks than it knows hashes for a fault of the TPM, and measures into SHA-1 only.
    pub(crate) fn reported(&self) -> impl Iterator<Item = TpmsPcrSelection> + '_ {
        const MOST_FOR_FIRMWARE: usize = 5;
        let mut room = MOST_FOR_FIRMWARE.saturating_sub(self.active().count());
        self.banks
            .iter()
            .filter(move |bank| {
                if !bank.allocated.is_empty() {
                    return true;
                }
                let fits = room > 0;
                room = room.saturating_sub(1);
                fits
            })
            .map(|bank| TpmsPcrSelection {
                hash: bank.hash,
                pcr_select: bank.allocated,
            })
    }

    /// All banks as they are, but for those that `wanted` names; of several selections of a bank the last counts.
    pub(crate) fn allocation(&self, wanted: &TpmlPcrSelection) -> TpmlPcrSelection {
        self.banks
            .iter()
            .map(|bank| {
                let named = wanted.iter().rev().find(|named| named.hash == bank.hash);
                TpmsPcrSelection {
                    hash: bank.hash,
                    pcr_select: named.map_or(bank.allocated, |named| named.pcr_select),
                }
            })
            .collect()
    }

    /// Bytes that all PCR of all banks take.
    pub(crate) fn memory(&self) -> u32 {
        let all = self.banks.iter().map(|bank| TpmsPcrSelection {
            hash: bank.hash,
            pcr_select: TpmsPcrSelect([0xFF; 3]),
        });
        size(&all.collect())
    }
}

/// Bytes that the PCR of a selection take.
pub(crate) fn size(selection: &TpmlPcrSelection) -> u32 {
    let bytes = selection
        .iter()
        .map(|bank| bank.pcr_select.iter().count() * bank.hash.digest_size())
        .sum::<usize>();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Section for Pcrs {
    fn write(&self, group: Group, out: &mut Vec<u8>) {
        match group {
            Group::Permanent => {
                for bank in &self.banks {
                    bank.hash.marshal(out);
                    bank.allocated.marshal(out);
                }
                0u16.marshal(out);
                self.pending.clone().unwrap_or_default().marshal(out);
                self.policy.marshal(out);
            }
            Group::Reset => self.update_counter.marshal(out),
            Group::Clear => {
                self.auth.marshal(out);
                self.write_values(out, |pcr| attributes(pcr).saved);
            }
            Group::Volatile => self.write_values(out, |pcr| !attributes(pcr).saved),
        }
    }

    fn read<'a>(&mut self, group: Group, input: Input<'a>) -> Parsed<'a, ()> {
        let mut rest = input;
        match group {
            Group::Permanent => {
                let mut banks = Vec::new();
                loop {
                    let id;
                    (rest, id) = u16::parse(rest)?;
                    if id == 0 {
                        break;
                    }
                    let Some(hash) = TpmiAlgHash::from_id(tpm_wire::constants::TpmAlgId(id)) else {
                        return refuse(Rc::HASH);
                    };
                    let allocated;
                    (rest, allocated) = TpmsPcrSelect::parse(rest)?;
                    if banks.iter().any(|bank: &Bank| bank.hash == hash) {
                        return refuse(Rc::HASH);
                    }
                    let values = match self.banks.iter().find(|bank| bank.hash == hash) {
                        Some(bank) => bank.values.clone(),
                        None => alloc::vec![Small::zeros(hash.digest_size()); 24],
                    };
                    banks.push(Bank {
                        hash,
                        allocated,
                        values,
                    });
                }
                self.banks = banks;
                let pending;
                (rest, pending) = TpmlPcrSelection::parse(rest)?;
                self.pending = (!pending.is_empty()).then_some(pending);
                (rest, self.policy) = EntityPolicy::parse(rest)?;
            }
            Group::Reset => (rest, self.update_counter) = u32::parse(rest)?,
            Group::Clear => {
                (rest, self.auth) = Tpm2bAuth::parse(rest)?;
                rest = self.read_values(rest, |pcr| attributes(pcr).saved)?.0;
            }
            Group::Volatile => rest = self.read_values(rest, |pcr| !attributes(pcr).saved)?.0,
        }
        Ok((rest, ()))
    }
}

impl Pcrs {
    fn write_values(&self, out: &mut Vec<u8>, wanted: impl Fn(u32) -> bool) {
        for bank in &self.banks {
            for (pcr, value) in (0u32..).zip(&bank.values) {
                if wanted(pcr) && bank.allocated.contains(pcr) {
                    value.marshal(out);
                }
            }
        }
    }

    fn read_values<'a>(
        &mut self,
        input: Input<'a>,
        wanted: impl Fn(u32) -> bool,
    ) -> Parsed<'a, ()> {
        let mut rest = input;
        for bank in &mut self.banks {
            for (pcr, value) in (0u32..).zip(&mut bank.values) {
                if wanted(pcr) && bank.allocated.contains(pcr) {
                    (rest, *value) = Small::parse(rest)?;
                    if value.len() != bank.hash.digest_size() {
                        return refuse(Rc::SIZE);
                    }
                }
            }
        }
        Ok((rest, ()))
    }
}

impl Pcrs {
    /// The H-CRTM begins with the locality 4 in the last byte of the PCR (Part 1, 34.3).
    pub(crate) fn start_hcrtm(&mut self, pcr: u32) {
        for bank in &mut self.banks {
            let value = usize::try_from(pcr)
                .ok()
                .and_then(|index| bank.values.get_mut(index));
            if let Some(last) = value.and_then(|value| value.as_mut_slice().last_mut()) {
                *last = 4;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{PCR_COUNT, Pcrs, attributes};
    use crate::algorithms::small;
    use crate::testing::{self, TestTpm};
    use tpm_wire::algorithm::{TpmiAlgHash, TpmtHa};
    use tpm_wire::commands::PcrExtend;
    use tpm_wire::constants::TpmSu;
    use tpm_wire::handles::{TpmHandle, TpmiDhPcr};
    use tpm_wire::pcr::TpmlDigestValues;

    fn with(condition: impl Fn(u32) -> bool) -> alloc::vec::Vec<u32> {
        (0..PCR_COUNT).filter(|pcr| condition(*pcr)).collect()
    }

    #[test]
    fn attributes_are_those_that_the_pc_client_profile_and_other_tpms_have() {
        let upto = |last: u32, more: &[u32]| [&with(|pcr| pcr <= last), more].concat();
        assert_eq!(with(|pcr| attributes(pcr).saved), upto(15, &[]));
        let extended_at = |locality| with(|pcr| attributes(pcr).may_extend(locality));
        assert_eq!(extended_at(0), upto(16, &[23]));
        assert_eq!(extended_at(1), upto(16, &[20, 23]));
        assert_eq!(extended_at(2), upto(23, &[]));
        assert_eq!(extended_at(3), upto(20, &[23]));
        assert_eq!(extended_at(4), upto(18, &[23]));
        assert_eq!(extended_at(5), []);
        assert_eq!(extended_at(32), []);
        let reset_at = |locality| with(|pcr| attributes(pcr).may_reset(locality));
        assert_eq!(reset_at(0), [16, 23]);
        assert_eq!(reset_at(1), [16, 23]);
        assert_eq!(reset_at(2), [16, 20, 21, 22, 23]);
        assert_eq!(reset_at(3), [16, 23]);
        assert_eq!(reset_at(4), []);
        let by_hash_sequence = with(|pcr| attributes(pcr).reset_localities & 0x10 != 0);
        assert_eq!(by_hash_sequence, [17, 18, 19, 20, 21, 22]);
        assert_eq!(with(|pcr| !attributes(pcr).counted), [16, 21, 22, 23]);
        assert_eq!(with(Pcrs::has_auth), [20, 21, 22]);
        assert_eq!(with(Pcrs::has_policy), [20, 21, 22]);
    }

    fn extend(tpm: &mut TestTpm, pcr: u32) {
        let mut digests = TpmlDigestValues::new();
        digests.push(TpmtHa {
            hash_alg: TpmiAlgHash::Sha256,
            digest: small(&[1; 32]),
        });
        tpm.run(PcrExtend {
            pcr_handle: Some(TpmiDhPcr(TpmHandle(pcr))),
            digests,
        })
        .unwrap();
    }

    #[test]
    fn pcr_start_as_zeros_and_those_of_the_dynamic_launch_as_ones() {
        let tpm = testing::started();
        for hash in [TpmiAlgHash::Sha1, TpmiAlgHash::Sha512] {
            for pcr in 0..PCR_COUNT {
                let expected = if (17..=22).contains(&pcr) { 0xFF } else { 0 };
                let value = tpm.pcrs.value(hash, pcr).unwrap();
                assert!(value.iter().all(|byte| *byte == expected), "{pcr}");
            }
        }
        assert_eq!(tpm.pcrs.value(TpmiAlgHash::Sha3_256, 0), None);
    }

    #[test]
    fn saved_pcr_survive_a_resume_and_nothing_survives_a_restart() {
        let mut tpm = testing::started();
        extend(&mut tpm, 0);
        extend(&mut tpm, 16);
        let value = |tpm: &TestTpm, pcr| tpm.pcrs.value(TpmiAlgHash::Sha256, pcr).unwrap().to_vec();
        let (measured, counter) = (value(&tpm, 0), tpm.pcrs.update_counter);
        assert_eq!(counter, 21);
        tpm.restart(Some(TpmSu::State), TpmSu::State);
        assert_eq!(value(&tpm, 0), measured);
        assert_eq!(value(&tpm, 16), [0; 32]);
        // PCR 17 to 20 changed.
        assert_eq!(tpm.pcrs.update_counter, counter + 4);
        tpm.restart(Some(TpmSu::State), TpmSu::Clear);
        assert_eq!(value(&tpm, 0), [0; 32]);
        assert_eq!(tpm.pcrs.update_counter, counter + 24);
        tpm.restart(Some(TpmSu::Clear), TpmSu::Clear);
        assert_eq!(tpm.pcrs.update_counter, 20);
    }

    #[test]
    fn a_change_after_a_shutdown_voids_it() {
        let mut tpm = testing::started();
        tpm.run(tpm_wire::commands::Shutdown {
            shutdown_type: TpmSu::State,
        })
        .unwrap();
        let _ = tpm.permanent_state();
        extend(&mut tpm, 16);
        assert!(tpm.power.is_orderly() && !tpm.must_persist());
        extend(&mut tpm, 0);
        assert!(!tpm.power.is_orderly() && tpm.must_persist());
    }
}
