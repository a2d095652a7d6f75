//! Event counters. Those of the page allocator are bumped here; the others by whoever does the work, so that
//! `/proc/vmstat` has one source.

/// Events since boot, named as in `/proc/vmstat`; they wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VmStat {
    /// Pages allocated, by zone.
    pub pgalloc: [u32; 3],
    /// Requests that had to wait for direct reclaim, by zone.
    pub allocstall: [u32; 3],
    /// Requests that went below a low mark and asked for background reclaim.
    pub pageoutrun: u32,
    /// Pages given back by reclaimers on behalf of a request.
    pub pgsteal_direct: u32,
    /// Pages given back by reclaimers in the background.
    pub pgsteal_kswapd: u32,
    /// Data and prefetch aborts on user memory.
    pub pgfault: u32,
    /// Those that needed something to be read; none do.
    pub pgmajfault: u32,
    /// Pages moved.
    pub pgmigrate_success: u32,
    /// Pages that could not be moved.
    pub pgmigrate_fail: u32,
    /// `cma_alloc` calls that gave pages.
    pub cma_alloc_success: u32,
    /// `cma_alloc` calls that failed.
    pub cma_alloc_fail: u32,
    /// Shrinker passes that freed slabs.
    pub slabs_scanned: u32,
    /// `drop_caches` writes.
    pub drop_slab: u32,
    /// Compaction runs.
    pub compact_stall: u32,
    /// Those that made the block.
    pub compact_success: u32,
    /// Those that did not.
    pub compact_fail: u32,
    /// Pages pinned by their users.
    pub nr_foll_pin_acquired: u32,
    /// Pages unpinned by their users.
    pub nr_foll_pin_released: u32,
    /// Requests from a context that can't sleep with flags that may.
    pub atomic_bugs: u32,
    /// Frees that were refused.
    pub bad_frees: u32,
    /// Pages of caches whose objects can be given back, which the slab allocator counts.
    pub nr_slab_reclaimable: u32,
    /// KiB of kernel stacks.
    pub nr_kernel_stack: u32,
}
