//! Long random sequences of NV and PCR commands, shutdowns, power cuts and failures of storage.

use crate::commands::nv::build::public;
use crate::commands::pcr::build::{digest, handle as pcr_handle, selection};
use crate::testing::{self, Auth, TestTpm};
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::attributes::TpmaNv;
use tpm_wire::buffers::{Tpm2bAuth, Tpm2bEvent, Tpm2bMaxNvBuffer};
use tpm_wire::commands::{
    NvDefineSpace, NvExtend, NvGlobalWriteLock, NvIncrement, NvRead, NvReadLock, NvSetBits,
    NvUndefineSpace, NvWrite, NvWriteLock, PcrAllocate, PcrEvent, PcrExtend, PcrReset,
    PcrSetAuthPolicy, PcrSetAuthValue, Shutdown, Startup,
};
use tpm_wire::constants::TpmSu;
use tpm_wire::handles::{TpmHandle, TpmHt};
use tpm_wire::nv::{Tpm2bNvPublic, TpmNt};
use tpm_wire::rc::Rc;
use tpm_wire::table::Command;
use zeroize::Zeroizing;

/// A generator that repeats (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        u32::try_from(number % u64::from(end)).unwrap()
    }

    fn one_in(&mut self, number: u32) -> bool {
        self.below(number) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(u32::try_from(choices.len()).unwrap())).unwrap()]
    }

    fn index(&mut self) -> TpmHandle {
        TpmHt::NvIndex.handle(self.below(6))
    }

    fn by(&mut self, index: TpmHandle) -> TpmHandle {
        self.of(&[
            TpmHandle::OWNER,
            TpmHandle::OWNER,
            TpmHandle::PLATFORM,
            index,
        ])
    }

    fn data(&mut self, most: u32) -> Vec<u8> {
        let size = usize::try_from(self.below(most + 1)).unwrap();
        vec![u8::try_from(self.below(4)).unwrap(); size]
    }

    fn attributes(&mut self) -> (TpmaNv, u16) {
        let (nv_type, size) = self.of(&[
            (TpmNt::Ordinary, 12),
            (TpmNt::Counter, 8),
            (TpmNt::Counter, 8),
            (TpmNt::Bits, 8),
            (TpmNt::Extend, 32),
            (TpmNt::PinPass, 8),
            (TpmNt::PinFail, 8),
        ]);
        let mut attributes = (TpmaNv::OWNERREAD
            | TpmaNv::OWNERWRITE
            | TpmaNv::PPREAD
            | TpmaNv::AUTHREAD
            | TpmaNv::NO_DA)
            .with_type(nv_type);
        for attribute in [
            TpmaNv::ORDERLY,
            TpmaNv::CLEAR_STCLEAR,
            TpmaNv::WRITE_STCLEAR,
            TpmaNv::READ_STCLEAR,
            TpmaNv::PPWRITE,
            TpmaNv::AUTHWRITE,
            TpmaNv::GLOBALLOCK,
            TpmaNv::WRITEDEFINE,
            TpmaNv::WRITEALL,
            TpmaNv::PLATFORMCREATE,
        ] {
            let likely = attribute == TpmaNv::ORDERLY;
            attributes = attributes.set(attribute, self.one_in(if likely { 2 } else { 6 }));
        }
        (attributes, size)
    }
}

/// A TPM, what of it is on stable storage, and the counts that were shown.
struct World {
    tpm: TestTpm,
    stored: Zeroizing<Vec<u8>>,
    shown: BTreeMap<TpmHandle, u64>,
    greatest_removed: u64,
    random: Random,
    accepted: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut tpm = testing::started();
        Self {
            stored: tpm.permanent_state(),
            tpm,
            shown: BTreeMap::new(),
            greatest_removed: 0,
            random: Random(seed),
            accepted: 0,
        }
    }

    /// Runs a command, then stores what must be stored; sometimes that fails.
    fn run<C: Command>(&mut self, command: C) -> Result<C::Response, Rc> {
        let by_pin = command.handles().first().is_some_and(|handle| {
            let index = self.tpm.nv.get(*handle);
            index.is_ok_and(|index| matches!(index.nv_type(), TpmNt::PinPass | TpmNt::PinFail))
        });
        let result = if by_pin {
            // A PIN Index counts its use even if the command is refused afterwards.
            let command = testing::encode(&command, &[Auth::password(&[])]);
            testing::decode::<C>(self.tpm.execute(&command))
        } else {
            self.tpm.run(command)
        };
        if self.tpm.must_persist() {
            if self.random.one_in(30) {
                self.tpm.restore_permanent(&self.stored).unwrap();
                return Err(Rc::NV_UNAVAILABLE);
            }
            self.stored = self.tpm.permanent_state();
        }
        self.accepted += u32::from(result.is_ok());
        result
    }

    /// Mostly an Index that is defined, of the type if there is one.
    fn index_of(&mut self, nv_type: TpmNt) -> TpmHandle {
        let fitting: Vec<_> = (self.tpm.nv.indices.iter())
            .filter(|(_, index)| index.nv_type() == nv_type)
            .map(|(handle, _)| *handle)
            .collect();
        if fitting.is_empty() || self.random.one_in(9) {
            self.random.index()
        } else {
            self.random.of(&fitting)
        }
    }

    fn nv_step(&mut self) -> Result<(), Rc> {
        let kind = self.random.below(24);
        let index = match kind {
            4..=8 => self.index_of(TpmNt::Ordinary),
            9..=13 => self.index_of(TpmNt::Counter),
            14 | 15 => self.index_of(TpmNt::Bits),
            16 | 17 => self.index_of(TpmNt::Extend),
            _ => self.random.index(),
        };
        let (nv_index, auth_handle) = (index.into(), self.random.by(index).into());
        match kind {
            0..=2 => {
                let (attributes, size) = self.random.attributes();
                let by_platform = attributes.contains(TpmaNv::PLATFORMCREATE);
                let auth_handle = if by_platform {
                    TpmHandle::PLATFORM
                } else {
                    TpmHandle::OWNER
                };
                let define = NvDefineSpace {
                    auth_handle: auth_handle.into(),
                    auth: Tpm2bAuth::EMPTY,
                    public_info: Tpm2bNvPublic(public(index, attributes, size)),
                };
                self.run(define).map(|_| ())
            }
            3 => {
                let auth_handle = self.random.of(&[TpmHandle::OWNER, TpmHandle::PLATFORM]);
                let undefine = NvUndefineSpace {
                    auth_handle: auth_handle.into(),
                    nv_index: index.into(),
                };
                self.run(undefine)?;
                if let Some(count) = self.shown.remove(&index) {
                    self.greatest_removed = self.greatest_removed.max(count);
                }
                Ok(())
            }
            4..=8 => {
                let offset = u16::try_from(self.random.of(&[0, 0, 0, 3, 13])).unwrap();
                let data = Tpm2bMaxNvBuffer::new(self.random.data(12)).unwrap();
                self.run(NvWrite {
                    auth_handle,
                    nv_index,
                    data,
                    offset,
                })
                .map(|_| ())
            }
            9..=13 => {
                for _ in 0..self.random.of(&[1, 1, 1, 40]) {
                    self.run(NvIncrement {
                        auth_handle,
                        nv_index,
                    })?;
                }
                Ok(())
            }
            14 | 15 => {
                let bits = 1 << self.random.below(64);
                self.run(NvSetBits {
                    auth_handle,
                    nv_index,
                    bits,
                })
                .map(|_| ())
            }
            16 | 17 => {
                let data = Tpm2bMaxNvBuffer::new(self.random.data(12)).unwrap();
                self.run(NvExtend {
                    auth_handle,
                    nv_index,
                    data,
                })
                .map(|_| ())
            }
            18 => self
                .run(NvWriteLock {
                    auth_handle,
                    nv_index,
                })
                .map(|_| ()),
            19 => self
                .run(NvReadLock {
                    auth_handle,
                    nv_index,
                })
                .map(|_| ()),
            20 if self.random.one_in(4) => {
                let auth_handle = TpmHandle::OWNER.into();
                self.run(NvGlobalWriteLock { auth_handle }).map(|_| ())
            }
            _ => {
                let size = u16::try_from(self.random.of(&[8, 12, 32, 0])).unwrap();
                self.run(NvRead {
                    auth_handle,
                    nv_index,
                    size,
                    offset: 0,
                })
                .map(|_| ())
            }
        }
    }

    fn pcr_step(&mut self) -> Result<(), Rc> {
        let pcr = pcr_handle(self.random.of(&[0, 7, 16, 17, 20, 22, 23]));
        let locality = u8::try_from(self.random.below(5)).unwrap();
        self.tpm
            .script
            .locality
            .store(locality, core::sync::atomic::Ordering::Relaxed);
        let result = match self.random.below(8) {
            0..=2 => {
                let hash = self.random.of(TpmiAlgHash::ALL);
                let digests = [digest(hash, 5), digest(TpmiAlgHash::Sha256, 6)];
                let pcr_handle = (!self.random.one_in(9)).then_some(pcr);
                self.run(PcrExtend {
                    pcr_handle,
                    digests: digests.into_iter().collect(),
                })
                .map(|_| ())
            }
            3 => {
                let event_data = Tpm2bEvent::new(self.random.data(9)).unwrap();
                self.run(PcrEvent {
                    pcr_handle: Some(pcr),
                    event_data,
                })
                .map(|_| ())
            }
            4 => self.run(PcrReset { pcr_handle: pcr }).map(|_| ()),
            5 if self.random.one_in(4) => {
                let bank = self.random.of(TpmiAlgHash::ALL);
                let some: &[u32] = self.random.of(&[&[], &[0, 17], &[0, 1, 2, 16, 17, 20, 23]]);
                self.run(PcrAllocate {
                    auth_handle: TpmHandle::PLATFORM.into(),
                    pcr_allocation: selection(&[(bank, some)]),
                })
                .map(|_| ())
            }
            6 => {
                let hash_alg = self.random.of(&[None, None, Some(TpmiAlgHash::Sha384)]);
                let size = hash_alg.map_or(0, TpmiAlgHash::digest_size);
                self.run(PcrSetAuthPolicy {
                    auth_handle: TpmHandle::PLATFORM.into(),
                    auth_policy: tpm_wire::buffers::Tpm2bDigest::zeros(size),
                    hash_alg,
                    pcr_num: pcr,
                })
                .map(|_| ())
            }
            _ => self
                .run(PcrSetAuthValue {
                    pcr_handle: pcr,
                    auth: tpm_wire::buffers::Tpm2bDigest::EMPTY,
                })
                .map(|_| ()),
        };
        self.tpm
            .script
            .locality
            .store(0, core::sync::atomic::Ordering::Relaxed);
        result
    }

    /// Power is lost, sometimes after a shutdown; what was not stored is gone.
    fn power_step(&mut self) {
        let shutdown_type = self.random.of(&[TpmSu::Clear, TpmSu::State]);
        if !self.random.one_in(3) {
            let _ = self.run(Shutdown { shutdown_type });
        }
        if self.random.one_in(3) {
            // The TPM went on after the shutdown.
            let _ = self.nv_step();
        }
        self.tpm.restore_permanent(&self.stored).unwrap();
        self.tpm.init();
        loop {
            let startup_type = self.random.of(&[TpmSu::Clear, TpmSu::State]);
            if self.tpm.run(Startup { startup_type }).is_ok() {
                self.stored = self.tpm.permanent_state();
                return;
            }
        }
    }

    /// Saving and loading gives the same bytes, and no counter was set back.
    fn check(&mut self) {
        let (permanent, volatile) = (self.tpm.permanent_bytes(), self.tpm.volatile_state());
        let mut other = testing::manufactured();
        other.restore_permanent(&permanent).unwrap();
        assert!(*other.permanent_bytes() == *permanent);
        other.restore_volatile(&volatile).unwrap();
        assert!(*other.permanent_bytes() == *permanent);
        assert!(*other.volatile_state() == *volatile);
        for (handle, index) in &self.tpm.nv.indices {
            let is_counter = index.nv_type() == TpmNt::Counter;
            let Some(count) = index.number().filter(|_| is_counter) else {
                assert!(!self.shown.contains_key(handle), "a counter was lost");
                continue;
            };
            let least = match self.shown.insert(*handle, count) {
                Some(shown) => shown,
                None => self.greatest_removed + 1,
            };
            assert!(count >= least, "{handle:?}: {count} after {least}");
        }
    }
}

#[test]
fn state_is_the_same_after_a_load_and_counters_never_fall() {
    let mut accepted = 0;
    for seed in 1..=6 {
        let mut world = World::new(seed);
        for _ in 0..500 {
            match world.random.below(20) {
                0 => world.power_step(),
                1..=5 => drop(world.pcr_step()),
                _ => drop(world.nv_step()),
            }
            world.check();
        }
        accepted += world.accepted;
    }
    // The sequence is worth something only if much of it is accepted.
    assert!(accepted > 1500, "{accepted}");
}
