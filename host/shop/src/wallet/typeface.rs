//! The letters of receipts: a typeface that comes with the program, and one the operator may add
//! for scripts that it lacks.

#![expect(
    clippy::float_arithmetic,
    reason = "places on a page are measured in points"
)]

use std::{fmt, sync::LazyLock};

use krilla::{
    geom::Point,
    surface::Surface,
    text::{Font, TextDirection},
};
use ttf_parser::Face;
use unicode_bidi::{BidiInfo, Level};
use unicode_width::UnicodeWidthChar as _;

/// DejaVu Sans Mono: Latin, Greek, Cyrillic, Arabic, Armenian, Georgian, Lao.
static PLAIN: LazyLock<Typeface> =
    LazyLock::new(|| Typeface::included(include_bytes!("../../fonts/DejaVuSansMono.ttf")));
static BOLD: LazyLock<Typeface> =
    LazyLock::new(|| Typeface::included(include_bytes!("../../fonts/DejaVuSansMono-Bold.ttf")));

/// Replacement for a character that no typeface has.
const UNKNOWN: char = char::REPLACEMENT_CHARACTER;

/// A TrueType or OpenType font.
#[derive(Clone)]
pub struct Typeface {
    bytes: &'static [u8],
    font: Font,
}

impl Typeface {
    /// A font that is kept until the program ends; of a collection, the first.
    ///
    /// # Errors
    /// When the bytes are no font that can be embedded.
    pub fn read(bytes: Vec<u8>) -> Result<Self, String> {
        // Read once, when the program starts.
        Self::of(bytes.leak())
    }

    #[expect(clippy::expect_used, reason = "a test reads both")]
    fn included(bytes: &'static [u8]) -> Self {
        Self::of(bytes).expect("a font that comes with the program")
    }

    fn of(bytes: &'static [u8]) -> Result<Self, String> {
        Face::parse(bytes, 0).map_err(|error| error.to_string())?;
        let font = Font::new(bytes.into(), 0).ok_or("its tables cannot be read")?;
        Ok(Self { bytes, font })
    }

    /// The tables to look characters up in.
    fn face(&self) -> Option<Face<'static>> {
        Face::parse(self.bytes, 0).ok()
    }
}

impl fmt::Debug for Typeface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Typeface({} bytes)", self.bytes.len())
    }
}

/// Typefaces of a line: the included one, and another one for characters it lacks.
pub(super) struct Pen<'a> {
    faces: Vec<(&'a Typeface, Face<'static>)>,
    size: f32,
}

impl<'a> Pen<'a> {
    pub(super) fn new(bold: bool, other: Option<&'a Typeface>, size: f32) -> Self {
        let included: &Typeface = if bold { &BOLD } else { &PLAIN };
        let faces = [Some(included), other].into_iter().flatten();
        Self {
            faces: faces
                .filter_map(|typeface| Some((typeface, typeface.face()?)))
                .collect(),
            size,
        }
    }

    /// Writes one line from `start` to the right, each part of it in its own direction.
    pub(super) fn write(&self, surface: &mut Surface<'_>, start: Point, text: &str) {
        let text: String = text.chars().map(|one| self.known(one)).collect();
        let bidi = BidiInfo::new(&text, Some(Level::ltr()));
        let mut at = start;
        for paragraph in &bidi.paragraphs {
            let (levels, parts) = bidi.visual_runs(paragraph, paragraph.range.clone());
            for part in parts {
                let backwards = levels.get(part.start).is_some_and(Level::is_rtl);
                let direction = if backwards {
                    TextDirection::RightToLeft
                } else {
                    TextDirection::LeftToRight
                };
                let mut runs = self.runs(text.get(part).unwrap_or_default());
                if backwards {
                    runs.reverse();
                }
                for (typeface, run, width) in runs {
                    let font = typeface.font.clone();
                    surface.draw_text(at, font, self.size, run, false, direction);
                    at.x += width;
                }
            }
        }
    }

    /// Width of a text in points.
    pub(super) fn width(&self, text: &str) -> f32 {
        let runs = self.runs(text).into_iter();
        runs.map(|(_, _, width)| width).sum()
    }

    /// The character, if a typeface has it.
    fn known(&self, one: char) -> char {
        let is_known = self.faces.iter().any(|(_, face)| has(face, one));
        if is_known || one.width() == Some(0) {
            one
        } else {
            UNKNOWN
        }
    }

    /// Splits a text by the typeface that has its characters, with their widths. A character
    /// without a width of its own, such as an accent, stays with its base where it can.
    fn runs<'t>(&self, text: &'t str) -> Vec<(&'a Typeface, &'t str, f32)> {
        let mut runs = Vec::new();
        let (mut from, mut current, mut width) = (0, 0, 0.0);
        for (position, one) in text.char_indices() {
            let joins = |at: &usize| self.faces.get(*at).is_some_and(|(_, face)| has(face, one));
            let found = Some(current)
                .filter(joins)
                .or_else(|| (0..self.faces.len()).find(joins))
                .unwrap_or(current);
            if found != current {
                self.end_run(&mut runs, current, text.get(from..position), width);
                (from, current, width) = (position, found, 0.0);
            }
            width += self.advance(current, one);
        }
        self.end_run(&mut runs, current, text.get(from..), width);
        runs
    }

    fn end_run<'t>(
        &self,
        runs: &mut Vec<(&'a Typeface, &'t str, f32)>,
        face: usize,
        text: Option<&'t str>,
        width: f32,
    ) {
        let text = text.unwrap_or_default();
        if let Some((typeface, _)) = self.faces.get(face).filter(|_| !text.is_empty()) {
            runs.push((typeface, text, width));
        }
    }

    /// Advance of a character in points.
    fn advance(&self, face: usize, one: char) -> f32 {
        if one.width() == Some(0) {
            return 0.0;
        }
        let advance = self.faces.get(face).and_then(|(_, face)| {
            let units = face.glyph_hor_advance(face.glyph_index(one)?)?;
            Some(f32::from(units) / f32::from(face.units_per_em()))
        });
        advance.unwrap_or_default() * self.size
    }
}

fn has(face: &Face<'_>, one: char) -> bool {
    face.glyph_index(one).is_some()
}

#[cfg(test)]
mod tests {
    use krilla::{Document, page::PageSettings};

    use super::*;

    fn pdf(pen: &Pen<'_>, text: &str) -> Vec<u8> {
        let mut document = Document::new();
        let mut page = document.start_page_with(PageSettings::from_wh(595.0, 842.0).unwrap());
        let mut surface = page.surface();
        pen.write(&mut surface, Point::from_xy(50.0, 50.0), text);
        surface.finish();
        page.finish();
        document.finish().unwrap()
    }

    fn written(pen: &Pen<'_>, text: &str) -> String {
        let text = pdf_extract::extract_text_from_mem(&pdf(pen, text)).unwrap();
        text.trim().to_owned()
    }

    #[test]
    fn letters_of_many_scripts_are_written() {
        for bold in [false, true] {
            let pen = Pen::new(bold, None, 10.0);
            for text in [
                "Rp1.500.000",
                "Łukasz Đặng",
                "Ольга",
                "Ελένη",
                "e\u{301}",
                "3 × 5 → “15”",
            ] {
                assert_eq!(written(&pen, text), text);
            }
            // No font has every character; a sign says that one is missing.
            assert_eq!(written(&pen, "a\u{1F600}b"), "a\u{fffd}b");
            assert!((pen.width("12345") - 30.1).abs() < 0.1);
        }
    }

    #[test]
    fn text_in_two_directions_stands_as_it_is_read() {
        let pen = Pen::new(false, None, 10.0);
        let text = "Customer \u{627}\u{62d}\u{645}\u{62f} (\u{628})";
        let runs: Vec<_> = BidiInfo::new(text, Some(Level::ltr()))
            .levels
            .iter()
            .map(Level::is_rtl)
            .collect();
        assert!(!runs[0] && runs[text.find('\u{62d}').unwrap()]);
        let written = written(&pen, text);
        assert!(written.starts_with("Customer"), "{written}");
        assert!(!written.contains(UNKNOWN), "{written}");
    }

    #[test]
    fn another_typeface_helps_out() {
        // The bold one plays it: what the first has is taken from there.
        let other =
            Typeface::read(include_bytes!("../../fonts/DejaVuSansMono-Bold.ttf").to_vec()).unwrap();
        let mut pen = Pen::new(false, Some(&other), 10.0);
        assert_eq!(pen.runs("abc").len(), 1);
        // As if the first had no letters at all.
        pen.faces.swap(0, 1);
        assert!(std::ptr::eq(pen.runs("abc")[0].0, &raw const other));
    }

    #[test]
    fn nothing_a_customer_may_be_called_stops_a_receipt() {
        let pen = Pen::new(false, None, 10.0);
        // Separators, marks and signs of direction are among them.
        let all: Vec<char> = ('\u{20}'..'\u{3100}')
            .chain('\u{fb00}'..'\u{11000}')
            .chain('\u{1f300}'..'\u{1f700}')
            .collect();
        for part in all.chunks(97) {
            let text: String = part.iter().collect();
            pdf(&pen, &text);
        }
    }

    #[test]
    fn what_is_no_font_is_refused() {
        for bytes in [&b""[..], b"%PDF-1.7", &[0; 4096]] {
            Typeface::read(bytes.to_vec()).unwrap_err();
        }
    }
}
