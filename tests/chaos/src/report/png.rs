//! Pixels as a PNG file. The usual crates would give wasmtime's dependencies
//! other features, and every build another wasmtime.

use std::path::Path;

use anyhow::{Result, ensure};
use miniz_oxide::deflate::compress_to_vec_zlib;

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
/// Eight bits a channel, red green blue, the only compression and filter set, not
/// interlaced.
const RGB: [u8; 5] = [8, 2, 0, 0, 0];
const LEVEL: u8 = 6;

/// Writes three bytes for each pixel, row by row.
pub(super) fn write(pixels: &[u8], (width, height): (u32, u32), path: &Path) -> Result<()> {
    let row = width as usize * 3;
    ensure!(pixels.len() == row * height as usize, "pixels are missing");
    // Each row begins with the filter that it went through: none.
    let rows = pixels.chunks_exact(row);
    let plain: Vec<u8> = rows.flat_map(|row| [&[0][..], row].concat()).collect();
    let mut header = Vec::new();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend(RGB);
    let mut file = SIGNATURE.to_vec();
    chunk(&mut file, b"IHDR", &header)?;
    chunk(&mut file, b"IDAT", &compress_to_vec_zlib(&plain, LEVEL))?;
    chunk(&mut file, b"IEND", &[])?;
    Ok(std::fs::write(path, file)?)
}

/// Length, name, content and the check sum of the latter two.
fn chunk(file: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) -> Result<()> {
    file.extend(u32::try_from(content.len())?.to_be_bytes());
    let start = file.len();
    file.extend(name);
    file.extend(content);
    let sum = crc(&file[start..]);
    file.extend(sum.to_be_bytes());
    Ok(())
}

/// CRC-32 as in ISO 3309.
fn crc(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 {
                (sum >> 1) ^ 0xedb8_8320
            } else {
                sum >> 1
            };
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_sums_are_those_of_the_standard() {
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
        // Every PNG ends with these bytes.
        let mut end = Vec::new();
        chunk(&mut end, b"IEND", &[]).unwrap();
        assert_eq!(end, b"\0\0\0\0IEND\xae\x42\x60\x82");
    }
}
