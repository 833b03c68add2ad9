//! Pictures of each type, rewritten: the same to see, without what hides in the file, and within bounds.

use std::time::{Duration, Instant};

use image::{Delay, Frame, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage, codecs::webp::WebPEncoder};

use super::*;

const RED: Rgba<u8> = Rgba([200, 20, 20, 255]);
const BLUE: Rgba<u8> = Rgba([20, 20, 200, 255]);
/// Text in the place of a location, a script or whatever else hides in a file.
const HIDDEN: &str = "6.2088S-106.8456E";

/// Red on the left, blue on the right.
fn halves(width: u32, height: u32) -> RgbaImage {
    RgbaImage::from_fn(width, height, |x, _| if x < width / 2 { RED } else { BLUE })
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image.write_to(&mut out, format).unwrap();
    out.into_inner()
}

fn png() -> Vec<u8> {
    encoded(&halves(8, 4).into(), ImageFormat::Png)
}

fn jpeg() -> Vec<u8> {
    let image = DynamicImage::from(halves(64, 32)).into_rgb8();
    encoded(&image.into(), ImageFormat::Jpeg)
}

fn gif(frames: u32, side: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut out, 30);
    for number in 0..frames {
        let shade = u8::try_from(number).unwrap();
        let image = RgbaImage::from_pixel(side, side, Rgba([shade, 0, 0, 255]));
        let delay = Delay::from_numer_denom_ms(200, 1);
        encoder
            .encode_frame(Frame::from_parts(image, 0, 0, delay))
            .unwrap();
    }
    drop(encoder);
    out
}

fn webp(image: &DynamicImage) -> Vec<u8> {
    let mut out = Vec::new();
    image
        .write_with_encoder(WebPEncoder::new_lossless(&mut out))
        .unwrap();
    out
}

fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_le_bytes();
    let padding = vec![0; content.len() % 2];
    [name.as_slice(), &length, content, &padding].concat()
}

/// A WebP of so many frames; the library writes none that moves.
fn moving_webp(frames: usize, side: u32) -> Vec<u8> {
    let size = &(side - 1).to_le_bytes()[..3];
    let still = webp(&RgbImage::from_pixel(side, side, Rgb([9, 9, 9])).into());
    // After the head of the file comes the one chunk with the picture.
    let picture = &still[12..];
    let frame = [&[0; 6], size, size, &[100, 0, 0, 0], picture].concat();
    let head = [&[0b10, 0, 0, 0], size, size].concat();
    let mut content = b"WEBP".to_vec();
    content.extend(chunk(b"VP8X", &head));
    content.extend(chunk(b"ANIM", &[0; 6]));
    for _ in 0..frames {
        content.extend(chunk(b"ANMF", &frame));
    }
    let length = u32::try_from(content.len()).unwrap().to_le_bytes();
    [b"RIFF".as_slice(), &length, &content].concat()
}

/// Puts a segment with a turn by a quarter and a location into a JPEG.
fn with_location(jpeg: &[u8]) -> Vec<u8> {
    let mut exif =
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
    exif.extend_from_slice(HIDDEN.as_bytes());
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}

fn holds(content: &[u8], text: &str) -> bool {
    content
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

fn size(picture: &Picture) -> (u32, u32) {
    let image = image::load_from_memory(&picture.content).unwrap();
    (image.width(), image.height())
}

fn frames_of(content: &[u8]) -> Vec<Frame> {
    let decoder = GifDecoder::new(Cursor::new(content)).unwrap();
    decoder.into_frames().collect_frames().unwrap()
}

/// Rewrites a file whose request waits for it.
fn rewrite(sent: &[u8]) -> Result<Picture> {
    let request = Arc::new(());
    super::rewrite(sent, &Waiting(Arc::downgrade(&request)))
}

fn code(sent: &[u8]) -> Code {
    rewrite(sent).unwrap_err().code
}

#[test]
fn every_type_shows_what_it_showed() {
    let opaque = DynamicImage::from(halves(8, 4)).into_rgb8();
    let opaque = DynamicImage::from(opaque);
    let clear = RgbaImage::from_pixel(8, 4, Rgba([1, 2, 3, 100]));
    for (sent, media_type) in [
        (png(), MediaType::Png),
        (encoded(&opaque, ImageFormat::Png), MediaType::Png),
        (jpeg(), MediaType::Jpeg),
        (gif(1, 8), MediaType::Gif),
        (webp(&opaque), MediaType::Jpeg),
        (webp(&clear.clone().into()), MediaType::Png),
    ] {
        let picture = rewrite(&sent).unwrap();
        assert_eq!(picture.media_type, media_type);
        let name = infer::get(&picture.content).unwrap().mime_type();
        assert_eq!(name, media_type.as_str());
        let (before, after) = (image::load_from_memory(&sent).unwrap(), size(&picture));
        assert_eq!((before.width(), before.height()), after);
    }
    let again = rewrite(&png()).unwrap();
    let shown = image::load_from_memory(&again.content)
        .unwrap()
        .into_rgba8();
    assert_eq!(shown, halves(8, 4));
    let again = rewrite(&webp(&clear.clone().into())).unwrap();
    let shown = image::load_from_memory(&again.content)
        .unwrap()
        .into_rgba8();
    assert_eq!(shown, clear);
}

#[test]
fn what_moves_moves_still() {
    for sent in [gif(3, 10), moving_webp(3, 10)] {
        let picture = rewrite(&sent).unwrap();
        assert_eq!(picture.media_type, MediaType::Gif);
        let frames = frames_of(&picture.content);
        assert_eq!(frames.len(), 3);
        let (numerator, denominator) = frames[1].delay().numer_denom_ms();
        assert!(numerator / denominator >= 100);
    }
}

#[test]
fn a_location_is_gone_and_the_picture_is_upright() {
    let sent = with_location(&jpeg());
    assert!(holds(&sent, HIDDEN));
    let picture = rewrite(&sent).unwrap();
    assert!(!holds(&picture.content, HIDDEN) && !holds(&picture.content, "Exif"));
    // 64 by 32, turned by a quarter.
    assert_eq!(size(&picture), (32, 64));
}

#[test]
fn nothing_that_hides_in_a_file_is_kept() {
    let script = format!("<script>{HIDDEN}</script>");
    for sent in [
        png(),
        jpeg(),
        gif(2, 8),
        webp(&halves(8, 4).into()),
        moving_webp(2, 8),
    ] {
        let polyglot = [sent.as_slice(), b"PK\x03\x04", script.as_bytes()].concat();
        let picture = rewrite(&polyglot).unwrap();
        assert!(!holds(&picture.content, HIDDEN) && !holds(&picture.content, "script"));
    }
    // A comment of a GIF, and a text of a PNG.
    let mut sent = gif(1, 8);
    let end = sent.len() - 1;
    let length = u8::try_from(HIDDEN.len()).unwrap();
    sent.splice(
        end..end,
        [b"!\xfe".as_slice(), &[length], HIDDEN.as_bytes(), &[0]].concat(),
    );
    assert!(!holds(&rewrite(&sent).unwrap().content, HIDDEN));
}

/// A head alone says how large the picture would be.
#[test]
fn bombs_are_refused() {
    let mut head = png();
    let five_thousand_and_one = 5001_u32.to_be_bytes();
    head[16..20].copy_from_slice(&five_thousand_and_one);
    head[20..24].copy_from_slice(&5000_u32.to_be_bytes());
    let mut crc = !0_u32;
    for byte in &head[12..29] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
    }
    head[29..33].copy_from_slice(&(!crc).to_be_bytes());
    let refusal = rewrite(&head).unwrap_err();
    assert_eq!(refusal.code, Code::ImageRefused);
    assert!(
        refusal.message.contains("25 megapixels"),
        "{}",
        refusal.message
    );
    let mut screen = gif(1, 8);
    screen[6..10].copy_from_slice(&[0xff; 4]);
    assert_eq!(code(&screen), Code::ImageRefused);
    // Each frame has a few pixels, and is shown on a screen of 13 million.
    let side = 3600_u16.to_le_bytes();
    let mut two = gif(2, 8);
    two[6..8].copy_from_slice(&side);
    two[8..10].copy_from_slice(&side);
    let mut moving = moving_webp(2, 8);
    for at in [24, 27] {
        moving[at..at + 3].copy_from_slice(&3599_u32.to_le_bytes()[..3]);
    }
    for many in [two, moving] {
        let refusal = rewrite(&many).unwrap_err();
        let message = refusal.message;
        assert!(message.contains("all frames together"), "{message}");
    }
}

/// The heads of a JPEG and of a WebP that does not move say the same in their own ways.
#[test]
fn bombs_of_one_frame_are_refused() {
    let mut photo = jpeg();
    let head = photo
        .windows(2)
        .position(|marker| marker == [0xff, 0xc0])
        .unwrap();
    photo[head + 5..head + 7].copy_from_slice(&5000_u16.to_be_bytes());
    photo[head + 7..head + 9].copy_from_slice(&5001_u16.to_be_bytes());
    let mut still = webp(&RgbImage::from_pixel(8, 4, Rgb([9, 9, 9])).into());
    assert_eq!(&still[12..16], b"VP8L");
    // Each side less one, in 14 bits; above them are what else the head says.
    let bits = u32::from_le_bytes(still[21..25].try_into().unwrap());
    assert_eq!(bits & 0x0fff_ffff, 7 | (3 << 14));
    let bits = (bits & 0xf000_0000) | 5000 | (4999 << 14);
    still[21..25].copy_from_slice(&bits.to_le_bytes());
    for bomb in [photo, still] {
        let refusal = rewrite(&bomb).unwrap_err();
        assert_eq!(refusal.code, Code::ImageRefused);
        let message = refusal.message;
        assert!(message.contains("25 megapixels"), "{message}");
    }
}

/// Frames are counted before one is decoded: here, none could be.
#[test]
fn frames_are_counted_before_they_are_decoded() {
    let side = 5000_u16.to_le_bytes();
    let colours = [0_u8, 0, 0, 255, 255, 255];
    let frame = b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x01\xff\0";
    let head = [b"GIF89a".as_slice(), &side, &side, &[0x80, 0, 0], &colours].concat();
    let damaged = [head.as_slice(), frame, frame, b"\x3b"].concat();
    let message = rewrite(&damaged).unwrap_err().message;
    assert!(message.contains("all frames together"), "{message}");

    let many = usize::try_from(MOST_FRAMES).unwrap() + 1;
    let small = [b"GIF89a\x01\0\x01\0\x80\0\0".as_slice(), &colours].concat();
    let tiny = [small.as_slice(), &frame.repeat(many), b"\x3b"].concat();
    let message = rewrite(&tiny).unwrap_err().message;
    assert!(message.contains("it may have 1000"), "{message}");

    for count in [1_u32, 2, 7] {
        assert_eq!(frames::of_gif(&gif(count, 8)), u64::from(count));
        let moving = moving_webp(usize::try_from(count).unwrap(), 8);
        assert_eq!(frames::of_webp(&moving), u64::from(count));
    }
    let whole = gif(3, 8);
    for end in 0..whole.len() {
        assert!(frames::of_gif(&whole[..end]) <= 3);
    }
    assert_eq!(frames::of_gif(b""), 0);
    assert_eq!(frames::of_webp(b"RIFF"), 0);
}

#[test]
fn only_pictures_that_can_be_read_are_taken() {
    for sent in [
        b"<svg xmlns='http://www.w3.org/2000/svg'/>".as_slice(),
        b"<html><script>alert(1)</script></html>",
        b"PK\x03\x04",
        b"%PDF-1.7",
        b"BM\x36\0\0\0\0\0\0\0",
        b"II*\0\x08\0\0\0",
        b"",
        b"\0",
    ] {
        assert_eq!(code(sent), Code::UnsupportedMediaType, "{sent:?}");
    }
    for sent in [png(), jpeg(), gif(1, 8), webp(&halves(8, 4).into())] {
        let half = &sent[..sent.len() / 2];
        // Decoders of JPEG show what there is.
        if infer::get(half).is_some_and(|kind| kind.mime_type() != "image/jpeg") {
            assert_eq!(code(half), Code::ImageRefused, "{:?}", infer::get(half));
        }
        assert_eq!(code(&sent[..20]), Code::ImageRefused);
    }
    let mut noise = png();
    for byte in &mut noise[40..] {
        *byte = byte.wrapping_mul(31).wrapping_add(7);
    }
    assert_eq!(code(&noise), Code::ImageRefused);
}

#[tokio::test]
async fn a_few_are_decoded_at_once_and_the_others_wait() {
    let pictures = Pictures::default();
    let taken = Arc::clone(&pictures.places)
        .acquire_many_owned(2)
        .await
        .unwrap();
    assert_eq!(pictures.places.available_permits(), 0);
    let waiting = pictures.rewrite(UserId::from_u128(1), png());
    tokio::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(100), &mut waiting).await;
    assert!(early.is_err());
    drop(taken);
    assert_eq!(waiting.await.unwrap().media_type, MediaType::Png);
    // The work releases its place when it ends.
    assert_eq!(pictures.places.available_permits(), AT_ONCE);
}

#[tokio::test]
async fn an_account_has_one_place_and_a_line_of_its_own() {
    let pictures = Pictures::default();
    let [busy, other] = [1, 2].map(UserId::from_u128);
    let turn = pictures
        .turn_of(busy)
        .unwrap()
        .acquire_owned()
        .await
        .unwrap();
    let mut line: Vec<_> = (1..MOST_OF_ACCOUNT)
        .map(|_| Box::pin(pictures.rewrite(busy, png())))
        .collect();
    for waiting in &mut line {
        assert!(futures::poll!(waiting).is_pending());
    }
    assert_eq!(pictures.places.available_permits(), AT_ONCE);
    let refusal = pictures.rewrite(busy, png()).await.unwrap_err();
    assert_eq!(
        (refusal.code, refusal.retry_after),
        (Code::TooManyRequests, Some(5))
    );
    pictures.rewrite(other, png()).await.unwrap();
    drop(turn);
    for waiting in line {
        waiting.await.unwrap();
    }
    // The turn of an account ends with its pictures.
    pictures.rewrite(other, png()).await.unwrap();
    let turns = pictures.turns.lock().unwrap();
    assert!(!turns.contains_key(&busy), "{turns:?}");
}

#[test]
fn the_work_of_a_request_that_is_gone_ends_between_frames() {
    let mut request = Some(Arc::new(()));
    let waiting = Waiting(request.as_ref().map(Arc::downgrade).unwrap());
    let mut asked = 0;
    let frames = (0..100).map(|_| {
        asked += 1;
        if asked == 3 {
            request = None;
        }
        Ok::<_, ImageError>(Frame::new(halves(8, 4)))
    });
    moving(Frames::new(Box::new(frames)), &waiting).unwrap_err();
    assert_eq!(asked, 3);
}

#[test]
fn a_file_whose_request_is_gone_is_neither_read_nor_written() {
    let gone = Waiting(Weak::new());
    for sent in [
        png(),
        jpeg(),
        gif(1, 8),
        webp(&halves(8, 4).into()),
        moving_webp(2, 8),
    ] {
        super::rewrite(&sent, &gone).unwrap_err();
    }
    let mut out = Limited::new(&gone);
    out.write_all(b"GIF89a").unwrap_err();
    assert!(out.content.is_empty());
}

#[tokio::test]
async fn the_place_of_a_request_that_is_gone_is_free_soon() {
    let (pictures, user_id) = (Pictures::default(), UserId::from_u128(1));
    let long = gif(120, 150);
    let begun = Instant::now();
    pictures.rewrite(user_id, long.clone()).await.unwrap();
    let whole = begun.elapsed();

    let begun = Instant::now();
    let mut abandoned = Box::pin(pictures.rewrite(user_id, long));
    assert!(futures::poll!(&mut abandoned).is_pending());
    drop(abandoned);
    pictures.rewrite(user_id, png()).await.unwrap();
    let rest = begun.elapsed();
    assert!(rest * 2 < whole, "{rest:?} after {whole:?}");
}
