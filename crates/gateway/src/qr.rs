//! QR codes of short URLs, drawn here and of bounded size.

use bytes::Bytes;
use qrcodegen::{QrCode, QrCodeEcc};

/// Pixels of a side.
pub(crate) const SIZE_MIN: u32 = 64;
pub(crate) const SIZE_MAX: u32 = 2_048;
const SIZE_DEFAULT: u32 = 512;
/// Modules of white around the code; scanners need four.
const QUIET: i32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    Svg,
    Png,
}

/// What picture is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Picture {
    pub(crate) format: Format,
    pub(crate) size: u32,
}

impl Picture {
    /// From `format=svg|png&size=…`; other parameters are not ours.
    pub(crate) fn parse(query: &str) -> Result<Self, &'static str> {
        let mut picture = Self { format: Format::Svg, size: SIZE_DEFAULT };
        for pair in query.split('&') {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("format", "svg") => picture.format = Format::Svg,
                ("format", "png") => picture.format = Format::Png,
                ("format", _) => return Err("format is svg or png"),
                ("size", digits) => {
                    let size = if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None };
                    let size = size.filter(|size| (SIZE_MIN..=SIZE_MAX).contains(size));
                    picture.size = size.ok_or("size is a number of pixels from 64 to 2048")?;
                }
                _ => {}
            }
        }
        Ok(picture)
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self.format {
            Format::Svg => "image/svg+xml",
            Format::Png => "image/png",
        }
    }

    /// `None` when `text` is longer than any QR code holds (2,331 bytes).
    pub(crate) fn draw(self, text: &str) -> Option<Bytes> {
        let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
        match self.format {
            Format::Svg => Some(svg(&code, self.size).into()),
            Format::Png => png(&code, self.size).ok().map(Bytes::from),
        }
    }
}

/// One path, one rectangle for each run of dark modules in a row.
fn svg(code: &QrCode, size: u32) -> String {
    use std::fmt::Write as _;
    let modules = code.size() + 2 * QUIET;
    let mut svg = String::with_capacity(8_192);
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{size}\" height=\"{size}\" viewBox=\"0 0 {modules} {modules}\" shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h{modules}v{modules}H0z\"/><path d=\""
    );
    for y in 0..code.size() {
        let mut x = 0;
        while x < code.size() {
            let run = (x..code.size()).take_while(|x| code.get_module(*x, y)).count();
            let run = i32::try_from(run).unwrap_or(0);
            if run > 0 {
                let _ = write!(svg, "M{} {}h{run}v1h-{run}z", x + QUIET, y + QUIET);
            }
            x += run.max(1);
        }
    }
    svg.push_str("\"/></svg>\n");
    svg
}

/// One bit a pixel, whole pixels a module, centred. Never smaller than a pixel a module.
fn png(code: &QrCode, size: u32) -> Result<Vec<u8>, png::EncodingError> {
    let modules = code.size() + 2 * QUIET;
    let size = i32::try_from(size).unwrap_or(i32::MAX).max(modules);
    let scale = size / modules;
    let margin = (size - scale * modules) / 2 + scale * QUIET;
    let module = |pixel: i32| (pixel - margin).div_euclid(scale);
    let row_len = usize::try_from(size).unwrap_or(0).div_ceil(8);
    let mut pixels = Vec::with_capacity(row_len * usize::try_from(size).unwrap_or(0));
    for y in 0..size {
        let start = pixels.len();
        if y > 0 && module(y) == module(y - 1) {
            pixels.extend_from_within(start - row_len..start);
            continue;
        }
        pixels.resize(start + row_len, 0xff);
        for x in 0..size {
            if code.get_module(module(x), module(y)) {
                pixels[start + usize::try_from(x / 8).unwrap_or(0)] &= !(0x80 >> (x % 8));
            }
        }
    }
    let pixels_across = u32::try_from(size).unwrap_or(0);
    let mut picture = Vec::with_capacity(4_096);
    let mut encoder = png::Encoder::new(&mut picture, pixels_across, pixels_across);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_their_bounds() {
        let size = |size| Ok(Picture { format: Format::Svg, size });
        assert_eq!(Picture::parse(""), size(512));
        assert_eq!(Picture::parse("size=64&utm_source=x"), size(64));
        assert_eq!(Picture::parse("size=2048"), size(2_048));
        assert_eq!(Picture::parse("format=png"), Ok(Picture { format: Format::Png, size: 512 }));
        for wrong in ["size=63", "size=2049", "size=", "size=+99", "size=99999999999", "format=gif", "format", "format=PNG"] {
            assert!(Picture::parse(wrong).is_err(), "{wrong}");
        }
    }

    fn decode(png: &[u8]) -> (usize, String) {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(png));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        let width = info.width as usize;
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, info.height as usize, |x, y| pixels[y * width + x]);
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1);
        (width, grids[0].decode().unwrap().1)
    }

    #[test]
    fn a_reader_reads_it_back_at_every_size() {
        for size in [64, 65, 200, 512, 1_000, SIZE_MAX] {
            let text = "https://s.example/4fK9aQz";
            let png = Picture { format: Format::Png, size }.draw(text).unwrap();
            assert_eq!(decode(&png), (usize::try_from(size).unwrap(), text.to_owned()));
        }
        let long = format!("https://{}.example/{}", "h".repeat(60), "c".repeat(128));
        let png = Picture { format: Format::Png, size: 128 }.draw(&long).unwrap();
        assert_eq!(decode(&png).1, long);
    }

    #[test]
    fn the_svg_has_the_same_modules() {
        let text = "http://localhost:8080/4fK9aQz";
        let code = QrCode::encode_text(text, QrCodeEcc::Medium).unwrap();
        let svg = Picture { format: Format::Svg, size: 300 }.draw(text).unwrap();
        let svg = std::str::from_utf8(&svg).unwrap();
        let path = svg.rsplit_once("d=\"").unwrap().1.split_once('"').unwrap().0;
        let mut drawn = std::collections::HashSet::new();
        for run in path.split('z').filter(|run| !run.is_empty()) {
            let (at, length) = run[1..].split_once('h').unwrap();
            let (x, y) = at.split_once(' ').unwrap();
            let (x, y): (i32, i32) = (x.parse().unwrap(), y.parse().unwrap());
            let length: i32 = length.split_once('v').unwrap().0.parse().unwrap();
            drawn.extend((x..x + length).map(|x| (x - QUIET, y - QUIET)));
        }
        let dark = (0..code.size()).flat_map(|y| (0..code.size()).map(move |x| (x, y))).filter(|(x, y)| code.get_module(*x, *y));
        assert_eq!(drawn, dark.collect());
        assert!(svg.contains("width=\"300\"") && svg.len() < 20_000);
    }

    #[test]
    fn what_no_code_holds_is_refused() {
        assert!(Picture { format: Format::Svg, size: 64 }.draw(&"x".repeat(3_000)).is_none());
    }
}
