//! An emulated machine for host tests: banks, holes, stale TLBs, write-back caches, DMA masters.

