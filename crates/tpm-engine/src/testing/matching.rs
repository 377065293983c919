//! Commands whose values must come from the command just before: made anew each time.

use super::Auth;
use super::choices::Choices;
use super::fields::{ROWS, Row, split};
use super::prelude::{ECDAA, KEY_FOR_PHASES, SIGNER};
use super::sequence::Runner;
use alloc::vec::Vec;
use tpm_wire::algorithm::{
    Tpm2bEccPoint, TpmiAlgHash, TpmiEccCurve, TpmiEccKeyExchange, TpmsSchemeEcdaa, TpmtSigScheme,
};
use tpm_wire::attributes::TpmaSession;
use tpm_wire::buffers::{
    Tpm2bAuth, Tpm2bData, Tpm2bDigest, Tpm2bEccParameter, Tpm2bMaxBuffer, Tpm2bSensitiveData,
};
use tpm_wire::commands::{
    Commit, ContextLoad, ContextSave, EcEphemeral, EventSequenceComplete, FlushContext,
    GetSessionAuditDigest, HashSequenceStart, ReadClock, SequenceComplete, SequenceUpdate, Sign,
    ZGen2Phase,
};
use tpm_wire::constants::{TpmSe, TpmSt};
use tpm_wire::handles::TpmHandle;
use tpm_wire::table::Command;
use tpm_wire::ticket::TpmtTkHashcheck;

/// A command before it is authorized.
pub(super) type Ready = (&'static Row, Vec<TpmHandle>, Vec<Vec<u8>>);

/// The x-coordinate of the point on BN-P256 is the hash of this.
const HASHED: &[u8] = b"s2-1";
/// And this is its y-coordinate.
const Y2: [u8; 32] = [
    0x36, 0xA4, 0xA8, 0x0A, 0xB0, 0x5D, 0x85, 0xF9, 0xB8, 0x3E, 0xC8, 0x7F, 0xF1, 0x51, 0x89, 0xB1,
    0x0B, 0x30, 0x6E, 0xD0, 0x1A, 0x6F, 0xD8, 0xC4, 0x40, 0x6E, 0xB1, 0x92, 0xD4, 0x79, 0x2C, 0x20,
];

fn ready<C: Command>(command: &C) -> Option<Ready> {
    let row = ROWS.iter().find(|row| row.info.code == C::INFO.code)?;
    let mut parameters = Vec::new();
    command.marshal_parameters(&mut parameters);
    Some((
        row,
        command.handles().to_vec(),
        split(row.parameters, &parameters)?,
    ))
}

impl Runner {
    /// A command of the row with values that match; `None` where any will do.
    pub(super) fn matching(
        &mut self,
        choices: &mut Choices<'_>,
        row: &'static Row,
    ) -> Option<(Vec<TpmHandle>, Vec<Vec<u8>>)> {
        let code = row.info.code;
        let made = if code == ZGen2Phase::INFO.code {
            self.two_phases()
        } else if code == Sign::INFO.code || code == Commit::INFO.code {
            self.ecdaa_signature()
        } else if code == GetSessionAuditDigest::INFO.code {
            self.session_audit_digest()
        } else if code == ContextLoad::INFO.code {
            self.saved_session(choices)
        } else if [
            SequenceUpdate::INFO.code,
            SequenceComplete::INFO.code,
            EventSequenceComplete::INFO.code,
        ]
        .contains(&code)
        {
            self.sequence(choices, code)
        } else {
            None
        };
        let (made, handles, values) = made?;
        (made.info.code == code).then_some((handles, values))
    }

    /// A two-phase agreement with a one-time key just made.
    pub(super) fn two_phases(&mut self) -> Option<Ready> {
        let made = self.send_command(&EcEphemeral {
            curve_id: TpmiEccCurve::NistP256,
        })?;
        ready(&ZGen2Phase {
            key_a: KEY_FOR_PHASES.into(),
            in_qs_b: made.q.clone(),
            in_qe_b: made.q,
            in_scheme: TpmiEccKeyExchange::Ecdh,
            counter: made.counter,
        })
    }

    /// An anonymous signature with a commitment just made.
    pub(super) fn ecdaa_signature(&mut self) -> Option<Ready> {
        let first = self.send_command(&Commit {
            sign_handle: ECDAA.into(),
            p1: no_point(),
            s2: Tpm2bSensitiveData::EMPTY,
            y2: Tpm2bEccParameter::EMPTY,
        })?;
        let made = self.send_command(&Commit {
            sign_handle: ECDAA.into(),
            p1: first.e,
            s2: Tpm2bSensitiveData::new(HASHED.to_vec())?,
            y2: Tpm2bEccParameter::new(&Y2)?,
        })?;
        ready(&Sign {
            key_handle: ECDAA.into(),
            digest: Tpm2bDigest::new(&[3; 32])?,
            in_scheme: Some(TpmtSigScheme::Ecdaa(TpmsSchemeEcdaa {
                hash_alg: TpmiAlgHash::Sha256,
                count: made.counter,
            })),
            validation: TpmtTkHashcheck {
                tag: TpmSt::HASHCHECK,
                hierarchy: None,
                digest: Tpm2bDigest::EMPTY,
            },
        })
    }

    /// The digest of a session that has just audited a command.
    pub(super) fn session_audit_digest(&mut self) -> Option<Ready> {
        let null = TpmHandle::NULL;
        let session = self.start_session(TpmSe::Hmac, None, null, TpmHandle::OWNER)?;
        let mut auth = Auth::session(session);
        auth.attributes = auth.attributes.with(TpmaSession::AUDIT);
        self.send_command_as(&ReadClock {}, &[auth])?;
        ready(&GetSessionAuditDigest {
            privacy_admin_handle: TpmHandle::ENDORSEMENT.into(),
            sign_handle: Some(SIGNER.into()),
            session_handle: session.into(),
            qualifying_data: Tpm2bData::EMPTY,
            in_scheme: Some(TpmtSigScheme::Ecdsa(tpm_wire::algorithm::TpmsSchemeHash {
                hash_alg: TpmiAlgHash::Sha256,
            })),
        })
    }

    /// A session or an object that was just saved.
    fn saved_session(&mut self, choices: &mut Choices<'_>) -> Option<Ready> {
        let loaded: Vec<TpmHandle> = self
            .tpm
            .objects
            .transient()
            .chain(self.tpm.sessions.loaded())
            .collect();
        let handle = *choices.of(&loaded)?;
        let save_handle = handle.into();
        let saved = self.send_command(&ContextSave { save_handle })?;
        if choices.one_in(2) && !handle.is_session() {
            let flush_handle = handle.into();
            self.send_command(&FlushContext { flush_handle });
        }
        ready(&ContextLoad {
            context: saved.context,
        })
    }

    /// A sequence that was just started.
    fn sequence(&mut self, choices: &mut Choices<'_>, code: u32) -> Option<Ready> {
        let is_event = code == EventSequenceComplete::INFO.code;
        let hash_alg = (!is_event).then_some(TpmiAlgHash::Sha256);
        let auth = Tpm2bAuth::new(if choices.one_in(2) { b"auth" } else { b"" })?;
        let started = self.send_command(&HashSequenceStart { auth, hash_alg })?;
        let sequence_handle = started.sequence_handle;
        let buffer = Tpm2bMaxBuffer::new(choices.bytes(40))?;
        if is_event {
            return ready(&EventSequenceComplete {
                pcr_handle: Some(TpmHandle(16).into()),
                sequence_handle,
                buffer,
            });
        }
        self.send_command(&SequenceUpdate {
            sequence_handle,
            buffer: buffer.clone(),
        });
        if code == SequenceUpdate::INFO.code {
            return ready(&SequenceUpdate {
                sequence_handle,
                buffer,
            });
        }
        ready(&SequenceComplete {
            sequence_handle,
            buffer,
            hierarchy: Some(TpmHandle::OWNER.into()),
        })
    }
}

fn no_point() -> Tpm2bEccPoint {
    tpm_wire::buffers::Tpm2b(tpm_wire::algorithm::TpmsEccPoint {
        x: Tpm2bEccParameter::EMPTY,
        y: Tpm2bEccParameter::EMPTY,
    })
}
