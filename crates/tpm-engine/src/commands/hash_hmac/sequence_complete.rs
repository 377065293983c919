//! `TPM2_SequenceComplete` (Part 3, 17.6).

use crate::algorithms::small;
use crate::execute::Execute;
use crate::object::SequenceState;
use crate::state::Tpm;
use tpm_wire::buffers::Tpm2bDigest;
use tpm_wire::commands::{SequenceComplete, SequenceCompleteResponse};
use tpm_wire::constants::TpmSt;
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;
use tpm_wire::ticket::TpmtTkHashcheck;

impl Execute for SequenceComplete {
    fn execute(self, tpm: &mut Tpm) -> Result<SequenceCompleteResponse, Rc> {
        let handle = self.sequence_handle.0;
        let wrong_mode = Rc::MODE.at(Self::sequence_handle);
        let sequence = tpm.objects.sequence(handle).map_err(|_| wrong_mode)?;
        let mut state = sequence.state.clone();
        state.update(&self.buffer);
        let no_ticket = TpmtTkHashcheck {
            tag: TpmSt::HASHCHECK,
            hierarchy: None,
            digest: Tpm2bDigest::EMPTY,
        };
        let (digest, validation) = match state {
            SequenceState::Hash { hasher, hash, safe } => {
                let digest = hasher.finish();
                let hierarchy = match self.hierarchy {
                    Some(hierarchy) if safe == Some(true) => hierarchy.0,
                    _ => TpmHandle::NULL,
                };
                tpm.check_ticket_hierarchy(hierarchy)?;
                let validation = tpm.hashcheck_ticket(hierarchy, hash, &digest);
                (digest, validation)
            }
            SequenceState::Hmac { hmac, .. } => (hmac.finish(), no_ticket),
            SequenceState::Cmac(cmac) => (cmac.finish(), no_ticket),
            SequenceState::Event(_) => return Err(wrong_mode),
        };
        tpm.running.flush = Some(handle);
        Ok(SequenceCompleteResponse {
            result: small(&digest),
            validation,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::signature::build::*;
    use crate::testing::{self, Auth, TestTpm};
    use tpm_wire::algorithm::*;
    use tpm_wire::buffers::*;
    use tpm_wire::commands::*;
    use tpm_wire::handles::{TpmHandle, TpmiDhObject, TpmiRhHierarchy};
    use tpm_wire::rc::Rc;

    fn buffer(data: &[u8]) -> Tpm2bMaxBuffer {
        Tpm2bMaxBuffer::new(data.to_vec()).unwrap()
    }

    fn start(tpm: &mut TestTpm, hash_alg: Option<TpmiAlgHash>) -> TpmiDhObject {
        let auth = Tpm2bAuth::EMPTY;
        tpm.run(HashSequenceStart { auth, hash_alg })
            .unwrap()
            .sequence_handle
    }

    fn update(tpm: &mut TestTpm, sequence_handle: TpmiDhObject, data: &[u8]) {
        let buffer = buffer(data);
        tpm.run(SequenceUpdate {
            sequence_handle,
            buffer,
        })
        .unwrap();
    }

    fn complete(sequence_handle: TpmiDhObject, data: &[u8]) -> SequenceComplete {
        SequenceComplete {
            sequence_handle,
            buffer: buffer(data),
            hierarchy: Some(TpmiRhHierarchy(TpmHandle::OWNER)),
        }
    }

    const SHA256: Option<TpmiAlgHash> = Some(TpmiAlgHash::Sha256);

    #[test]
    fn pieces_hash_like_the_whole_and_the_sequence_is_gone() {
        let mut tpm = testing::started();
        let sequence = start(&mut tpm, SHA256);
        update(&mut tpm, sequence, b"mess");
        update(&mut tpm, sequence, b"a");
        let answer = tpm.run(complete(sequence, b"ge")).unwrap();
        assert_eq!(&*answer.result, bytes(DIGEST));
        let ticket = tpm.hashcheck_ticket(TpmHandle::OWNER, TpmiAlgHash::Sha256, &answer.result);
        assert_eq!(answer.validation, ticket);
        assert_eq!(
            tpm.run(complete(sequence, b"")),
            Err(Rc::reference_handle(0))
        );
    }

    #[test]
    fn only_a_first_piece_that_can_be_judged_gives_a_ticket() {
        for (pieces, safe) in [
            (&[&b"message"[..]][..], true),
            (&[b"mes", b"sage"], false),
            (&[b"", b"message"], false),
            (&[b"\xFFTCG"], false),
            (&[b"\xFFTCH"], true),
            (&[b"mess", b"\xFFTCG"], true),
            (&[b"abc"], false),
        ] {
            let mut tpm = testing::started();
            let sequence = start(&mut tpm, SHA256);
            let (last, first) = pieces.split_last().unwrap();
            for piece in first {
                update(&mut tpm, sequence, piece);
            }
            let validation = tpm.run(complete(sequence, last)).unwrap().validation;
            assert_eq!(validation != no_ticket(), safe, "{pieces:?}");
        }
    }

    #[test]
    fn macs_of_pieces_are_macs_of_the_whole() {
        let mut tpm = testing::started();
        let cmac = Some(TpmiAlgMacScheme::Cmac);
        let sha256 = Some(TpmiAlgMacScheme::Sha256);
        for (key, in_scheme, expected) in [
            (
                hmac(None, SIGNS),
                sha256,
                "323d71a8f9874ca083cf989755a6b2b2cf341eb091cae798037fbcc72ba2ec9c",
            ),
            (aes(None, SIGNS), cmac, "3174124e6635c01f9ce575a78f70aa83"),
        ] {
            let start = MacStart {
                handle: load(&mut tpm, key),
                auth: Tpm2bAuth::EMPTY,
                in_scheme,
            };
            let sequence = tpm.run(start).unwrap().sequence_handle;
            update(&mut tpm, sequence, b"mess");
            let answer = tpm.run(complete(sequence, b"age")).unwrap();
            assert_eq!(&*answer.result, bytes(expected));
            assert_eq!(answer.validation, no_ticket());
        }
    }

    #[test]
    fn a_sequence_survives_a_move_of_the_running_tpm() {
        let mut tpm = testing::started();
        let sequences = [start(&mut tpm, SHA256), start(&mut tpm, None)];
        for sequence in sequences {
            update(&mut tpm, sequence, b"mess");
        }
        let volatile = tpm.volatile_state();
        let mut moved = tpm.reloaded();
        moved.restore_volatile(&volatile).unwrap();
        assert_eq!(moved.volatile_state(), volatile);
        let answer = moved.run(complete(sequences[0], b"age")).unwrap();
        assert_eq!(&*answer.result, bytes(DIGEST));
        assert_ne!(answer.validation, no_ticket());
    }

    #[test]
    fn a_sequence_has_an_authorization_value() {
        let mut tpm = testing::started();
        let auth = Tpm2bAuth::new(b"secret").unwrap();
        let hash_alg = SHA256;
        let sequence = tpm
            .run(HashSequenceStart { auth, hash_alg })
            .unwrap()
            .sequence_handle;
        let wrong = tpm.run(complete(sequence, b"message")).unwrap_err();
        assert!(matches!(wrong.base(), Rc::AUTH_FAIL | Rc::BAD_AUTH));
        let authorized = [Auth::password(b"secret")];
        tpm.run_as(complete(sequence, b"message"), &authorized)
            .unwrap();
    }

    #[test]
    fn objects_and_events_are_no_such_sequences() {
        let mut tpm = testing::started();
        let key = load(&mut tpm, hmac(None, SIGNS));
        let rc = Rc::MODE.at(SequenceComplete::sequence_handle);
        assert_eq!(tpm.run(complete(key, b"")), Err(rc));
        let event = start(&mut tpm, None);
        assert_eq!(tpm.run(complete(event, b"")), Err(rc));
    }

    #[test]
    fn keys_are_no_good_where_a_sequence_is_given_for_one() {
        let mut tpm = testing::started();
        let sequence = start(&mut tpm, SHA256);
        let sign = Sign {
            key_handle: sequence,
            digest: digest(),
            in_scheme: None,
            validation: no_ticket(),
        };
        assert_eq!(tpm.run(sign), Err(Rc::KEY.at(Sign::key_handle)));
        let mac = Mac {
            handle: sequence,
            buffer: buffer(b""),
            in_scheme: None,
        };
        assert_eq!(tpm.run(mac), Err(Rc::TYPE.at(Mac::handle)));
    }
}
