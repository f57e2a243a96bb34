//! The mark: a slash and a dot, which is all of a short link that stays the same.

use std::sync::LazyLock;

use bytes::Bytes;

/// Inline, in the colours of the page it stands on.
pub(super) const MARK: &str = "<svg viewBox=\"0 0 32 32\" aria-hidden=\"true\"><rect width=\"32\" height=\"32\" rx=\"8\" fill=\"var(--ink)\"/><path d=\"M11 24.5 17.5 7.5\" stroke=\"var(--paper)\" stroke-width=\"3.6\" stroke-linecap=\"round\"/><circle cx=\"21.5\" cy=\"22.6\" r=\"2.7\" fill=\"var(--dot)\"/></svg>";

const SVG: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 32 32\"><rect width=\"32\" height=\"32\" rx=\"8\" fill=\"#1d1c1a\"/><path d=\"M11 24.5 17.5 7.5\" stroke=\"#faf9f6\" stroke-width=\"3.6\" stroke-linecap=\"round\"/><circle cx=\"21.5\" cy=\"22.6\" r=\"2.7\" fill=\"#74d2ac\"/></svg>\n";

/// `/favicon.svg`.
pub(crate) fn svg() -> Bytes {
    Bytes::from_static(SVG.as_bytes())
}

/// `/favicon.ico`, for those that know no SVG: one PNG in an ICO.
pub(crate) fn ico() -> Bytes {
    static ICO: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(draw().unwrap_or_default()));
    ICO.clone()
}

const SIDE: u8 = 32;
/// Each pixel is the mean of so many samples across and down.
const SAMPLES: u8 = 4;

fn draw() -> Result<Vec<u8>, png::EncodingError> {
    let mut pixels = Vec::with_capacity(usize::from(SIDE) * usize::from(SIDE) * 4);
    for y in 0..SIDE {
        for x in 0..SIDE {
            pixels.extend_from_slice(&pixel(x, y));
        }
    }
    let mut picture = Vec::new();
    let mut encoder = png::Encoder::new(&mut picture, u32::from(SIDE), u32::from(SIDE));
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header()?.write_image_data(&pixels)?;

    let mut ico = Vec::with_capacity(22 + picture.len());
    ico.extend_from_slice(&[0, 0, 1, 0, 1, 0, SIDE, SIDE, 0, 0, 1, 0, 32, 0]);
    ico.extend_from_slice(&u32::try_from(picture.len()).unwrap_or(u32::MAX).to_le_bytes());
    ico.extend_from_slice(&22_u32.to_le_bytes());
    ico.extend_from_slice(&picture);
    Ok(ico)
}

fn pixel(x: u8, y: u8) -> [u8; 4] {
    let mut sums = [0_u16; 4];
    for i in 0..SAMPLES {
        for j in 0..SAMPLES {
            let offset = |n: u8| (f32::from(n) + 0.5) / f32::from(SAMPLES);
            if let Some(colour) = colour_at(f32::from(x) + offset(i), f32::from(y) + offset(j)) {
                for (sum, part) in sums.iter_mut().zip(colour) {
                    *sum += u16::from(part);
                }
                sums[3] += 255;
            }
        }
    }
    let covered = (sums[3] / 255).max(1);
    let mean = |sum: u16, count: u16| u8::try_from(sum / count).unwrap_or(u8::MAX);
    [mean(sums[0], covered), mean(sums[1], covered), mean(sums[2], covered), mean(sums[3], u16::from(SAMPLES) * u16::from(SAMPLES))]
}

/// The drawing of [`SVG`] at one point.
fn colour_at(x: f32, y: f32) -> Option<[u8; 3]> {
    let corner = |v: f32| (v - v.clamp(8.0, 24.0)).powi(2);
    if corner(x) + corner(y) > 64.0 {
        return None;
    }
    if (x - 21.5).powi(2) + (y - 22.6).powi(2) <= 2.7_f32.powi(2) {
        return Some([0x74, 0xd2, 0xac]);
    }
    let (dx, dy) = (6.5, -17.0);
    let along = (((x - 11.0) * dx + (y - 24.5) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
    let distance = (x - 11.0 - along * dx).powi(2) + (y - 24.5 - along * dy).powi(2);
    Some(if distance <= 1.8_f32.powi(2) { [0xfa, 0xf9, 0xf6] } else { [0x1d, 0x1c, 0x1a] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_icon_is_a_picture_with_round_corners_and_a_dot() {
        let ico = ico();
        assert_eq!(&ico[..6], [0, 0, 1, 0, 1, 0]);
        let decoder = png::Decoder::new(std::io::Cursor::new(&ico[22..]));
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        let at = |x: usize, y: usize| &pixels[(y * 32 + x) * 4..][..4];
        assert_eq!(at(0, 0)[3], 0);
        assert_eq!(at(4, 16), [0x1d, 0x1c, 0x1a, 255]);
        assert_eq!(at(21, 22), [0x74, 0xd2, 0xac, 255]);
        assert_eq!(at(14, 16), [0xfa, 0xf9, 0xf6, 255]);
    }
}
