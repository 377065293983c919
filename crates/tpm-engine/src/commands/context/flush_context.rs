//! `TPM2_FlushContext` (Part 3, 28.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{FlushContext, FlushContextResponse};
use tpm_wire::rc::Rc;

impl Execute for FlushContext {
    fn execute(self, tpm: &mut Tpm) -> Result<FlushContextResponse, Rc> {
        let handle = self.flush_handle.0;
        if !handle.is_session() {
            return match tpm.objects.flush(handle) {
                Some(_) => Ok(FlushContextResponse {}),
                None => Err(Rc::HANDLE.at(Self::flush_handle)),
            };
        }
        let is_saved = tpm.sessions.is_saved(handle);
        if !is_saved && tpm.sessions.get(handle).is_none() {
            return Err(Rc::HANDLE.at(Self::flush_handle));
        }
        if is_saved {
            // Otherwise what an orderly shutdown saved would bring the session back.
            tpm.void_orderly()?;
        }
        tpm.sessions.flush(handle);
        Ok(FlushContextResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::context::build::{hash_sequence, load, object, save, session};
    use crate::testing::{self, TestTpm};
    use tpm_wire::commands::{FlushContext, Shutdown, Startup};
    use tpm_wire::constants::TpmSu;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::Rc;

    fn flush(tpm: &mut TestTpm, handle: TpmHandle) -> Result<(), Rc> {
        let flush_handle = handle.into();
        tpm.run(FlushContext { flush_handle }).map(|_| ())
    }

    #[test]
    fn objects_sequences_and_sessions_are_gone_and_their_handles_free() {
        let mut tpm = testing::started();
        let gone = Err(Rc::HANDLE.at(FlushContext::flush_handle));
        for make in [object, hash_sequence, session] {
            let handle = make(&mut tpm);
            flush(&mut tpm, handle).unwrap();
            assert_eq!(flush(&mut tpm, handle), gone);
            assert_eq!(make(&mut tpm), handle);
            flush(&mut tpm, handle).unwrap();
        }
    }

    #[test]
    fn a_saved_session_can_be_flushed_even_after_a_shutdown() {
        let mut tpm = testing::started();
        let handle = session(&mut tpm);
        let context = save(&mut tpm, handle).unwrap();
        tpm.run(Shutdown {
            shutdown_type: TpmSu::State,
        })
        .unwrap();
        flush(&mut tpm, handle).unwrap();
        let mut tpm = tpm.reloaded();
        assert!(
            tpm.run(Startup {
                startup_type: TpmSu::State
            })
            .is_err()
        );
        tpm.run(Startup {
            startup_type: TpmSu::Clear,
        })
        .unwrap();
        assert!(load(&mut tpm, context).is_err());
    }

    #[test]
    fn what_is_not_there_is_handle_at_parameter_1() {
        let mut tpm = testing::started();
        for handle in [0x8000_0000, 0x0200_0000, 0x0300_0003] {
            assert_eq!(
                flush(&mut tpm, TpmHandle(handle)),
                Err(Rc::HANDLE.at(FlushContext::flush_handle))
            );
        }
        for handle in [0x8100_0000, 0x4000_0001, 0x0200_0040] {
            assert_eq!(
                flush(&mut tpm, TpmHandle(handle)),
                Err(Rc::VALUE.at(FlushContext::flush_handle))
            );
        }
    }
}
