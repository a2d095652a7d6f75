//! Who writes and who reads a streaming buffer, as a value and as types.

use core::fmt;

/// The direction of a transfer (`enum dma_data_direction`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum DmaDirection {
    /// Both write.
    Bidirectional,
    /// The device reads.
    ToDevice,
    /// The device writes.
    FromDevice,
}

impl DmaDirection {
    /// Whether the device may write the buffer.
    #[must_use]
    pub const fn device_writes(self) -> bool {
        !matches!(self, Self::ToDevice)
    }
}

impl fmt::Display for DmaDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bidirectional => "DMA_BIDIRECTIONAL",
            Self::ToDevice => "DMA_TO_DEVICE",
            Self::FromDevice => "DMA_FROM_DEVICE",
        })
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A direction as a type.
pub trait Direction: sealed::Sealed {
    /// The same as a value.
    const DIRECTION: DmaDirection;
}

macro_rules! direction {
    ($($(#[$doc:meta])* $name:ident),+) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub enum $name {}

            impl sealed::Sealed for $name {}

            impl Direction for $name {
                const DIRECTION: DmaDirection = DmaDirection::$name;
            }
        )+
    };
}

direction! {
    /// Both write.
    Bidirectional,
    /// The device reads.
    ToDevice,
    /// The device writes.
    FromDevice
}
