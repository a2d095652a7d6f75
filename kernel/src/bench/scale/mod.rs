//! Growth: the same calls on machines of different sizes. The runner boots each machine and asks for one kind by name, so
//! these are not among what `bench` measures without a name.
//!
//! ```text
//! bench scale/pages   with 1 to 99 % of this machine's memory in use
//! bench scale/cma     with this machine's CMA area 0, 50 and 100 % full of movable pages
//! ```

mod areas;
mod used;

use super::{Error, Instructions, Run, cma, objects, pages, vmalloc};

/// Whether growth is asked for: then nothing else is.
pub fn wanted(filter: &str) -> bool {
    filter.starts_with("scale/")
}

pub fn run(run: &mut Run<'_, '_>) {
    used::run(run);
    areas::run(run);
}
