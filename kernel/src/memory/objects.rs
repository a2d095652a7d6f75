//! `kmalloc`, `kfree` and caches, as any code may use them that doesn't hold the memory manager.

use super::{MM, with};
use arch_armv7::cpu;
use core::ptr::NonNull;
use hot::objects;
use mm::Gfp;
use mm::slab::{CacheId, Caller, FreeError, SlabError};

const BOOT_CPU: Caller = Caller::new(0, 0).expect("there is a CPU 0");

/// Who allocates, for the slab allocator's records.
pub fn caller() -> Caller {
    Caller::new(cpu::id() as usize, 0).unwrap_or(BOOT_CPU)
}

/// `size` bytes of the kernel's memory; see [`mm::slab::Slab::kmalloc`].
///
/// # Errors
/// [`SlabError`]; [`SlabError::BadSize`] also before there is a memory manager.
#[inline(always)]
pub fn kmalloc(size: usize, gfp: Gfp) -> Result<NonNull<u8>, SlabError> {
    match objects::kmalloc(size, gfp) {
        Some(object) => Ok(object),
        None => kmalloc_slowly(size, gfp),
    }
}

#[inline(never)]
fn kmalloc_slowly(size: usize, gfp: Gfp) -> Result<NonNull<u8>, SlabError> {
    let mut held = MM.lock().ok_or(NOT_YET)?;
    let mm = &mut *held;
    objects::kmalloc_locked(mm.slab, mm.pages, caller(), size, gfp)
}

/// Frees what [`kmalloc`] gave, or nothing (null).
///
/// # Errors
/// [`FreeError`], which has been reported; nothing has changed then.
#[inline(always)]
pub fn kfree(object: *const u8) -> Result<(), FreeError> {
    if objects::kfree(object) { Ok(()) } else { kfree_slowly(object) }
}

#[inline(never)]
fn kfree_slowly(object: *const u8) -> Result<(), FreeError> {
    let Some(mut held) = MM.lock() else { return Err(FreeError::NotLinear { addr: object.addr() }) };
    let mm = &mut *held;
    objects::kfree_locked(mm.slab, mm.pages, caller(), object)
}

/// An object of `cache` (`kmem_cache_alloc`).
///
/// # Errors
/// [`SlabError`].
#[inline(always)]
pub fn kmem_cache_alloc(cache: &CacheId, gfp: Gfp) -> Result<NonNull<u8>, SlabError> {
    match objects::cache_alloc(cache, gfp) {
        Some(object) => Ok(object),
        None => with(|mm| mm.slab.cache_alloc(mm.pages, caller(), cache, gfp)).unwrap_or(Err(NOT_YET)),
    }
}

/// Gives an object back to `cache` (`kmem_cache_free`).
///
/// # Errors
/// [`FreeError`], which has been reported; nothing has changed then.
#[inline(always)]
pub fn kmem_cache_free(cache: &CacheId, object: *const u8) -> Result<(), FreeError> {
    if objects::cache_free(cache, object) {
        return Ok(());
    }
    with(|mm| mm.slab.cache_free(mm.pages, caller(), cache, object))
        .unwrap_or(Err(FreeError::NotLinear { addr: object.addr() }))
}

/// Before there is a memory manager.
const NOT_YET: SlabError = SlabError::BadSize { size: 0 };
