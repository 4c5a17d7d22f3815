//! How object storage is reached, as it is typed, for every command that opens places.

use crate::storage::Places;
use crate::storage::s3::S3Options;
use clap::Args;

/// Object storage.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Object storage")]
pub struct StorageArgs {
    /// The server of s3:// places, where it is not the cloud's [env: AWS_ENDPOINT_URL too]
    #[arg(long, value_name = "URL", env = "AWS_ENDPOINT_URL_S3")]
    pub s3_endpoint: Option<String>,
}

impl StorageArgs {
    /// What opens places so.
    pub fn places(&self) -> Places {
        Places::new(S3Options { endpoint: self.s3_endpoint.clone(), ..S3Options::default() })
    }
}
