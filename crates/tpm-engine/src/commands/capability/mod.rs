//! Capabilities (Part 3, 30): what the TPM is, has and holds.

mod algorithms;
mod get_capability;
#[cfg(test)]
mod narrow_tests;
mod properties;
mod set_capability;
mod test_parms;
#[cfg(test)]
mod tests;

pub(crate) use algorithms::is_listed;
pub(crate) use properties::CONTEXT_KEY_BITS;

use crate::pcr::{PCR_COUNT, Pcrs, attributes};
use crate::state::Tpm;
use arrayvec::ArrayVec;
use tpm_wire::algorithm::{TpmiEccCurve, TpmtHa};
use tpm_wire::capability::{TpmsCapabilityData, TpmsTaggedPcrSelect, TpmsTaggedPolicy};
use tpm_wire::constants::{TpmCap, TpmPt, TpmPtPcr};
use tpm_wire::handles::{TpmHandle, TpmHt};
use tpm_wire::pcr::TpmsPcrSelect;
use tpm_wire::rc::Rc;
use tpm_wire::table::flag;

/// What of a capability that was asked for is not known; which parameter that is, the command knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// The capability.
    Capability(Rc),
    /// The property.
    Property(Rc),
}

/// Takes up to `count` items, as many as the list holds, and tells whether there would be more.
fn page<T, const MAX: usize>(
    mut items: impl Iterator<Item = T>,
    count: u32,
) -> (bool, ArrayVec<T, MAX>) {
    let count = usize::try_from(count).unwrap_or(MAX).min(MAX);
    let list = items.by_ref().take(count).collect();
    (items.next().is_some(), list)
}

impl Tpm {
    /// Up to `count` entries of a capability from `property` on, and whether there are more (Part 3, 30.2).
    ///
    /// # Errors
    /// What is not known, with the response code.
    pub(crate) fn capability(
        &self,
        capability: TpmCap,
        property: u32,
        count: u32,
    ) -> Result<(bool, TpmsCapabilityData), Unknown> {
        use TpmsCapabilityData as Data;
        /// Makes a page the arm of the answer.
        fn arm<T>((more, list): (bool, T), arm: fn(T) -> Data) -> (bool, Data) {
            (more, arm(list))
        }
        Ok(match capability {
            TpmCap::ALGS => {
                let listed = algorithms::implemented(&self.profile.limits);
                let listed = listed.filter(|entry| u32::from(entry.alg.0) >= property);
                arm(page(listed, count), Data::Algs)
            }
            TpmCap::HANDLES => self.handles(TpmHandle(property), count)?,
            TpmCap::COMMANDS => {
                let commands = self.profile.commands();
                let commands = commands.filter(|command| command.code >= property);
                arm(
                    page(commands.map(|command| command.attributes()), count),
                    Data::Commands,
                )
            }
            TpmCap::PP_COMMANDS => {
                let commands = self.profile.commands().filter(|command| {
                    command.flags.contains(flag::presence_required)
                        || self.management.presence_commands.contains(&command.code)
                });
                let codes = commands.map(|command| command.code);
                arm(
                    page(codes.filter(|code| *code >= property), count),
                    Data::PpCommands,
                )
            }
            TpmCap::AUDIT_COMMANDS => {
                let codes = self.command_audit.commands.iter().copied();
                arm(
                    page(codes.filter(|code| *code >= property), count),
                    Data::AuditCommands,
                )
            }
            TpmCap::PCRS if property != 0 => return Err(Unknown::Property(Rc::VALUE)),
            TpmCap::PCRS => {
                // The banks come all at once, or not at all.
                let banks = self.pcrs.reported();
                let count = if count == 0 { 0 } else { u32::MAX };
                arm(page(banks, count), Data::Pcrs)
            }
            TpmCap::TPM_PROPERTIES => {
                arm(self.properties(TpmPt(property), count), Data::TpmProperties)
            }
            TpmCap::PCR_PROPERTIES => {
                let tags = TpmPtPcr::NAMED.iter().filter(|tag| tag.0 >= property);
                arm(
                    page(tags.map(|tag| pcr_property(*tag)), count),
                    Data::PcrProperties,
                )
            }
            TpmCap::ECC_CURVES => {
                let curves = TpmiEccCurve::ALL.iter().map(|curve| curve.id());
                let curves = curves.filter(|curve| {
                    u32::from(curve.0) >= property && self.profile.limits.has_curve(curve.0)
                });
                arm(page(curves, count), Data::EccCurves)
            }
            TpmCap::AUTH_POLICIES => {
                let first = TpmHandle(property);
                if first.kind() != Some(TpmHt::Permanent) {
                    return Err(Unknown::Property(Rc::VALUE));
                }
                let handles = self.permanent_handles().filter(|handle| *handle >= first);
                let policies = handles.filter_map(|handle| self.tagged_policy(handle));
                arm(page(policies, count), Data::AuthPolicies)
            }
            TpmCap::ACT => {
                if !(TpmHandle::ACT_0.0..TpmHandle::ACT_0.0 + 16).contains(&property) {
                    return Err(Unknown::Property(Rc::VALUE));
                }
                let timers = self.management.act_data();
                let timers = timers.filter(|timer| timer.handle.0 >= property);
                arm(page(timers, count), Data::Act)
            }
            // No secure channel reaches this TPM, and it has no properties of its vendor.
            _ => return Err(Unknown::Capability(Rc::VALUE)),
        })
    }

    fn handles(&self, first: TpmHandle, count: u32) -> Result<(bool, TpmsCapabilityData), Unknown> {
        let from_first = |handle: &TpmHandle| *handle >= first;
        // Sessions are numbered alike, whatever kind they are of.
        let from_index = |handle: &TpmHandle| handle.index() >= first.index();
        let (more, list) = match first.kind() {
            Some(TpmHt::Transient) => page(self.objects.transient().filter(from_first), count),
            Some(TpmHt::Persistent) => {
                let handles = self.objects.persistent.keys().copied();
                page(handles.filter(from_first), count)
            }
            Some(TpmHt::NvIndex) => {
                let handles = self.nv.indices.keys().copied();
                let handles = handles.filter(|handle| handle.kind() == first.kind());
                page(handles.filter(from_first), count)
            }
            // Asked for by the range of HMAC sessions: those that are loaded; by that of policy sessions: those that are saved.
            Some(TpmHt::HmacSession) => page(self.sessions.loaded().filter(from_index), count),
            Some(TpmHt::PolicySession) => page(self.sessions.saved().filter(from_index), count),
            Some(TpmHt::Pcr) => {
                let handles = (0..PCR_COUNT).map(TpmHandle);
                page(handles.filter(from_first), count)
            }
            Some(TpmHt::Permanent) => page(self.permanent_handles().filter(from_first), count),
            _ => return Err(Unknown::Property(Rc::HANDLE)),
        };
        Ok((more, TpmsCapabilityData::Handles(list)))
    }

    /// The permanent handles of this TPM, ascending; of the security versions only the first of each hierarchy.
    fn permanent_handles(&self) -> impl Iterator<Item = TpmHandle> {
        const BASE: [TpmHandle; 7] = [
            TpmHandle::OWNER,
            TpmHandle::NULL,
            TpmHandle::PASSWORD,
            TpmHandle::LOCKOUT,
            TpmHandle::ENDORSEMENT,
            TpmHandle::PLATFORM,
            TpmHandle::PLATFORM_NV,
        ];
        const LIMITED: [TpmHandle; 8] = [
            TpmHandle::FW_OWNER,
            TpmHandle::FW_ENDORSEMENT,
            TpmHandle::FW_PLATFORM,
            TpmHandle::FW_NULL,
            TpmHandle::SVN_OWNER_BASE,
            TpmHandle::SVN_ENDORSEMENT_BASE,
            TpmHandle::SVN_PLATFORM_BASE,
            TpmHandle::SVN_NULL_BASE,
        ];
        let limited = self.profile.has_limited_hierarchies();
        BASE.into_iter()
            .chain(self.management.act_data().map(|timer| timer.handle))
            .chain(LIMITED.into_iter().filter(move |_| limited))
    }

    /// The policy of a permanent handle that can have one.
    fn tagged_policy(&self, handle: TpmHandle) -> Option<TpmsTaggedPolicy> {
        if !self.is_act(handle) {
            self.hierarchies.authorization(handle)?;
        }
        let policy = self.auth_policy(handle);
        let policy_hash = policy.hash.map(|hash_alg| TpmtHa {
            hash_alg,
            digest: policy.digest,
        });
        Some(TpmsTaggedPolicy {
            handle,
            policy_hash,
        })
    }
}

/// The PCR that have a property.
fn pcr_property(tag: TpmPtPcr) -> TpmsTaggedPcrSelect {
    let mut pcr_select = TpmsPcrSelect::default();
    for pcr in 0..PCR_COUNT {
        let attributes = attributes(pcr);
        let by_locality = |localities: u8, locality: u8| localities & 1 << locality != 0;
        let has = match tag {
            TpmPtPcr::SAVE => attributes.saved,
            TpmPtPcr::EXTEND_L0 => by_locality(attributes.extend_localities, 0),
            TpmPtPcr::EXTEND_L1 => by_locality(attributes.extend_localities, 1),
            TpmPtPcr::EXTEND_L2 => by_locality(attributes.extend_localities, 2),
            TpmPtPcr::EXTEND_L3 => by_locality(attributes.extend_localities, 3),
            TpmPtPcr::EXTEND_L4 => by_locality(attributes.extend_localities, 4),
            TpmPtPcr::RESET_L0 => by_locality(attributes.reset_localities, 0),
            TpmPtPcr::RESET_L1 => by_locality(attributes.reset_localities, 1),
            TpmPtPcr::RESET_L2 => by_locality(attributes.reset_localities, 2),
            TpmPtPcr::RESET_L3 => by_locality(attributes.reset_localities, 3),
            TpmPtPcr::RESET_L4 | TpmPtPcr::DRTM_RESET => {
                by_locality(attributes.reset_localities, 4)
            }
            TpmPtPcr::NO_INCREMENT => !attributes.counted,
            TpmPtPcr::POLICY => Pcrs::has_policy(pcr),
            TpmPtPcr::AUTH => Pcrs::has_auth(pcr),
            _ => false,
        };
        if has {
            pcr_select.insert(pcr);
        }
    }
    TpmsTaggedPcrSelect { tag, pcr_select }
}
