//! The QEMU process: started with its serial line in our hands, never left behind.
//!
//! It dies with its [`Machine`]; on Linux also with this process, however that ends. That request to the system
//! is the crate's one `unsafe` block.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::plan::QEMU;
use crate::session::Input;

/// A running QEMU.
#[derive(Debug)]
pub struct Machine {
    child: Child,
    serial: ChildStdin,
}

impl Machine {
    /// Starts QEMU. What the guest writes arrives on `inputs`.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(args: &[String], inputs: Sender<Input>) -> Result<Self> {
        let mut command = Command::new(QEMU);
        command.args(args);
        // In a group of its own, so that Ctrl-C reaches us alone and the session ends as interrupted.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        die_with_parent(&mut command);
        let mut child = command.spawn().map_err(Error::start(QEMU))?;
        let (Some(serial), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            unreachable!("both were asked for as pipes")
        };
        thread::spawn(move || forward(output, &inputs));
        Ok(Self { child, serial })
    }

    /// Where the guest reads.
    pub fn serial(&mut self) -> &mut ChildStdin {
        &mut self.serial
    }

    /// How QEMU ended, if it did so by itself: its output ends a little earlier than the process.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + Duration::from_millis(500);
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(5)),
                Ok(status) => return status,
                Err(_) => return None,
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward(mut output: ChildStdout, inputs: &Sender<Input>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = output.read(&mut buffer) {
        if inputs.send(Input::Guest(buffer[..count].to_vec())).is_err() {
            return;
        }
    }
    // Nobody listens any more when the session ended first.
    let _ = inputs.send(Input::GuestEnd);
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn die_with_parent(command: &mut Command) {
    let ask = || Ok(rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?);
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; this is a single prctl, without
    // allocation or locks.
    unsafe {
        command.pre_exec(ask);
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_: &mut Command) {}
