//! The three classes that every error of the program falls into, given once where the error is made.
//!
//! It holds no error type of its own: each module has its own, by thiserror, and implements [`Classified`].

/// What may be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A retry may succeed: the network, a busy store, a full disk.
    Transient,
    /// It will always fail: a bad recording, a bad mapping, a missing permission.
    Permanent,
    /// The right to do it is gone: somebody else owns the job or the lease.
    Lost,
}

/// An error that knows its class.
pub trait Classified {
    /// The class, decided where the error was made.
    fn class(&self) -> Class;
}
