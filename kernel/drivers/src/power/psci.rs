//! The Power State Coordination Interface: calls to the firmware, or to QEMU in its place.
//!
//! Source: ARM DEN 0022D, 5.1; `arm,psci` binding.

use super::Power;
use core::fmt;

const VERSION: u32 = 0x8400_0000;
const CPU_ON: u32 = 0x8400_0003;
const SYSTEM_OFF: u32 = 0x8400_0008;
const SYSTEM_RESET: u32 = 0x8400_0009;

/// The instruction that reaches the firmware.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conduit {
    /// A hypervisor call.
    Hvc,
    /// A secure monitor call.
    Smc,
}

impl Conduit {
    /// From the `method` property.
    #[must_use]
    pub fn from_method(method: &str) -> Option<Self> {
        match method {
            "hvc" => Some(Self::Hvc),
            "smc" => Some(Self::Smc),
            _ => None,
        }
    }
}

/// Calls the firmware with r0 to r3; gives r0 back. The kernel passes `arch-armv7`'s.
pub type FirmwareCall = fn(Conduit, [u32; 4]) -> u32;

/// The firmware's power interface, version 0.2 or later.
#[derive(Clone, Copy)]
pub struct Psci {
    conduit: Conduit,
    call: FirmwareCall,
}

impl fmt::Debug for Psci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Psci({:?})", self.conduit)
    }
}

impl Psci {
    /// The interface behind this conduit.
    #[must_use]
    pub const fn new(conduit: Conduit, call: FirmwareCall) -> Self {
        Self { conduit, call }
    }

    /// Major and minor version.
    #[must_use]
    pub fn version(&self) -> (u16, u16) {
        let version = (self.call)(self.conduit, [VERSION, 0, 0, 0]);
        ((version >> 16) as u16, version as u16)
    }

    /// Starts the CPU with this MPIDR at the physical address `entry`, with `context` in r0.
    ///
    /// # Errors
    /// The firmware's (negative) status.
    pub fn cpu_on(&self, mpidr: u32, entry: u32, context: u32) -> Result<(), i32> {
        match (self.call)(self.conduit, [CPU_ON, mpidr, entry, context]) as i32 {
            0 => Ok(()),
            status => Err(status),
        }
    }
}

impl Power for Psci {
    fn name(&self) -> &'static str {
        "psci"
    }

    fn poweroff(&mut self) {
        (self.call)(self.conduit, [SYSTEM_OFF, 0, 0, 0]);
    }

    fn reboot(&mut self) {
        (self.call)(self.conduit, [SYSTEM_RESET, 0, 0, 0]);
    }
}
