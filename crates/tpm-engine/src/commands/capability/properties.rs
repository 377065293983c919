//! The properties of the TPM (Part 2, 6.13): fixed ones, from the profile, and those that change.

use super::page;
use crate::commit::OPEN_COMMITS;
use crate::hierarchy::{CONTEXT_HASH, FIRMWARE_SVN};
use crate::nv::MAX_ORDERLY_COUNT;
use crate::session::CONTEXT_GAP_MAX;
use crate::state::Tpm;
use tpm_wire::algorithm::{TpmiAlgHash, TpmiEccCurve};
use tpm_wire::attributes::{TpmaModes, TpmaPermanent, TpmaStartupClear};
use tpm_wire::buffers::{MAX_BUFFER, Tpm2bAuth};
use tpm_wire::capability::{TpmlTaggedTpmProperty, TpmsTaggedProperty};
use tpm_wire::constants::{TpmAlgId, TpmPt};
use tpm_wire::nv::TpmNt;
use tpm_wire::pcr::PCR_SELECT_SIZE;

/// The library's family as text, with its terminating zero.
const FAMILY: u32 = 0x322E_3000;
/// Bits of the key that encrypts saved contexts.
pub(crate) const CONTEXT_KEY_BITS: u16 = 256;
/// The largest list of a capability answer, with selector and count.
const MAX_CAP_BUFFER: u32 = 1024;
/// Properties in a group; an answer does not go beyond its group.
const GROUP: u32 = 0x100;

impl Tpm {
    /// Up to `count` properties of one group from `first` on, and whether the group has more.
    pub(super) fn properties(&self, first: TpmPt, count: u32) -> (bool, TpmlTaggedTpmProperty) {
        if self.power.failure.is_some() {
            return self.properties_in_failure_mode(first, count);
        }
        let first = first.max(TpmPt::FAMILY_INDICATOR);
        let properties = TpmPt::NAMED
            .iter()
            .filter(|property| **property >= first && property.0 / GROUP == first.0 / GROUP);
        let known = properties.filter_map(|property| self.tagged_property(*property));
        page(known, count)
    }

    /// In failure mode the manufacturer and the firmware are told, one property at a time (Part 1, 12.4).
    fn properties_in_failure_mode(
        &self,
        first: TpmPt,
        count: u32,
    ) -> (bool, TpmlTaggedTpmProperty) {
        let first = first.max(TpmPt::MANUFACTURER);
        let told = (first <= TpmPt::FIRMWARE_VERSION_2)
            .then(|| self.tagged_property(first))
            .flatten();
        let more = first < TpmPt::FIRMWARE_VERSION_2;
        (more, page(told.into_iter(), count.min(1)).1)
    }

    fn tagged_property(&self, property: TpmPt) -> Option<TpmsTaggedProperty> {
        let value = if property < TpmPt::PERMANENT {
            self.fixed_property(property)
        } else {
            self.variable_property(property)
        };
        value.map(|value| TpmsTaggedProperty { property, value })
    }

    fn fixed_property(&self, property: TpmPt) -> Option<u32> {
        let profile = &self.profile;
        let [day, year] = profile.date;
        let [family, level, revision, platform_day, platform_year] = profile.platform;
        let [vendor_1, vendor_2, vendor_3, vendor_4] =
            profile.vendor_strings.map(u32::from_be_bytes);
        Some(match property {
            TpmPt::FAMILY_INDICATOR => FAMILY,
            TpmPt::LEVEL => 0,
            TpmPt::REVISION => profile.revision,
            TpmPt::DAY_OF_YEAR => day,
            TpmPt::YEAR => year,
            TpmPt::MANUFACTURER => u32::from_be_bytes(profile.manufacturer),
            TpmPt::VENDOR_STRING_1 => vendor_1,
            TpmPt::VENDOR_STRING_2 => vendor_2,
            TpmPt::VENDOR_STRING_3 => vendor_3,
            TpmPt::VENDOR_STRING_4 => vendor_4,
            TpmPt::VENDOR_TPM_TYPE => profile.vendor_type,
            TpmPt::FIRMWARE_VERSION_1 => number32(profile.firmware_version >> 32),
            TpmPt::FIRMWARE_VERSION_2 => number32(profile.firmware_version & 0xFFFF_FFFF),
            TpmPt::INPUT_BUFFER => number(MAX_BUFFER),
            TpmPt::HR_TRANSIENT_MIN => profile.limits.transient_objects,
            TpmPt::HR_PERSISTENT_MIN => profile.persistent_min,
            TpmPt::HR_LOADED_MIN => profile.loaded_sessions,
            TpmPt::ACTIVE_SESSIONS_MAX => profile.limits.active_sessions,
            TpmPt::PCR_COUNT => profile.limits.pcr_count,
            TpmPt::PCR_SELECT_MIN => number(PCR_SELECT_SIZE),
            TpmPt::CONTEXT_GAP_MAX => number32(CONTEXT_GAP_MAX),
            // There are as many counters as NV memory holds.
            TpmPt::NV_COUNTERS_MAX => 0,
            TpmPt::NV_INDEX_MAX => u32::from(profile.max_nv_index),
            TpmPt::MEMORY => profile.memory,
            TpmPt::CLOCK_UPDATE => profile.clock_update,
            TpmPt::CONTEXT_HASH => u32::from(CONTEXT_HASH.id().0),
            TpmPt::CONTEXT_SYM => u32::from(TpmAlgId::AES.0),
            TpmPt::CONTEXT_SYM_SIZE => u32::from(CONTEXT_KEY_BITS),
            TpmPt::ORDERLY_COUNT => MAX_ORDERLY_COUNT,
            TpmPt::MAX_COMMAND_SIZE | TpmPt::MAX_RESPONSE_SIZE => number(self.max_command_size()),
            TpmPt::MAX_DIGEST => {
                let hashes = TpmiAlgHash::ALL.iter();
                let hashes = hashes.filter(|hash| profile.limits.has_algorithm(hash.id()));
                number(hashes.map(|hash| hash.digest_size()).max().unwrap_or(0))
            }
            TpmPt::MAX_OBJECT_CONTEXT => profile.max_object_context,
            TpmPt::MAX_SESSION_CONTEXT => profile.max_session_context,
            TpmPt::PS_FAMILY_INDICATOR => family,
            TpmPt::PS_LEVEL => level,
            TpmPt::PS_REVISION => revision,
            TpmPt::PS_DAY_OF_YEAR => platform_day,
            TpmPt::PS_YEAR => platform_year,
            TpmPt::SPLIT_MAX => u32::from(OPEN_COMMITS),
            TpmPt::TOTAL_COMMANDS | TpmPt::LIBRARY_COMMANDS => number(profile.commands().count()),
            TpmPt::VENDOR_COMMANDS => 0,
            TpmPt::NV_BUFFER_MAX => u32::from(profile.max_nv_buffer),
            // The cryptography was not validated.
            TpmPt::MODES => TpmaModes::NONE.0,
            TpmPt::MAX_CAP_BUFFER => MAX_CAP_BUFFER,
            TpmPt::FIRMWARE_SVN | TpmPt::FIRMWARE_MAX_SVN if profile.has_limited_hierarchies() => {
                u32::from(FIRMWARE_SVN)
            }
            _ => return None,
        })
    }

    fn variable_property(&self, property: TpmPt) -> Option<u32> {
        let protection = &self.dictionary_attack;
        Some(match property {
            TpmPt::PERMANENT => self.permanent_flags().0,
            TpmPt::STARTUP_CLEAR => self.startup_clear_flags().0,
            TpmPt::HR_NV_INDEX => number(self.nv.indices.len()),
            TpmPt::HR_LOADED => number(self.sessions.loaded().count()),
            TpmPt::HR_LOADED_AVAIL => number(self.sessions.loadable()),
            TpmPt::HR_ACTIVE => number(self.sessions.active()),
            TpmPt::HR_ACTIVE_AVAIL => number(self.sessions.free_handles()),
            TpmPt::HR_TRANSIENT_AVAIL => number(self.objects.free()),
            TpmPt::HR_PERSISTENT => number(self.objects.persistent.len()),
            TpmPt::HR_PERSISTENT_AVAIL => number(self.persistent_room()),
            TpmPt::NV_COUNTERS => {
                let indices = self.nv.indices.values();
                number(
                    indices
                        .filter(|index| index.nv_type() == TpmNt::Counter)
                        .count(),
                )
            }
            TpmPt::NV_COUNTERS_AVAIL => number(self.counters_available()),
            TpmPt::ALGORITHM_SET => self.management.algorithm_set,
            TpmPt::LOADED_CURVES => {
                let curves = TpmiEccCurve::ALL.iter();
                number(
                    curves
                        .filter(|curve| self.profile.limits.has_curve(curve.id().0))
                        .count(),
                )
            }
            TpmPt::LOCKOUT_COUNTER => protection.failed_tries,
            TpmPt::MAX_AUTH_FAIL => protection.max_tries,
            TpmPt::LOCKOUT_INTERVAL => protection.recovery_time,
            TpmPt::LOCKOUT_RECOVERY => protection.lockout_recovery,
            TpmPt::NV_WRITE_RECOVERY => 0,
            TpmPt::AUDIT_COUNTER_0 => number32(self.command_audit.counter >> 32),
            TpmPt::AUDIT_COUNTER_1 => number32(self.command_audit.counter & 0xFFFF_FFFF),
            _ => return None,
        })
    }

    fn permanent_flags(&self) -> TpmaPermanent {
        let hierarchies = &self.hierarchies;
        let is_set = |auth: &Tpm2bAuth| !auth.is_empty();
        TpmaPermanent::NONE
            .set(
                TpmaPermanent::OWNER_AUTH_SET,
                is_set(&hierarchies.owner.auth),
            )
            .set(
                TpmaPermanent::ENDORSEMENT_AUTH_SET,
                is_set(&hierarchies.endorsement.auth),
            )
            .set(
                TpmaPermanent::LOCKOUT_AUTH_SET,
                is_set(&hierarchies.lockout.auth),
            )
            .set(TpmaPermanent::DISABLE_CLEAR, hierarchies.disable_clear)
            .set(
                TpmaPermanent::IN_LOCKOUT,
                self.dictionary_attack.in_lockout(),
            )
            .set(
                TpmaPermanent::TPM_GENERATED_EPS,
                hierarchies.tpm_generated_eps,
            )
    }

    fn startup_clear_flags(&self) -> TpmaStartupClear {
        let hierarchies = &self.hierarchies;
        TpmaStartupClear::NONE
            .set(TpmaStartupClear::PH_ENABLE, hierarchies.platform_enabled)
            .set(TpmaStartupClear::SH_ENABLE, hierarchies.owner_enabled)
            .set(TpmaStartupClear::EH_ENABLE, hierarchies.endorsement_enabled)
            .set(
                TpmaStartupClear::PH_ENABLE_NV,
                hierarchies.platform_nv_enabled,
            )
            .set(
                TpmaStartupClear::READ_ONLY,
                hierarchies.read_only && self.profile.has_read_only_mode(),
            )
            .set(TpmaStartupClear::ORDERLY, self.power.was_orderly)
    }

    /// Objects that can still be made persistent.
    pub(crate) fn persistent_room(&self) -> usize {
        if !self.platform.storage_has_room() {
            return 0;
        }
        let most = usize::try_from(self.profile.persistent_objects).unwrap_or(usize::MAX);
        most.saturating_sub(self.objects.persistent.len())
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn number32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
