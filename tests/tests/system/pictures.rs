//! Pictures to attach.

use std::io::Cursor;

use image::{DynamicImage, Frame, ImageFormat, Rgba, RgbaImage, codecs::gif::GifEncoder};

/// Text in place of a location in a picture.
pub(crate) const LOCATION: &str = "6.2088S-106.8456E";

fn written(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image.write_to(&mut out, format).unwrap();
    out.into_inner()
}

pub(crate) fn png() -> Vec<u8> {
    let image = RgbaImage::from_pixel(16, 8, Rgba([10, 120, 200, 255]));
    written(&image.into(), ImageFormat::Png)
}

/// A JPEG that says where it was taken.
pub(crate) fn jpeg_with_location() -> Vec<u8> {
    let image = DynamicImage::new_rgb8(64, 32);
    let jpeg = written(&image, ImageFormat::Jpeg);
    let exif = format!("Exif\0\0MM\0*\0\0\0\u{8}\0\0\0\0\0\0{LOCATION}");
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [
        &jpeg[..2],
        &[0xff, 0xe1],
        &length,
        exif.as_bytes(),
        &jpeg[2..],
    ]
    .concat()
}

/// A GIF of two small frames, on a screen of so many pixels in each direction.
pub(crate) fn gif(side: u16) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut out, 30);
    for _ in 0..2 {
        let image = RgbaImage::from_pixel(8, 8, Rgba([7, 7, 7, 255]));
        encoder.encode_frame(Frame::new(image)).unwrap();
    }
    drop(encoder);
    let side = side.to_le_bytes();
    out[6..8].copy_from_slice(&side);
    out[8..10].copy_from_slice(&side);
    out
}

/// A picture of exactly so many bytes: decoders stop where it ends.
pub(crate) fn of_bytes(length: usize) -> Vec<u8> {
    let mut picture = png();
    picture.resize(length, 0);
    picture
}

pub(crate) fn holds(content: &[u8], text: &str) -> bool {
    content
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}
