//! Which store is meant, and how it is opened. The one place that tells the engines apart.

use super::sqlite::{Durability, SqliteStore};
use super::tikv::{TikvOptions, TikvStore};
use super::{SharedStore, StoreError};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A store that can be opened, any number of times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorePlace {
    /// A file of this host.
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What a commit survives.
        durability: Durability,
    },
    /// A cluster.
    Tikv(TikvOptions),
}

impl StorePlace {
    /// Opens it. What comes back belongs to the runtime that this is called on. A file that is not there is made; a
    /// cluster that does not answer is tried again for as long as the options say.
    ///
    /// # Errors
    /// The engine's, with what to do.
    pub async fn open(&self) -> Result<SharedStore, StoreError> {
        match self {
            Self::Sqlite { path, durability } => Ok(Arc::new(SqliteStore::open(path, *durability)?)),
            Self::Tikv(options) => Ok(Arc::new(TikvStore::connect(options).await?)),
        }
    }

    /// The file, where the store is one and it is not there.
    pub fn missing_file(&self) -> Option<&PathBuf> {
        match self {
            Self::Sqlite { path, .. } => Some(path).filter(|path| !path.is_file()),
            Self::Tikv(_) => None,
        }
    }
}

impl fmt::Display for StorePlace {
    /// As it is typed, without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { path, .. } => write!(f, "sqlite:{}", path.display()),
            Self::Tikv(options) => options.fmt(f),
        }
    }
}
