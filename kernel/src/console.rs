//! The shell on the console, and the machine as it sees it.

use crate::memory::{self, start::Lacking};
use crate::{crash, devices, ktest, log as kernel_log, misuse};
use alloc::string::String;
use core::fmt;
use shell::dmesg::{MAX_TEXT, Record};
use shell::selftest::Test;
use shell::{CrashKind, FsError, Output, Shell, System, Vfs};

/// The console's port.
struct Port;

impl fmt::Write for Port {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_bytes(text.as_bytes())
    }
}

impl Output for Port {
    fn write_bytes(&mut self, bytes: &[u8]) -> fmt::Result {
        devices::write(bytes);
        Ok(())
    }
}

struct Machine;

impl System for Machine {
    fn read_byte(&mut self) -> Option<u8> {
        devices::read_byte()
    }

    fn poweroff(&mut self) -> FsError {
        log::info!("reboot: Power down");
        devices::power(false);
        FsError::NoDevice
    }

    fn reboot(&mut self) -> FsError {
        log::info!("reboot: Restarting system");
        devices::power(true);
        FsError::NoDevice
    }

    fn crash(&mut self, kind: CrashKind) -> FsError {
        match kind {
            CrashKind::Panic => crash::panic(),
            CrashKind::Abort => crash::abort(),
            CrashKind::Undef => crash::undef(),
            CrashKind::Stack => crash::stack(),
            CrashKind::DoubleFree => return misuse::report(misuse::double_free),
            CrashKind::ObjectDoubleFree => return misuse::report(misuse::object_double_free),
            CrashKind::PageAfterFree => return misuse::report(misuse::page_after_free),
            CrashKind::ObjectAfterFree => return misuse::report(misuse::object_after_free),
            CrashKind::ObjectOverrun => return misuse::report(misuse::object_overrun),
        }
        FsError::Io
    }

    fn log_record(&mut self, seq: u64, text: &mut String) -> Option<Record> {
        let mut bytes = alloc::vec::Vec::with_capacity(MAX_TEXT);
        let record = kernel_log::read(seq, &mut |part| bytes.extend_from_slice(part))?;
        text.clear();
        // The log keeps whole characters.
        text.push_str(core::str::from_utf8(&bytes).unwrap_or_default());
        Some(record)
    }

    fn rest(&mut self) {
        memory::kswapd();
    }

    fn lacking(&self) -> Option<String> {
        let lacking = memory::with(|mm| Lacking::of(mm.pages.buddy())).flatten()?;
        Some(alloc::format!("{lacking}"))
    }

    fn tests(&self) -> &'static [Test] {
        ktest::all()
    }
}

/// Runs the console for good.
pub fn run(vfs: Vfs) -> ! {
    let mut shell = Shell::new(vfs);
    shell.register(crate::cma_test::REPLAY);
    shell.register(crate::fb::COMMAND);
    #[cfg(feature = "bench")]
    {
        shell.register(crate::bench::COMMAND);
        shell.register(crate::soak::COMMAND);
    }
    crate::dmadev::commands().into_iter().for_each(|command| shell.register(command));
    shell.register(crate::memhog::COMMAND);
    let (mut port, mut machine) = (Port, Machine);
    // The port takes everything.
    let _ = shell.start(&mut port);
    loop {
        let _ = shell.poll(&mut machine, &mut port);
        devices::idle();
    }
}
