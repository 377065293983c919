//! Commands through the in-process engine: no socket, no file; what a command itself costs.
//!
//! `cargo bench --bench commands`; a name behind it picks some. Figures against swtpm come from the side-by-side bench, not
//! from here.
#![expect(
    clippy::expect_used,
    reason = "a bench that cannot prepare its TPM stops"
)]

#[expect(
    dead_code,
    reason = "the side-by-side bench makes more kinds of objects"
)]
mod templates;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use templates::{COUNTER, DATA, Use};
use tpm_engine::testing::{Auth, TestTpm, decode, encode, started};
use tpm_wire::algorithm::{TpmiAlgHash, TpmiEccCurve};
use tpm_wire::buffers::{Small, Tpm2bData, Tpm2bDigest, Tpm2bMaxBuffer, Tpm2bMaxNvBuffer};
use tpm_wire::commands::{
    CreatePrimary, FlushContext, GetRandom, Hash, NvIncrement, NvRead, NvWrite, PcrExtend, PcrRead,
    Quote, Sign,
};
use tpm_wire::constants::TpmSt;
use tpm_wire::handles::{
    TpmHandle, TpmiDhContext, TpmiDhObject, TpmiDhPcr, TpmiRhNvAuth, TpmiRhNvIndex,
};
use tpm_wire::nv::TpmNt;
use tpm_wire::table::Command;
use tpm_wire::ticket::TpmtTkHashcheck;

fn bytes<C: Command>(command: &C) -> Vec<u8> {
    encode(
        command,
        &vec![Auth::password(&[]); C::INFO.authorizations()],
    )
}

fn create(tpm: &mut TestTpm, primary: &CreatePrimary) -> TpmHandle {
    let response =
        decode::<CreatePrimary>(tpm.execute(&bytes(primary))).expect("a primary key is made");
    response.object_handle
}

/// One command over and over; what it wants to persist is serialised as a server would.
fn repeat<C: Command>(criterion: &mut Criterion, name: &str, tpm: &mut TestTpm, command: &C) {
    let command_bytes = bytes(command);
    decode::<C>(tpm.execute(&command_bytes)).expect("the command succeeds");
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| {
            let size = tpm.execute(&command_bytes).len();
            if tpm.must_persist() {
                std::hint::black_box(tpm.permanent_state());
            }
            size
        });
    });
}

fn short_commands(criterion: &mut Criterion) {
    let mut tpm = started();
    repeat(
        criterion,
        "GetRandom 32",
        &mut tpm,
        &GetRandom {
            bytes_requested: 32,
        },
    );
    repeat(
        criterion,
        "PCR_Read 8",
        &mut tpm,
        &PcrRead {
            pcr_selection_in: templates::pcrs(&[0, 1, 2, 3, 4, 5, 6, 7]),
        },
    );
    let digest = tpm_wire::algorithm::TpmtHa {
        hash_alg: TpmiAlgHash::Sha256,
        digest: Small::zeros(32),
    };
    let extend = PcrExtend {
        pcr_handle: Some(TpmiDhPcr(TpmHandle(16))),
        digests: [digest].into_iter().collect(),
    };
    repeat(criterion, "PCR_Extend", &mut tpm, &extend);
    let data = Tpm2bMaxBuffer::new(vec![7; 1024]).expect("a KiB fits");
    repeat(
        criterion,
        "Hash 1 KiB",
        &mut tpm,
        &Hash {
            data,
            hash_alg: TpmiAlgHash::Sha256,
            hierarchy: None,
        },
    );
}

fn keys(criterion: &mut Criterion) {
    for (name, primary) in [
        (
            "CreatePrimary ECC P-256",
            templates::primary(templates::ecc(TpmiEccCurve::NistP256, Use::Sign)),
        ),
        (
            "CreatePrimary RSA-2048",
            templates::primary(templates::rsa(Use::Sign)),
        ),
    ] {
        let mut tpm = started();
        let command = bytes(&primary);
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10);
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || (),
                |()| {
                    let handle = decode::<CreatePrimary>(tpm.execute(&command))
                        .expect("a key")
                        .object_handle;
                    tpm.run(FlushContext {
                        flush_handle: TpmiDhContext(handle),
                    })
                    .expect("it is flushed");
                },
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

fn signing_commands(criterion: &mut Criterion) {
    for (kind, primary) in [
        (
            "ECC P-256",
            templates::primary(templates::ecc(TpmiEccCurve::NistP256, Use::Sign)),
        ),
        (
            "ECC P-384",
            templates::primary(templates::ecc(TpmiEccCurve::NistP384, Use::Sign)),
        ),
        ("RSA-2048", templates::primary(templates::rsa(Use::Sign))),
    ] {
        let mut tpm = started();
        let key = create(&mut tpm, &primary);
        let sign = Sign {
            key_handle: TpmiDhObject(key),
            digest: Tpm2bDigest::zeros(32),
            in_scheme: None,
            validation: TpmtTkHashcheck {
                tag: TpmSt::HASHCHECK,
                hierarchy: None,
                digest: Tpm2bDigest::EMPTY,
            },
        };
        repeat(criterion, &format!("Sign {kind}"), &mut tpm, &sign);
        let quote = Quote {
            sign_handle: Some(TpmiDhObject(key)),
            qualifying_data: Tpm2bData::new(b"nonce").expect("it fits"),
            in_scheme: None,
            pcr_select: templates::pcrs(&[0, 1, 2, 3]),
        };
        repeat(criterion, &format!("Quote {kind}"), &mut tpm, &quote);
    }
}

fn nv_commands(criterion: &mut Criterion) {
    let mut tpm = started();
    for index in [
        templates::define(DATA, TpmNt::Ordinary, 64),
        templates::define(COUNTER, TpmNt::Counter, 8),
    ] {
        tpm.run(index).expect("an Index is defined");
    }
    let mut writes = [0u8, 1].map(|byte| {
        bytes(&NvWrite {
            auth_handle: TpmiRhNvAuth(DATA),
            nv_index: TpmiRhNvIndex(DATA),
            data: Tpm2bMaxNvBuffer::new(vec![byte; 64]).expect("it fits"),
            offset: 0,
        })
    });
    criterion.bench_function("NV_Write 64", |bencher| {
        bencher.iter(|| {
            // Other contents each time: the same ones would not be written.
            writes.swap(0, 1);
            let [write, _] = &writes;
            let size = tpm.execute(write).len();
            std::hint::black_box(tpm.permanent_state());
            size
        });
    });
    let increment = NvIncrement {
        auth_handle: TpmiRhNvAuth(COUNTER),
        nv_index: TpmiRhNvIndex(COUNTER),
    };
    repeat(criterion, "NV_Increment", &mut tpm, &increment);
    let read = NvRead {
        auth_handle: TpmiRhNvAuth(DATA),
        nv_index: TpmiRhNvIndex(DATA),
        size: 64,
        offset: 0,
    };
    repeat(criterion, "NV_Read 64", &mut tpm, &read);
}

criterion_group!(
    commands,
    short_commands,
    keys,
    signing_commands,
    nv_commands
);
criterion_main!(commands);
