//! The events, by group.

/// The `pfn` of an allocation that failed. Real page numbers have 20 bits.
pub const NO_PAGE: u32 = u32::MAX;

events! {
    /// A block was allocated, or could not be: `pfn` is then [`NO_PAGE`].
    kmem mm_page_alloc(pfn: u32, order: u8, migratetype: u8, gfp_flags: u32)
        "kmem:mm_page_alloc pfn={=u32:#x} order={1=28..32} migratetype={1=25..28} gfp_flags={1=0..25:#x}"
        => pfn, u32::from(order) << 28 | u32::from(migratetype) << 25 | gfp_flags;
    /// A block was freed.
    kmem mm_page_free(pfn: u32, order: u8)
        "kmem:mm_page_free pfn={0=0..28:#x} order={0=28..32}"
        => u32::from(order) << 28 | pfn;
    /// A request took free pages of another type: a block of `fallback_order`, or the whole pageblock.
    kmem mm_page_alloc_extfrag(pfn: u32, alloc_order: u8, fallback_order: u8, alloc_migratetype: u8,
        fallback_migratetype: u8, change_ownership: bool)
        "kmem:mm_page_alloc_extfrag pfn={=u32:#x} alloc_order={=u8} fallback_order={=u8} \
         alloc_migratetype={=u8} fallback_migratetype={=u8} change_ownership={=u8}"
        => pfn, alloc_order, fallback_order, alloc_migratetype, fallback_migratetype,
           u8::from(change_ownership);
    /// `kmalloc` gave `ptr`.
    kmem kmalloc[call_site](ptr: usize, bytes_req: usize, gfp_flags: u32)
        "kmem:kmalloc call_site={=u32:#x} ptr={=u32:#x} bytes_req={=u32} gfp_flags={=u32:#x}"
        => call_site, ptr as u32, bytes_req as u32, gfp_flags;
    /// `kfree` was called.
    kmem kfree[call_site](ptr: usize)
        "kmem:kfree call_site={=u32:#x} ptr={=u32:#x}"
        => call_site, ptr as u32;
    /// An object of a cache was allocated.
    kmem kmem_cache_alloc[call_site](ptr: usize, name: &'static str, bytes_req: u32, bytes_alloc: u32, gfp_flags: u32)
        "kmem:kmem_cache_alloc call_site={=u32:#x} ptr={=u32:#x} name=*{=u32:#x}+{=u8} bytes_req={=u16} \
         bytes_alloc={=u16} gfp_flags={=u32:#x}"
        => call_site, ptr as u32, name.as_ptr() as u32, name.len() as u8, bytes_req as u16, bytes_alloc as u16,
           gfp_flags;
    /// An object of a cache was freed.
    kmem kmem_cache_free[call_site](ptr: usize, name: &'static str)
        "kmem:kmem_cache_free call_site={=u32:#x} ptr={=u32:#x} name=*{=u32:#x}+{=u8}"
        => call_site, ptr as u32, name.as_ptr() as u32, name.len() as u8;

    /// `cma_alloc` begins.
    cma cma_alloc_start(name: &'a [u8], count: u32, align: u8)
        "cma:cma_alloc_start name={=str} count={=u32} align={=u8}"
        => crate::value::text(name), count, align;
    /// `cma_alloc` ends; without pages when `pfn` is [`NO_PAGE`].
    cma cma_alloc_finish(name: &'a [u8], pfn: u32, count: u32, align: u8)
        "cma:cma_alloc_finish name={=str} pfn={=u32:#x} count={=u32} align={=u8}"
        => crate::value::text(name), pfn, count, align;
    /// A page in the range at `pfn` did not move; another range is tried.
    cma cma_alloc_busy_retry(name: &'a [u8], pfn: u32, count: u32, align: u8)
        "cma:cma_alloc_busy_retry name={=str} pfn={=u32:#x} count={=u32} align={=u8}"
        => crate::value::text(name), pfn, count, align;
    /// Pages of an area are given back.
    cma cma_release(name: &'a [u8], pfn: u32, count: u32)
        "cma:cma_release name={=str} pfn={=u32:#x} count={=u32}"
        => crate::value::text(name), pfn, count;

    /// What came of an attempt to move pages.
    migrate mm_migrate_pages(nr_succeeded: u32, nr_failed: u32, mode: u8, reason: u8)
        "migrate:mm_migrate_pages nr_succeeded={=u32} nr_failed={=u32} mode={=u8} reason={=u8}"
        => nr_succeeded, nr_failed, mode, reason;
    /// A block moved.
    migrate mm_migrate_page(pfn: u32, new_pfn: u32, order: u8, reason: u8)
        "migrate:mm_migrate_page pfn={=u32:#x} new_pfn={=u32:#x} order={=u8} reason={=u8}"
        => pfn, new_pfn, order, reason;

    /// From here on no page of the range can be allocated.
    page_isolation start_isolate_page_range(start_pfn: u32, end_pfn: u32)
        "page_isolation:start_isolate_page_range start_pfn={=u32:#x} end_pfn={=u32:#x}"
        => start_pfn, end_pfn;
    /// The isolation of the range has ended.
    page_isolation undo_isolate_page_range(start_pfn: u32, end_pfn: u32)
        "page_isolation:undo_isolate_page_range start_pfn={=u32:#x} end_pfn={=u32:#x}"
        => start_pfn, end_pfn;
    /// Whether all of an isolated range is free: up to `fin_pfn` it is.
    page_isolation test_pages_isolated(start_pfn: u32, end_pfn: u32, fin_pfn: u32)
        "page_isolation:test_pages_isolated start_pfn={=u32:#x} end_pfn={=u32:#x} fin_pfn={=u32:#x}"
        => start_pfn, end_pfn, fin_pfn;

    /// A coherent buffer was given to a driver.
    dma dma_alloc_coherent(device: &'a str, dma_addr: u32, size: u32, virt_addr: usize, flags: u32)
        "dma:dma_alloc_coherent device={=str} dma_addr={=u32:#x} size={=u32} virt_addr={=u32:#x} flags={=u32:#x}"
        => crate::value::short(device), dma_addr, size, virt_addr as u32, flags;
    /// A coherent buffer was taken back.
    dma dma_free_coherent(dma_addr: u32, size: u32, virt_addr: usize)
        "dma:dma_free_coherent dma_addr={=u32:#x} size={=u32} virt_addr={=u32:#x}"
        => dma_addr, size, virt_addr as u32;
    /// Memory was given to a device.
    dma dma_map(device: &'a str, dir: u8, dma_addr: u32, size: u32, phys_addr: u32)
        "dma:dma_map device={=str} dir={=u8} dma_addr={=u32:#x} size={=u32} phys_addr={=u32:#x}"
        => crate::value::short(device), dir, dma_addr, size, phys_addr;
    /// Memory was taken back from a device.
    dma dma_unmap(dir: u8, dma_addr: u32, size: u32)
        "dma:dma_unmap dir={=u8} dma_addr={=u32:#x} size={=u32}"
        => dir, dma_addr, size;
    /// Memory changed hands for a while: to the device, or to the CPU.
    dma dma_sync(dir: u8, dma_addr: u32, size: u32, for_device: bool)
        "dma:dma_sync dir={=u8} dma_addr={=u32:#x} size={=u32} for_device={=u8}"
        => dir, dma_addr, size, u8::from(for_device);

    /// An access that the MMU refused.
    exceptions page_fault(address: u32, ip: u32, error_code: u32)
        "exceptions:page_fault address={=u32:#x} ip={=u32:#x} error_code={=u32:#x}"
        => address, ip, error_code;

    /// A range was reserved before there was a page allocator.
    memblock memblock_reserve(base: u32, size: u32, file: &'static str, line: u32)
        "memblock:memblock_reserve base={=u32:#x} size={=u32:#x} file=*{=u32:#x}+{=u8} line={=u16}"
        => base, size, file.as_ptr() as u32, file.len() as u8, line as u16;

    /// A handler begins.
    irq irq_handler_entry(irq: u32, name: &'static str)
        "irq:irq_handler_entry irq={=u16} name=*{=u32:#x}+{=u8}"
        => irq as u16, name.as_ptr() as u32, name.len() as u8;
    /// A handler has ended.
    irq irq_handler_exit(irq: u32, handled: bool)
        "irq:irq_handler_exit irq={=u16} ret={=u8}"
        => irq as u16, u8::from(handled);

    /// What the counters are now, which proves that no event is missing. What the host has to know besides: the timer's
    /// counter, its value at boot and ticks a second; where Linux's `struct page` of pfn 0 would be, and its size.
    vmstat vmstat(clock: (u64, u64, u32), nr_free_pages: u32, nr_free_cma: u32, nr_movable: u32, counts: [u32; 7], mem_map: (u32, u32))
        "vmstat:vmstat ticks={=u64} boot={=u64} frequency={=u32} nr_free_pages={=u32} nr_free_cma={=u32} nr_movable={=u32} pgalloc={=u32} \
         pgfree={=u32} pgmigrate_success={=u32} pgmigrate_fail={=u32} cma_alloc_success={=u32} \
         cma_alloc_fail={=u32} dropped={=u32} mem_map={=u32:#x} page_size={=u8}"
        => clock.0, clock.1, clock.2, nr_free_pages, nr_free_cma, nr_movable, counts[0], counts[1], counts[2], counts[3], counts[4],
           counts[5], counts[6], mem_map.0, mem_map.1 as u8;
}
