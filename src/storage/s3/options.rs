//! What is needed to reach object storage. It opens nothing, and holds no secret.

/// How object storage is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct S3Options {
    /// Another server than the cloud's, as a URL. `None`: as `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL` say, else the cloud's.
    pub endpoint: Option<String>,
}
