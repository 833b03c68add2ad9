//! The heap of a plugin. A call has an instance of its own, and an instance that grows its memory
//! makes the host change the protection of pages, which stops every other call for a moment. So the
//! heap begins with room that is part of the memory from the start, and grows only beyond that.

use core::{alloc::Layout, arch::wasm32::memory_grow, mem::MaybeUninit};

use talc::{
    base::{Talc, binning::Binning},
    cell::TalcSyncCell,
    source::Source,
    wasm::WasmBinning,
};

/// Enough for every decision and for most manifests.
const ROOM: usize = 256 * 1024;
const PAGE: usize = 64 * 1024;
/// Pages that are asked for at once, so that a large answer grows the memory few times.
const PAGES: usize = 16;
/// What the allocator needs beside what is asked for.
const OVERHEAD: usize = 1024;

#[global_allocator]
static HEAP: TalcSyncCell<RoomThenPages, WasmBinning> =
    TalcSyncCell::new_wasm(RoomThenPages { is_begun: false });

static mut BEGINNING: [MaybeUninit<u8>; ROOM] = [MaybeUninit::uninit(); ROOM];

#[derive(Debug)]
struct RoomThenPages {
    is_begun: bool,
}

#[expect(
    unsafe_code,
    reason = "handing memory to an allocator; each stretch is given once and used by nobody else"
)]
// SAFETY: allocates nothing itself; gives `Ok` only with memory that the heap did not have before.
unsafe impl Source for RoomThenPages {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let (base, size) = if talc.source.is_begun {
            let wanted = layout.size() + layout.align() + OVERHEAD;
            let pages = wanted.div_ceil(PAGE).max(PAGES);
            match memory_grow::<0>(pages) {
                usize::MAX => return Err(()),
                before => ((before * PAGE) as *mut u8, pages * PAGE),
            }
        } else {
            talc.source.is_begun = true;
            ((&raw mut BEGINNING).cast(), ROOM)
        };
        // SAFETY: the static is named nowhere else and given once; pages that were just grown are new.
        unsafe { talc.claim(base, size) }.map(drop).ok_or(())
    }
}
