//! The Synopsys DesignWare AXI DMA controller: its node, and how it would cut a copy.
//!
//! Newer chips of the SSD202's maker have one (`seeds`). No emulated board does, so there are no registers here: the
//! node is read and checked into a [`Config`], and [`Config::plan`] cuts copies into what a channel takes.
//!
//! Source: binding `snps,dw-axi-dmac.txt`; limits of the hardware as Linux 6.1 `drivers/dma/dw-axi-dmac` knows them.

mod blocks;
mod config;

pub use blocks::{Block, Blocks};
pub use config::{Config, ConfigError};
