//! What can go wrong with a file, in Linux's words (`errno` and its `strerror` texts).

use core::fmt;

/// Why reading or writing a file, or an operation on the machine, failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FsError {
    /// `ENOENT`. The console contract shortens Linux's "No such file or directory".
    NotFound,
    /// `EACCES`: not readable, or not writable.
    PermissionDenied,
    /// `EINVAL`: the text written does not mean anything to the file.
    InvalidArgument,
    /// `ERANGE`: a number out of range.
    OutOfRange,
    /// `EISDIR`.
    IsDirectory,
    /// `ENOTDIR`: a part of the path is a file.
    NotDirectory,
    /// `EEXIST`: the path is taken.
    Exists,
    /// `EIO`: the device failed.
    Io,
    /// `ENOMEM`.
    NoMemory,
    /// `EBUSY`.
    Busy,
    /// `ENODEV`: the machine has no such device.
    NoDevice,
    /// `EFBIG`: more than the shell buffers for a redirection.
    TooLarge,
    /// `EOPNOTSUPP`.
    Unsupported,
    /// `EINTR`: Ctrl-C.
    Interrupted,
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "No such file",
            Self::PermissionDenied => "Permission denied",
            Self::InvalidArgument => "Invalid argument",
            Self::OutOfRange => "Numerical result out of range",
            Self::IsDirectory => "Is a directory",
            Self::NotDirectory => "Not a directory",
            Self::Exists => "File exists",
            Self::Io => "Input/output error",
            Self::NoMemory => "Cannot allocate memory",
            Self::Busy => "Device or resource busy",
            Self::NoDevice => "No such device",
            Self::TooLarge => "File too large",
            Self::Unsupported => "Operation not supported",
            Self::Interrupted => "Interrupted system call",
        })
    }
}

impl core::error::Error for FsError {}

impl From<fmt::Error> for FsError {
    /// A writer refuses text only when it is interrupted or broken; the console tells the two apart itself.
    fn from(_: fmt::Error) -> Self {
        Self::Io
    }
}
