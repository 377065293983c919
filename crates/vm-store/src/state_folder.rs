//! The state folder of `vtpm swtpm`, `vtpm simulator` and `vtpm run`: a datastore with one VM, and its key beside it.

use crate::{
    backend::Backend,
    contents::Contents,
    datastore::{Datastore, NewVm},
    directory::FolderDatastore,
    error::{KeyProviderError, StoreError},
    key_provider::{KeyProvider, LOCAL_PROVIDER_NAME, ProviderFolder},
    nvram::Unplaced,
    vm_file::{OpenOptions, VmFile},
};
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// Name of the one VM in a state folder.
pub const STATE_NAME: &str = "tpm";

/// Where the key of a state folder is.
#[derive(Debug, Clone)]
pub enum StateKey {
    /// In `local.provider.json` beside the state; made with the state.
    Beside,
    /// At a provider that the caller has (`--key file=...`). State whose key is beside it is put under this one when it is opened.
    Given(Arc<dyn KeyProvider>),
}

/// A state folder, for this process alone as long as this value or the `VmFile` from it lives.
#[derive(Debug)]
pub struct StateFolder {
    datastore: FolderDatastore,
    providers: ProviderFolder,
    key: StateKey,
}

impl StateFolder {
    /// Opens a folder, made if it is not there, and claims it.
    pub fn open(backend: &dyn Backend, path: &Path, key: StateKey) -> Result<Self, StoreError> {
        let datastore = FolderDatastore::claim(backend, path)?;
        let providers = ProviderFolder::in_folder(Arc::clone(datastore.folder()));
        Ok(Self {
            datastore,
            providers,
            key,
        })
    }

    /// Whether the folder holds a TPM already. If so, `load` opens it or says why it cannot: an empty one is never made instead.
    pub fn exists(&self) -> Result<bool, StoreError> {
        // A folder without settings is a state that lost a file, not a new start.
        match self.datastore.folder().open_folder(STATE_NAME) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => {
                let path = self.datastore.location().join(STATE_NAME);
                Err(StoreError::io("open", &path)(error))
            }
        }
    }

    /// Opens the TPM that the folder holds; `None` if there is none yet.
    pub fn load(&self, options: &OpenOptions) -> Result<Option<(VmFile, Contents)>, StoreError> {
        if !self.exists()? {
            return Ok(None);
        }
        let mut known: BTreeMap<String, Arc<dyn KeyProvider>> = BTreeMap::new();
        let failed = StoreError::provider(self.datastore.location());
        match self.providers.load(LOCAL_PROVIDER_NAME) {
            Ok(provider) => {
                known.insert(LOCAL_PROVIDER_NAME.to_owned(), Arc::new(provider));
            }
            // Then opening says which provider the state needs.
            Err(KeyProviderError::NoSuchProvider { .. }) => {}
            Err(error) => return Err(failed(error)),
        }
        if let StateKey::Given(provider) = &self.key {
            known.insert(provider.name().to_owned(), Arc::clone(provider));
        }
        let (mut file, contents) = self.datastore.open(STATE_NAME, &known, options)?;
        if let StateKey::Given(provider) = &self.key
            && known.contains_key(LOCAL_PROVIDER_NAME)
            && provider.name() != LOCAL_PROVIDER_NAME
        {
            // From now on under the key that was given; the one beside the state goes once nothing needs it any more.
            if file.binding().locator.provider == LOCAL_PROVIDER_NAME {
                let key_id = provider.new_key().map_err(failed)?;
                file.rewrap(&**provider, &key_id)?;
            }
            let failed = StoreError::provider(self.datastore.location());
            self.providers.delete(LOCAL_PROVIDER_NAME).map_err(failed)?;
        }
        Ok(Some((file, contents)))
    }

    /// Removes the TPM that the folder holds.
    pub fn remove(&self) -> Result<(), StoreError> {
        self.datastore.remove_folder(STATE_NAME)
    }

    /// Puts the first contents into a folder that holds no TPM.
    pub fn create(&self, contents: &Contents) -> Result<VmFile, StoreError> {
        let failed = StoreError::provider(self.datastore.location());
        let (provider, beside) = self.provider().map_err(failed)?;
        let failed = StoreError::provider(self.datastore.location());
        let key_id = provider.new_key().map_err(failed)?;
        let vm = NewVm::new(STATE_NAME)?;
        self.datastore
            .create_with(&vm, contents, (&*provider, &key_id), beside)
    }

    /// The provider, and its file if that is new.
    fn provider(&self) -> Result<(Arc<dyn KeyProvider>, Option<Unplaced<'_>>), KeyProviderError> {
        Ok(match &self.key {
            StateKey::Given(provider) => (Arc::clone(provider), None),
            StateKey::Beside => match self.providers.load(LOCAL_PROVIDER_NAME) {
                Err(KeyProviderError::NoSuchProvider { .. }) => {
                    let (provider, file) = self.providers.create_local()?;
                    (Arc::new(provider), Some(file))
                }
                other => (Arc::new(other?), None),
            },
        })
    }
}
