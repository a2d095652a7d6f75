//! Ways to switch the machine off and to restart it.

mod bcm2835;
mod psci;
mod vexpress;

pub use bcm2835::Bcm2835Pm;
pub use psci::{Conduit, FirmwareCall, Psci};
pub use vexpress::VexpressSysreg;

/// A device that can switch the machine off. Both calls return when the request has been made and did not take
/// effect (yet): the caller waits for a while, then tries the next device.
pub trait Power: Send {
    /// The driver's name.
    fn name(&self) -> &'static str;
    /// Asks for power off.
    fn poweroff(&mut self);
    /// Asks for a restart.
    fn reboot(&mut self);
}

#[cfg(test)]
mod tests;
