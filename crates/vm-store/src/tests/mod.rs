//! Tests over whole files: power cuts, damage, keys, life of VMs.

mod damage;
mod encryption;
mod fixtures;
mod keys;
mod offline;
mod power;
mod snapshots;
mod vms;

use crate::{
    Contents, Datastore, FolderDatastore, KeyId, KeyProvider, NewVm, SectionKind, VmFile,
    backend::{Backend, simulated::SimulatedBackend},
    key_provider::{Flavour, ProviderFolder},
};
use std::{collections::BTreeMap, path::Path, sync::Arc};

type Ring = BTreeMap<String, Arc<dyn KeyProvider>>;

const DATASTORE: &str = "/data/datastore";
const PROVIDERS: &str = "/data/providers";

fn ring(provider: impl KeyProvider + 'static) -> Ring {
    let provider: Arc<dyn KeyProvider> = Arc::new(provider);
    Ring::from([(provider.name().to_owned(), provider)])
}

/// An active provider `kp1` on a backend.
fn provider(backend: &dyn Backend) -> Ring {
    let folder = ProviderFolder::open(backend, Path::new(PROVIDERS)).unwrap();
    let provider = folder.create("kp1", Flavour::Native).unwrap();
    provider.mark_backed_up().unwrap();
    ring(provider)
}

fn the_key(ring: &Ring) -> (Arc<dyn KeyProvider>, KeyId) {
    let provider = ring.values().next().unwrap();
    (Arc::clone(provider), provider.new_key().unwrap())
}

fn datastore(backend: &dyn Backend) -> FolderDatastore {
    FolderDatastore::open(backend, Path::new(DATASTORE)).unwrap()
}

fn create(backend: &dyn Backend, ring: &Ring, name: &str, contents: &Contents) -> VmFile {
    let (provider, key_id) = the_key(ring);
    datastore(backend)
        .create(&NewVm::new(name).unwrap(), contents, &*provider, &key_id)
        .unwrap()
}

/// Contents that can be told apart, of any size.
fn contents(number: u64, length: usize) -> Contents {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(length.max(8), u8::try_from(number % 251).unwrap());
    let mut contents = Contents::of_tpm(bytes);
    contents.set(SectionKind::UEFI_VARIABLES, number.to_be_bytes().to_vec());
    contents
}

fn simulated() -> (SimulatedBackend, Ring) {
    let backend = SimulatedBackend::new();
    let ring = provider(&backend);
    (backend, ring)
}
