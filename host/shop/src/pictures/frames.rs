//! Numbers of the frames of pictures that move, read from the structure of a file: no pixel is decoded.

/// Bytes of a file that were not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Skips blocks of a GIF up to the empty one that ends them.
    fn blocks(&mut self) -> Option<()> {
        loop {
            let length = self.byte()?;
            if length == 0 {
                return Some(());
            }
            self.take(usize::from(length))?;
        }
    }

    /// Skips the table of colours that these flags of a GIF announce.
    fn table(&mut self, flags: u8) -> Option<()> {
        if flags & 0x80 != 0 {
            self.take(3_usize << ((flags & 7) + 1))?;
        }
        Some(())
    }
}

/// Returns the number of frames of a GIF, up to the first fault.
pub(super) fn of_gif(file: &[u8]) -> u64 {
    let mut rest = Rest(file);
    let mut frames = 0;
    if skip_screen(&mut rest).is_some() {
        while let Some(is_frame) = next_of_gif(&mut rest) {
            frames += u64::from(is_frame);
        }
    }
    frames
}

fn skip_screen(rest: &mut Rest<'_>) -> Option<()> {
    rest.take(10)?;
    let flags = rest.byte()?;
    rest.take(2)?;
    rest.table(flags)
}

/// Skips a part of a GIF; true for a frame, nothing at the end.
fn next_of_gif(rest: &mut Rest<'_>) -> Option<bool> {
    match rest.byte()? {
        0x21 => {
            rest.take(1)?;
            rest.blocks()?;
            Some(false)
        }
        0x2c => {
            rest.take(8)?;
            let flags = rest.byte()?;
            rest.table(flags)?;
            rest.take(1)?;
            rest.blocks()?;
            Some(true)
        }
        _ => None,
    }
}

/// Returns the number of frames of a WebP that moves, up to the first fault.
pub(super) fn of_webp(file: &[u8]) -> u64 {
    let mut rest = Rest(file);
    let mut frames = 0;
    if rest.take(12).is_some() {
        while let Some(is_frame) = next_of_webp(&mut rest) {
            frames += u64::from(is_frame);
        }
    }
    frames
}

/// Skips a chunk of a WebP; true for a frame, nothing at the end.
fn next_of_webp(rest: &mut Rest<'_>) -> Option<bool> {
    let is_frame = rest.take(4)? == b"ANMF";
    let length = rest.take(4)?.first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    // Chunks begin at even places.
    rest.take(length.checked_add(length % 2)?)?;
    Some(is_frame)
}
