//! Runs one command so many times on a TPM whose entropy is a counter: `instructions NAME COUNT`. Without arguments it lists the names.
//!
//! `benches/instructions/run` has valgrind count two runs; their difference is what a command takes without start and
//! preparation. The engine is the portable one, since valgrind knows no AVX-512.
#![expect(
    clippy::expect_used,
    reason = "a run that cannot prepare its TPM stops"
)]
#![expect(clippy::print_stdout, reason = "the names are what is asked for")]

#[path = "../../templates/mod.rs"]
#[expect(dead_code, reason = "other benches make more kinds of objects")]
mod templates;

use std::process::ExitCode;

use templates::{DATA, Use};
use tpm_engine::testing::{Auth, TestTpm, decode, encode, started};
use tpm_wire::algorithm::{TpmiAlgHash, TpmiEccCurve, TpmtHa};
use tpm_wire::buffers::{Small, Tpm2bData, Tpm2bDigest, Tpm2bMaxBuffer, Tpm2bMaxNvBuffer};
use tpm_wire::commands::{
    CreatePrimary, FlushContext, GetRandom, Hash, NvRead, NvWrite, PcrExtend, PcrRead, Quote, Sign,
    VerifySignature,
};
use tpm_wire::constants::TpmSt;
use tpm_wire::handles::{
    TpmHandle, TpmiDhContext, TpmiDhObject, TpmiDhPcr, TpmiRhNvAuth, TpmiRhNvIndex,
};
use tpm_wire::nv::TpmNt;
use tpm_wire::table::Command;

/// What one run executes, given the TPM, so many times.
type Run = fn(&mut TestTpm, u32);

const RUNS: [(&str, Run); 12] = [
    ("get_random_32", |tpm, count| {
        let command = GetRandom {
            bytes_requested: 32,
        };
        repeat(tpm, &command, count);
    }),
    ("pcr_read_8", |tpm, count| {
        let pcr_selection_in = templates::pcrs(&[0, 1, 2, 3, 4, 5, 6, 7]);
        repeat(tpm, &PcrRead { pcr_selection_in }, count);
    }),
    ("pcr_extend", |tpm, count| {
        let digest = TpmtHa {
            hash_alg: TpmiAlgHash::Sha256,
            digest: Small::zeros(32),
        };
        let command = PcrExtend {
            pcr_handle: Some(TpmiDhPcr(TpmHandle(16))),
            digests: [digest].into_iter().collect(),
        };
        repeat(tpm, &command, count);
    }),
    ("hash_1_kib", |tpm, count| {
        let command = Hash {
            data: Tpm2bMaxBuffer::new(vec![7; 1024]).expect("a KiB fits"),
            hash_alg: TpmiAlgHash::Sha256,
            hierarchy: None,
        };
        repeat(tpm, &command, count);
    }),
    ("nv_write_64", |tpm, count| {
        define(tpm);
        // Other contents each time: the same ones would not be written.
        let writes = [0u8, 1].map(|byte| NvWrite {
            auth_handle: TpmiRhNvAuth(DATA),
            nv_index: TpmiRhNvIndex(DATA),
            data: Tpm2bMaxNvBuffer::new(vec![byte; 64]).expect("it fits"),
            offset: 0,
        });
        for command in writes.iter().cycle().zip(0..count).map(|(write, _)| write) {
            repeat(tpm, command, 1);
        }
    }),
    ("nv_read_64", |tpm, count| {
        define(tpm);
        let write = NvWrite {
            auth_handle: TpmiRhNvAuth(DATA),
            nv_index: TpmiRhNvIndex(DATA),
            data: Tpm2bMaxNvBuffer::new(vec![1; 64]).expect("it fits"),
            offset: 0,
        };
        repeat(tpm, &write, 1);
        let command = NvRead {
            auth_handle: TpmiRhNvAuth(DATA),
            nv_index: TpmiRhNvIndex(DATA),
            size: 64,
            offset: 0,
        };
        repeat(tpm, &command, count);
    }),
    ("create_primary_ecc_p256", |tpm, count| {
        let public = templates::ecc(TpmiEccCurve::NistP256, Use::Sign);
        for _ in 0..count {
            let flush_handle = TpmiDhContext(create(tpm, &templates::primary(public.clone())));
            tpm.run(FlushContext { flush_handle })
                .expect("it is flushed");
        }
    }),
    ("sign_ecdsa_p256", |tpm, count| {
        let key = signer(tpm, &ecc_signer());
        repeat(tpm, &sign(key), count);
    }),
    ("quote_ecdsa_p256", |tpm, count| {
        let command = Quote {
            sign_handle: Some(TpmiDhObject(signer(tpm, &ecc_signer()))),
            qualifying_data: Tpm2bData::new(b"nonce").expect("it fits"),
            in_scheme: None,
            pcr_select: templates::pcrs(&[0, 1, 2, 3]),
        };
        repeat(tpm, &command, count);
    }),
    ("sign_rsassa_2048", |tpm, count| {
        let key = signer(tpm, &templates::primary(templates::rsa(Use::Sign)));
        repeat(tpm, &sign(key), count);
    }),
    ("verify_ecdsa_p256", |tpm, count| {
        verify(tpm, &ecc_signer(), count);
    }),
    ("verify_rsassa_2048", |tpm, count| {
        verify(tpm, &templates::primary(templates::rsa(Use::Sign)), count);
    }),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, count] = arguments.as_slice() else {
        for (name, _) in RUNS {
            println!("{name}");
        }
        return ExitCode::SUCCESS;
    };
    let run = RUNS.iter().find(|(other, _)| other == name);
    let (Some((_, run)), Ok(count)) = (run, count.parse()) else {
        println!("usage: instructions NAME COUNT; without arguments it lists the names");
        return ExitCode::from(2);
    };
    run(&mut started(), count);
    ExitCode::SUCCESS
}

/// The command over and over; what it wants to persist is serialised as a server would.
fn repeat<C: Command>(tpm: &mut TestTpm, command: &C, count: u32) {
    let auths = vec![Auth::password(&[]); C::INFO.authorizations()];
    let bytes = encode(command, &auths);
    for _ in 0..count {
        decode::<C>(tpm.execute(&bytes)).expect("the command succeeds");
        if tpm.must_persist() {
            std::hint::black_box(tpm.permanent_state());
        }
    }
}

fn create(tpm: &mut TestTpm, primary: &CreatePrimary) -> TpmHandle {
    let bytes = encode(primary, &[Auth::password(&[])]);
    let response = decode::<CreatePrimary>(tpm.execute(&bytes)).expect("a primary key is made");
    response.object_handle
}

fn ecc_signer() -> CreatePrimary {
    templates::primary(templates::ecc(TpmiEccCurve::NistP256, Use::Sign))
}

/// A key that has signed: what it computes once is computed.
fn signer(tpm: &mut TestTpm, primary: &CreatePrimary) -> TpmHandle {
    let key = create(tpm, primary);
    repeat(tpm, &sign(key), 1);
    key
}

fn sign(key: TpmHandle) -> Sign {
    Sign {
        key_handle: TpmiDhObject(key),
        digest: Tpm2bDigest::zeros(32),
        in_scheme: None,
        validation: tpm_wire::ticket::TpmtTkHashcheck {
            tag: TpmSt::HASHCHECK,
            hierarchy: None,
            digest: Tpm2bDigest::EMPTY,
        },
    }
}

fn verify(tpm: &mut TestTpm, primary: &CreatePrimary, count: u32) {
    let key = create(tpm, primary);
    let bytes = encode(&sign(key), &[Auth::password(&[])]);
    let signature = decode::<Sign>(tpm.execute(&bytes))
        .expect("it signs")
        .signature;
    let command = VerifySignature {
        key_handle: TpmiDhObject(key),
        digest: Tpm2bDigest::zeros(32),
        signature,
    };
    repeat(tpm, &command, count);
}

fn define(tpm: &mut TestTpm) {
    let index = templates::define(DATA, TpmNt::Ordinary, 64);
    tpm.run(index).expect("an Index is defined");
}
