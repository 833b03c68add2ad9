//! Pictures from strangers: each is decoded within limits and written again, so that nothing of the
//! file that was sent is kept but what it shows.

mod frames;

use std::{
    collections::HashMap,
    io::{self, BufRead, Cursor, Read, Seek, SeekFrom, Write},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use image::{
    AnimationDecoder, DynamicImage, Frames, ImageDecoder, ImageError, Limits,
    codecs::{
        gif::{GifDecoder, GifEncoder, Repeat},
        jpeg::{JpegDecoder, JpegEncoder},
        png::{PngDecoder, PngEncoder},
        webp::WebPDecoder,
    },
};
use tokio::sync::Semaphore;

use crate::{Code, Error, Result, ids::UserId, text_enum};

/// Pixels of a picture, of all frames together where it moves.
pub const MOST_PIXELS: u64 = 25_000_000;
/// Frames of a picture that moves: each takes its time, however small it is.
pub const MOST_FRAMES: u64 = 1_000;
/// Bytes that the decoder of one picture may ask for: its pixels with eight bytes each, and as much
/// again to put frames together.
const DECODER_BYTES: u64 = MOST_PIXELS * 16;
/// Bytes of a picture that is written again.
const MOST_BYTES: usize = 20 * 1024 * 1024;
/// Pictures that a server decodes at the same time.
const AT_ONCE: usize = 2;
/// Pictures of one account that are decoded or wait for it.
const MOST_OF_ACCOUNT: usize = 8;
/// Quality of JPEG, of 100.
const QUALITY: u8 = 90;

text_enum! {
    /// Type of a picture that was written again.
    pub enum MediaType {
        Gif = "image/gif",
        Jpeg = "image/jpeg",
        Png = "image/png",
    }
}

impl MediaType {
    /// Returns the end of the names of such files.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Gif => "gif",
            Self::Jpeg => "jpg",
            Self::Png => "png",
        }
    }
}

/// A picture that was written again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub media_type: MediaType,
    pub content: Vec<u8>,
}

/// Decodes pictures, a few at a time and one of each account, on threads where nothing else waits.
#[derive(Debug, Clone)]
pub struct Pictures {
    places: Arc<Semaphore>,
    /// Turns of the accounts whose pictures are decoded or wait.
    turns: Arc<Mutex<HashMap<UserId, Arc<Semaphore>>>>,
}

impl Default for Pictures {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_ONCE)),
            turns: Arc::default(),
        }
    }
}

impl Pictures {
    /// Decodes a picture of an account and writes it again. The work ends soon when the returned
    /// future is dropped.
    ///
    /// # Errors
    /// `UNSUPPORTED_MEDIA_TYPE` for what is no PNG, JPEG, GIF or WebP by its content;
    /// `IMAGE_REFUSED` for one that is damaged or too large; `TOO_MANY_REQUESTS` when many others of
    /// the account wait.
    pub async fn rewrite(&self, user_id: UserId, sent: Vec<u8>) -> Result<Picture> {
        // The turn comes first: an account has one in the line for the places.
        let turn = self.turn_of(user_id)?.acquire_owned().await;
        let turn = turn.map_err(Error::internal)?;
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(Error::internal)?;
        let request = Arc::new(());
        let waiting = Waiting(Arc::downgrade(&request));
        let work = tokio::task::spawn_blocking(move || {
            // Until the end of the work, whose request may be gone by then.
            let _held = (turn, place);
            rewrite(&sent, &waiting)
        });
        let done = work.await;
        drop(request);
        // A decoder that panics met a file that it cannot read.
        done.unwrap_or_else(|error| Err(damaged(error)))
    }

    /// Returns the turn of an account, which one of its pictures takes at a time.
    fn turn_of(&self, user_id: UserId) -> Result<Arc<Semaphore>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        // Each picture under way holds its turn beside this map.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        let turn = turns
            .entry(user_id)
            .or_insert_with(|| Arc::new(Semaphore::new(1)));
        if Arc::strong_count(turn) > MOST_OF_ACCOUNT {
            let message =
                "Other pictures of yours are still being read. Try again in a few seconds.";
            return Err(Error::new(Code::TooManyRequests, message).retry_after(5));
        }
        Ok(Arc::clone(turn))
    }
}

/// A request that waits for its picture, as the work sees it.
#[derive(Debug)]
struct Waiting(Weak<()>);

impl Waiting {
    /// Fails when the request is gone, so that decoders and encoders stop where they read or write.
    fn check(&self) -> io::Result<()> {
        if self.0.strong_count() == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }
}

/// File that was sent, read as long as its request waits.
#[derive(Debug)]
struct Sent<'a> {
    content: Cursor<&'a [u8]>,
    waiting: &'a Waiting,
}

impl Read for Sent<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.waiting.check()?;
        self.content.read(buffer)
    }
}

impl BufRead for Sent<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.waiting.check()?;
        self.content.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.content.consume(count);
    }
}

impl Seek for Sent<'_> {
    fn seek(&mut self, place: SeekFrom) -> io::Result<u64> {
        self.content.seek(place)
    }
}

/// Type of a file by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gif,
    Jpeg,
    Png,
    WebP,
}

fn kind_of(sent: &[u8]) -> Result<Kind> {
    match infer::get(sent).map(|kind| kind.mime_type()) {
        Some("image/gif") => Ok(Kind::Gif),
        Some("image/jpeg") => Ok(Kind::Jpeg),
        Some("image/png") => Ok(Kind::Png),
        Some("image/webp") => Ok(Kind::WebP),
        _ => {
            let message = "Only PNG, JPEG, GIF and WebP pictures can be attached.";
            Err(Error::new(Code::UnsupportedMediaType, message))
        }
    }
}

fn rewrite(sent: &[u8], waiting: &Waiting) -> Result<Picture> {
    let reader = Sent {
        content: Cursor::new(sent),
        waiting,
    };
    match kind_of(sent)? {
        Kind::Gif => {
            let mut decoder = GifDecoder::new(reader).map_err(refused)?;
            limit(&mut decoder)?;
            limit_frames(&decoder, frames::of_gif(sent))?;
            moving(decoder.into_frames(), waiting)
        }
        Kind::Jpeg => {
            let decoder = JpegDecoder::new(reader).map_err(refused)?;
            still(decoder, MediaType::Jpeg, waiting)
        }
        Kind::Png => {
            let decoder = PngDecoder::with_limits(reader, limits()).map_err(refused)?;
            still(decoder, MediaType::Png, waiting)
        }
        Kind::WebP => {
            let mut decoder = WebPDecoder::new(reader).map_err(refused)?;
            limit(&mut decoder)?;
            if decoder.has_animation() {
                limit_frames(&decoder, frames::of_webp(sent))?;
                return moving(decoder.into_frames(), waiting);
            }
            let has_alpha = decoder.color_type().has_alpha();
            let media_type = if has_alpha {
                MediaType::Png
            } else {
                MediaType::Jpeg
            };
            still(decoder, media_type, waiting)
        }
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODER_BYTES);
    limits
}

/// Refuses a picture by its size, before any of it is decoded.
fn limit(decoder: &mut impl ImageDecoder) -> Result<()> {
    let (width, height) = decoder.dimensions();
    if pixels(width, height) > MOST_PIXELS {
        return Err(too_large());
    }
    match decoder.set_limits(limits()) {
        // Decoders that keep no count of their memory have been given the size.
        Err(ImageError::Unsupported(_)) => Ok(()),
        result => result.map_err(refused),
    }
}

/// Refuses a picture that moves by the number of its frames, before any of them is decoded.
fn limit_frames(decoder: &impl ImageDecoder, frames: u64) -> Result<()> {
    let (width, height) = decoder.dimensions();
    if frames > MOST_FRAMES {
        let message = format!("The picture has too many frames: it may have {MOST_FRAMES}.");
        return Err(Error::new(Code::ImageRefused, message));
    }
    if pixels(width, height).saturating_mul(frames) > MOST_PIXELS {
        return Err(too_large());
    }
    Ok(())
}

fn pixels(width: u32, height: u32) -> u64 {
    u64::from(width).saturating_mul(u64::from(height))
}

/// Writes a picture of one frame as it is to be seen: turned as its camera was held.
fn still(
    mut decoder: impl ImageDecoder,
    media_type: MediaType,
    waiting: &Waiting,
) -> Result<Picture> {
    limit(&mut decoder)?;
    let orientation = decoder.orientation().map_err(refused)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(refused)?;
    image.apply_orientation(orientation);
    let mut out = Limited::new(waiting);
    let written = match media_type {
        MediaType::Jpeg => {
            let image = image.into_rgb8();
            image.write_with_encoder(JpegEncoder::new_with_quality(&mut out, QUALITY))
        }
        _ if image.color().has_alpha() => {
            let image = image.into_rgba8();
            image.write_with_encoder(PngEncoder::new(&mut out))
        }
        _ => {
            let image = image.into_rgb8();
            image.write_with_encoder(PngEncoder::new(&mut out))
        }
    };
    written.map_err(refused)?;
    Ok(Picture {
        media_type,
        content: out.content,
    })
}

/// Writes all frames as GIF, each as soon as it is decoded.
fn moving(mut frames: Frames<'_>, waiting: &Waiting) -> Result<Picture> {
    let mut out = Limited::new(waiting);
    let mut seen = 0_u64;
    let mut next = || -> Result<Option<image::Frame>> {
        waiting.check().map_err(damaged)?;
        let Some(frame) = frames.next() else {
            return Ok(None);
        };
        let frame = frame.map_err(refused)?;
        let (width, height) = frame.buffer().dimensions();
        seen = seen.saturating_add(pixels(width, height));
        if seen > MOST_PIXELS {
            return Err(too_large());
        }
        Ok(Some(frame))
    };
    let first = next()?.ok_or_else(|| damaged("there is no frame in it"))?;
    let second = next()?;
    let mut encoder = GifEncoder::new_with_speed(&mut out, 10);
    if second.is_some() {
        encoder.set_repeat(Repeat::Infinite).map_err(refused)?;
    }
    encoder.encode_frame(first).map_err(refused)?;
    let mut frame = second;
    while let Some(present) = frame {
        encoder.encode_frame(present).map_err(refused)?;
        frame = next()?;
    }
    drop(encoder);
    Ok(Picture {
        media_type: MediaType::Gif,
        content: out.content,
    })
}

/// Content that ends the writing when it is too long, or when its request is gone.
#[derive(Debug)]
struct Limited<'a> {
    content: Vec<u8>,
    waiting: &'a Waiting,
}

impl<'a> Limited<'a> {
    const fn new(waiting: &'a Waiting) -> Self {
        Self {
            content: Vec::new(),
            waiting,
        }
    }
}

impl Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.check()?;
        if self.content.len().saturating_add(bytes.len()) > MOST_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.content.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn refused(error: ImageError) -> Error {
    match error {
        ImageError::Limits(_) => too_large().caused_by(error),
        ImageError::IoError(ref cause) if cause.kind() == io::ErrorKind::FileTooLarge => {
            too_large().caused_by(error)
        }
        error => damaged(error),
    }
}

fn too_large() -> Error {
    let message = "The picture is too large: it may have 25 megapixels, all frames together.";
    Error::new(Code::ImageRefused, message)
}

fn damaged(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let message = "The picture cannot be read: it is damaged or incomplete.";
    Error::new(Code::ImageRefused, message).caused_by(cause)
}

#[cfg(test)]
mod tests;
