//! Exceptions: what interrupted programs look like ([`Frame`]), what went wrong ([`Fault`]), who called
//! ([`Backtrace`]); on the target, the vectors and the hooks that the kernel fills.

mod backtrace;
mod fault;
mod frame;
#[cfg(all(target_arch = "arm", target_os = "none"))]
mod hooks;

pub use backtrace::Backtrace;
pub use fault::{Fault, FaultStatus};
pub use frame::Frame;
#[cfg(all(target_arch = "arm", target_os = "none"))]
pub use hooks::{
    DataAbortHandler, Handled, TraceEvent, TraceHandler, backtrace, capture, enable_async_aborts, init,
    set_data_abort_handler, set_fatal_handler, set_irq_handler, set_prefetch_abort_handler, set_tracer,
    vectors_page,
};
