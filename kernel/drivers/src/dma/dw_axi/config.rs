//! The node of the controller.
//!
//! | property | | limits |
//! |---|---|---|
//! | `dma-channels` | required | 1 to 16 |
//! | `snps,dma-masters` | required | 1 or 2 |
//! | `snps,data-width` | required | 0 to 6: 8 to 512 bits |
//! | `snps,block-size` | required, one a channel | 1 to 0x200000 items |
//! | `snps,priority` | required, one a channel | 0 to `dma-channels` - 1, 0 is the lowest |
//! | `snps,axi-max-burst-len` | optional | 1 to 256 beats |

use crate::dma::{Caps, Directions};
use core::fmt;
use dt::Node;

/// Channels that the hardware can have.
pub(super) const MAX_CHANNELS: usize = 16;
const MAX_MASTERS: u32 = 2;
const MAX_DATA_WIDTH: u32 = 6;
const MAX_BLOCK_SIZE: u32 = 0x20_0000;
const MAX_BURST: u32 = 256;

/// What is wrong with the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// A required property is absent, or not made of cells.
    Missing {
        /// Its name.
        property: &'static str,
    },
    /// A value is out of its range.
    Range {
        /// The property.
        property: &'static str,
        /// Which of its cells.
        index: usize,
        /// The value.
        value: u32,
        /// The smallest one allowed.
        min: u32,
        /// The largest one allowed.
        max: u32,
    },
    /// A list has not one cell a channel.
    Count {
        /// The property.
        property: &'static str,
        /// Cells it has.
        cells: usize,
        /// Channels.
        channels: usize,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { property } => write!(f, "property {property} is missing"),
            Self::Range { property, index, value, min, max } => {
                write!(f, "{property}[{index}] is {value}, not {min} to {max}")
            }
            Self::Count { property, cells, channels } => {
                write!(f, "{property} has {cells} cells for {channels} channels")
            }
        }
    }
}

impl core::error::Error for ConfigError {}

/// A controller as its node describes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Channels.
    pub channels: usize,
    /// AXI masters.
    pub masters: u32,
    /// The widest item, as a power of two of bytes.
    pub data_width: u32,
    /// The longest burst, in beats; `None` for the hardware's own limit.
    pub max_burst: Option<u32>,
    block_size: [u32; MAX_CHANNELS],
    priority: [u32; MAX_CHANNELS],
}

impl Config {
    /// The `compatible` of the binding.
    pub const COMPATIBLE: &'static str = "snps,axi-dma-1.01a";

    /// Reads and checks a node.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn parse(node: Node<'_>) -> Result<Self, ConfigError> {
        let channels = cell(node, "dma-channels", 1, MAX_CHANNELS as u32)? as usize;
        let max_burst = match node.has("snps,axi-max-burst-len") {
            true => Some(cell(node, "snps,axi-max-burst-len", 1, MAX_BURST)?),
            false => None,
        };
        Ok(Self {
            channels,
            masters: cell(node, "snps,dma-masters", 1, MAX_MASTERS)?,
            data_width: cell(node, "snps,data-width", 0, MAX_DATA_WIDTH)?,
            max_burst,
            block_size: list(node, "snps,block-size", channels, 1, MAX_BLOCK_SIZE)?,
            priority: list(node, "snps,priority", channels, 0, channels as u32 - 1)?,
        })
    }

    /// Items in a block of `channel`; `None` without such a channel.
    #[must_use]
    pub fn block_size(&self, channel: usize) -> Option<u32> {
        self.block_size[..self.channels].get(channel).copied()
    }

    /// The priority of `channel`; `None` without such a channel.
    #[must_use]
    pub fn priority(&self, channel: usize) -> Option<u32> {
        self.priority[..self.channels].get(channel).copied()
    }

    /// What `channel` can do, as for any engine: the longest segment is a block of the widest items.
    #[must_use]
    pub fn caps(&self, channel: usize) -> Option<Caps> {
        let max_segment = self.block_size(channel)? << self.data_width;
        Some(Caps { align: 1, max_segment, directions: Directions { mem_to_mem: true, slave: true } })
    }
}

fn check(property: &'static str, index: usize, value: u32, min: u32, max: u32) -> Result<u32, ConfigError> {
    let inside = (min..=max).contains(&value);
    if inside { Ok(value) } else { Err(ConfigError::Range { property, index, value, min, max }) }
}

fn cell(node: Node<'_>, property: &'static str, min: u32, max: u32) -> Result<u32, ConfigError> {
    let value = node.u32(property).ok_or(ConfigError::Missing { property })?;
    check(property, 0, value, min, max)
}

fn list(
    node: Node<'_>,
    property: &'static str,
    channels: usize,
    min: u32,
    max: u32,
) -> Result<[u32; MAX_CHANNELS], ConfigError> {
    let cells = node.property(property).ok_or(ConfigError::Missing { property })?;
    let count = cells.cells().count();
    if count != channels {
        return Err(ConfigError::Count { property, cells: count, channels });
    }
    let mut values = [0; MAX_CHANNELS];
    for (index, value) in cells.cells().enumerate() {
        values[index] = check(property, index, value, min, max)?;
    }
    Ok(values)
}
