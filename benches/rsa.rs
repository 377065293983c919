//! RSA on each engine that this processor has: Fermat tests, exponentiations, private operations, keys.
//!
//! `cargo bench --bench rsa`; a name behind it picks some. A batch is as wide as the engine does best; all its
//! exponentiations together are one measurement.
#![expect(clippy::expect_used, reason = "a bench without its key stops")]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use tpm_crypto::drbg::Drbg;
use tpm_crypto::rsa::engine::Modexp;
use tpm_crypto::rsa::{self, Engine, Portable};

fn engines() -> Vec<(&'static str, &'static dyn Engine)> {
    let mut engines: Vec<(&'static str, &'static dyn Engine)> = vec![("portable", &Portable)];
    engines.extend(tpm_rsa_ifma::detected().map(|engine| ("ifma", engine)));
    engines
}

fn generator(name: &[u8]) -> Drbg {
    Drbg::new(&[7; 48], &[b"bench", name])
}

fn key(engine: &'static dyn Engine) -> rsa::PrivateKey {
    let mut random = generator(b"key");
    rsa::generate_with(engine, 2048, 65537, &mut random, &mut || false)
        .and_then(rsa::PrivateKey::prepared)
        .expect("a key is made")
}

fn arithmetic(criterion: &mut Criterion) {
    for limbs in [8, 16, 24, 32] {
        // Odd, and so composite that no test ends early; none does anyway.
        let modulus = vec![u64::MAX - 6; limbs];
        let base = vec![0x1234_5678_9abc_def1; limbs];
        for (name, engine) in engines() {
            let bits = limbs * 64;
            let candidates = vec![modulus.as_slice(); engine.lanes()];
            let id = BenchmarkId::new(format!("fermat x{}", engine.lanes()), bits);
            let mut group = criterion.benchmark_group(name);
            group.bench_function(id, |bencher| {
                bencher.iter(|| engine.fermat_batch(black_box(&candidates)));
            });
            let mut results = vec![vec![0; limbs]; 2];
            group.bench_function(BenchmarkId::new("modexp x2", bits), |bencher| {
                bencher.iter(|| {
                    let mut jobs: Vec<Modexp<'_>> = results
                        .iter_mut()
                        .map(|result| Modexp {
                            base: &base,
                            exponent: &base,
                            modulus: &modulus,
                            result,
                        })
                        .collect();
                    for jobs in jobs.chunks_mut(engine.lanes()) {
                        engine.modexp_batch(jobs);
                    }
                });
            });
            group.finish();
        }
    }
}

fn keys(criterion: &mut Criterion) {
    for (name, engine) in engines() {
        let mut group = criterion.benchmark_group(name);
        let mut random = generator(b"operations");
        let mut private = key(engine);
        let input = [0x5a; 255];
        group.bench_function("private 2048", |bencher| {
            bencher.iter(|| rsa::private_raw(&mut private, &input, &mut random));
        });
        let public = key(engine).public().clone();
        group.bench_function("public 2048", |bencher| {
            bencher.iter(|| rsa::public_raw(&public, &input));
        });
        group.sample_size(20);
        group.bench_function("generate 2048", |bencher| {
            bencher.iter(|| rsa::generate_with(engine, 2048, 65537, &mut random, &mut || false));
        });
        group.finish();
    }
}

criterion_group!(rsa_engines, arithmetic, keys);
criterion_main!(rsa_engines);
