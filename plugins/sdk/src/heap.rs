//! The heap of a plugin. Every call has a fresh instance, and growing its memory makes the host
//! change page protections, which stops all other calls for a moment. So the heap starts with
//! static room and grows the memory only beyond that.

use core::{alloc::Layout, arch::wasm32::memory_grow, mem::MaybeUninit};

use talc::{
    base::{Talc, binning::Binning},
    cell::TalcSyncCell,
    source::Source,
    wasm::WasmBinning,
};

/// Bytes of static room, enough for every decision and for most manifests.
const ROOM: usize = 256 * 1024;
const PAGE: usize = 64 * 1024;
/// Pages requested at once, so that a large answer grows the memory few times.
const PAGES: usize = 16;
/// Bytes that the allocator needs in addition to an allocation.
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
    reason = "handing memory to an allocator; each stretch is claimed once and used by nothing else"
)]
// SAFETY: allocates nothing itself; returns `Ok` only after claiming memory that the heap did not
// have before.
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
        // SAFETY: the static is used nowhere else and claimed once; pages that were just grown are
        // new.
        unsafe { talc.claim(base, size) }.map(drop).ok_or(())
    }
}
