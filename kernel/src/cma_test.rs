//! `/dev/cma_test`, and `replay ssd202`.

use crate::dma::{Buffer, alloc_coherent, free};
use crate::memory;
use arch_armv7::cpu::IrqLock;
use dma::Device;
use drivers::cma_test::replay::Replay;
use drivers::cma_test::{CmaTest, CoherentBuffers, Place};
use mm::Gfp;
use mm::cma::CmaId;
use shell::{Command, Context, Control, Failure, FsError, Output, Vfs};
use types::Pfn;

static TEST: IrqLock<Option<CmaTest<Buffer>>> = IrqLock::new(None);
static REPLAYED: IrqLock<Option<Replay<Buffer>>> = IrqLock::new(None);

/// Buffers of a device.
struct Buffers(Device<'static, CmaId>);

impl CoherentBuffers for Buffers {
    type Buffer = Buffer;

    /// From CMA or not at all: the DMA API's other sources are not what is to be shown here.
    fn alloc(&mut self, size: u32) -> Option<Buffer> {
        let buffer = alloc_coherent(&self.0, size, Gfp::KERNEL).ok()?;
        if memory::with(|mm| mm.cma.area_of(Pfn::containing(buffer.phys())).is_some()) == Some(true) {
            return Some(buffer);
        }
        free(buffer);
        None
    }

    fn free(&mut self, buffer: Buffer) {
        free(buffer);
    }

    fn place(buffer: &Buffer) -> Place {
        Place::of(buffer)
    }

    fn store(buffer: &mut Buffer, offset: u32, word: u32) {
        buffer.write_u32(offset as usize, word);
    }
}

/// Registers the driver.
pub fn start() {
    *TEST.lock() = Some(CmaTest::register());
}

/// Runs `work` on the driver, which is out of its lock meanwhile: what it does may sleep.
fn with(work: impl FnOnce(&mut CmaTest<Buffer>, &mut Buffers)) -> Result<(), FsError> {
    let taken = TEST.lock().take();
    let mut test = taken.ok_or(FsError::Busy)?;
    work(&mut test, &mut Buffers(Device::new("cma_test")));
    *TEST.lock() = Some(test);
    Ok(())
}

/// Adds its file.
pub fn files(vfs: &mut Vfs) -> Result<(), FsError> {
    let read = |_: &mut dyn Output| with(CmaTest::read);
    vfs.add("/dev/cma_test", Control(read, |_: &str| with(CmaTest::write)))
}

pub const REPLAY: Command = Command {
    name: "replay",
    usage: "ssd202",
    help: "make the allocations of the SSD202's drivers; again: give them back",
    run: replay,
};

fn replay(context: &mut Context<'_>) -> Result<(), Failure> {
    if context.args.len() != 1 || context.args[0] != "ssd202" {
        return Err(Failure::Usage);
    }
    let mut buffers = Buffers(Device::new("soc"));
    let before = REPLAYED.lock().take();
    if let Some(replay) = before {
        replay.free(&mut buffers);
        return Ok(());
    }
    match Replay::run(&mut buffers) {
        Ok(replay) => {
            *REPLAYED.lock() = Some(replay);
            Ok(())
        }
        Err(error) => {
            context.report("ssd202", &error);
            Err(Failure::Status(1))
        }
    }
}
