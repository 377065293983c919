//! The VMs of the story: real encrypted files in a private folder, with a real TPM for as long as a VM is on.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tpm_attest::client::{Client, Transmit};
use tpm_engine::{Profile, Tpm};
use tpm_server::Signals;
use tpm_wire::commands::{Shutdown, Startup};
use tpm_wire::constants::TpmSu;
use vm_store::key_provider::{Flavour, ProviderFolder};
use vm_store::{
    Contents, Datastore as _, FolderDatastore, KeyId, KeyProvider, LinuxBackend, NewVm,
    OpenOptions, SectionKind, StoreError, VmFile,
};

use crate::cli::private_folder::PrivateFolder;
use crate::platform;

/// A datastore and the key provider under which its VMs are sealed.
pub(super) struct Hosts {
    datastore: FolderDatastore,
    provider: Arc<dyn KeyProvider>,
    key: KeyId,
    folder: PrivateFolder,
}

/// A VM that is on.
pub(super) struct Machine {
    pub(super) name: String,
    file: VmFile,
    tpm: Tpm,
}

/// What lay in a VM's folder at some time.
pub(super) struct Backup(Vec<(PathBuf, Vec<u8>)>);

impl Hosts {
    pub(super) fn new() -> anyhow::Result<Self> {
        let folder = PrivateFolder::new().context("a private folder for the demonstration")?;
        let keys = ProviderFolder::open(&LinuxBackend, &folder.path().join("providers"))?;
        let provider: Arc<dyn KeyProvider> = Arc::new(keys.create("demo-keys", Flavour::Local)?);
        Ok(Self {
            datastore: FolderDatastore::claim(&LinuxBackend, &folder.path().join("datastore"))?,
            key: provider.new_key()?,
            provider,
            folder,
        })
    }

    /// A VM with a new TPM; it is off.
    pub(super) fn create(&self, name: &str) -> anyhow::Result<()> {
        let mut tpm = Tpm::new(Profile::default(), real());
        self.create_with(name, &mut tpm)
    }

    /// A VM with a copy of the TPM of another, which may be on; the copy is off.
    pub(super) fn copy(&self, source: &mut Machine, name: &str) -> anyhow::Result<()> {
        let mut tpm = Tpm::load(&source.tpm.permanent_state(), real())
            .map_err(|error| anyhow::anyhow!("the copied state: {error}"))?;
        tpm.fork();
        self.create_with(name, &mut tpm)
    }

    fn create_with(&self, name: &str, tpm: &mut Tpm) -> anyhow::Result<()> {
        let contents = Contents::of_tpm(tpm.permanent_state());
        let vm = NewVm::new(name)?;
        let file = self
            .datastore
            .create(&vm, &contents, &*self.provider, &self.key)?;
        Ok(file.close()?)
    }

    /// Switches a VM on; its file must be of this generation at least, if one is known.
    pub(super) fn start(
        &self,
        name: &str,
        minimum_generation: Option<u64>,
    ) -> anyhow::Result<Machine> {
        let (file, contents) = self.open(name, minimum_generation)?;
        let state = contents
            .get(SectionKind::TPM_PERMANENT)
            .context("the VM has no TPM")?;
        let tpm =
            Tpm::load(state, real()).map_err(|error| anyhow::anyhow!("the state: {error}"))?;
        let mut machine = Machine {
            name: name.to_owned(),
            file,
            tpm,
        };
        machine.client().run(&Startup {
            startup_type: TpmSu::Clear,
        })?;
        Ok(machine)
    }

    /// Opens the files of a VM that is off.
    pub(super) fn open(
        &self,
        name: &str,
        minimum_generation: Option<u64>,
    ) -> Result<(VmFile, Contents), StoreError> {
        let options = OpenOptions {
            minimum_generation,
            ..OpenOptions::default()
        };
        self.datastore.open(name, &self.provider, &options)
    }

    /// All that lies in the folder of a VM.
    pub(super) fn backup(&self, name: &str) -> anyhow::Result<Backup> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.vm_folder(name))? {
            let path = entry?.path();
            files.push((path.clone(), fs::read(path)?));
        }
        Ok(Backup(files))
    }

    /// Changes one byte of the state that a VM's file holds, between what was there before and what is there now; says which.
    pub(super) fn flip_a_byte(&self, name: &str, before: &Backup) -> anyhow::Result<usize> {
        let path = self.vm_folder(name).join(format!("{name}.nvram"));
        let mut bytes = fs::read(&path)?;
        let old = before.0.iter().find(|(old, _)| *old == path);
        let old = &old.context("the file is new")?.1;
        // Where the file changed, the newest state lies; at its edges, a sector may look torn by a power cut, and would be mended.
        let changed: Vec<usize> = bytes
            .iter()
            .zip(old)
            .enumerate()
            .filter(|(_, (new, old))| new != old)
            .map(|(place, _)| place)
            .filter(|place| (64..448).contains(&(place % 512)))
            .collect();
        let place = changed.get(changed.len() / 2).copied();
        let place = place.context("nothing was written since")?;
        if let Some(byte) = bytes.get_mut(place) {
            *byte ^= 1;
        }
        fs::write(path, bytes)?;
        Ok(place)
    }

    fn vm_folder(&self, name: &str) -> PathBuf {
        self.folder.path().join("datastore").join(name)
    }
}

impl Backup {
    /// Puts everything back as it was.
    pub(super) fn restore(&self) -> anyhow::Result<()> {
        for (path, bytes) in &self.0 {
            let name = || Path::display(path).to_string();
            fs::write(path, bytes).with_context(name)?;
        }
        Ok(())
    }
}

impl Machine {
    /// A client of the TPM; what a command changed is on stable storage before its answer comes.
    pub(super) fn client(&mut self) -> Client<impl Transmit + '_> {
        Client::new(|command: &[u8]| {
            let response = self.tpm.execute(command).to_vec();
            if self.tpm.must_persist() {
                let contents = Contents::of_tpm(self.tpm.permanent_state());
                self.file.save(&contents).map_err(std::io::Error::other)?;
            }
            Ok(response)
        })
    }

    /// Switches the VM off, and says of which generation its file is.
    pub(super) fn stop(mut self) -> anyhow::Result<u64> {
        self.client().run(&Shutdown {
            shutdown_type: TpmSu::Clear,
        })?;
        let generation = self.file.generation();
        self.file.close()?;
        Ok(generation)
    }
}

fn real() -> Box<dyn tpm_engine::Platform> {
    platform::real()(&Arc::new(Signals::default()))
}
