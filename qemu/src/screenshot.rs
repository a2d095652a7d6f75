//! `--screenshot`: what the machine's display shows, as a PNG file.
//!
//! QEMU is asked over QMP, its machine protocol, on a socket in a folder of this run's own. It writes a PPM file, which
//! every QEMU can; the PNG is made here, with a palette where there are few colours, so that the files stay small.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use qapi::{ExecuteError, Qmp, qmp};
use tempfile::TempDir;

/// How long QEMU may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no screenshot.
#[derive(Debug)]
pub enum ScreenshotError {
    /// The folder or a file in it.
    File(io::Error),
    /// QEMU's machine protocol.
    Qmp(ExecuteError),
    /// QEMU's picture is none.
    Ppm,
    /// The PNG file.
    Png(png::EncodingError),
    /// A command switched the machine off.
    Off,
}

impl fmt::Display for ScreenshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Qmp(error) => write!(f, "QEMU: {error}"),
            Self::Ppm => f.write_str("QEMU wrote something else than a PPM file"),
            Self::Png(error) => error.fmt(f),
            Self::Off => f.write_str("the last command left no machine to look at"),
        }
    }
}

impl From<io::Error> for ScreenshotError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl From<ExecuteError> for ScreenshotError {
    fn from(error: ExecuteError) -> Self {
        Self::Qmp(error)
    }
}

impl From<png::EncodingError> for ScreenshotError {
    fn from(error: png::EncodingError) -> Self {
        Self::Png(error)
    }
}

/// The way to QEMU's displays.
#[derive(Debug)]
pub struct Camera {
    dir: TempDir,
}

impl Camera {
    /// A way that no other run has.
    ///
    /// # Errors
    /// When the system gives no folder.
    pub fn new() -> Result<Self, ScreenshotError> {
        Ok(Self { dir: TempDir::new()? })
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("qmp")
    }

    /// What QEMU has to be started with.
    pub fn args(&self) -> [String; 2] {
        ["-qmp".to_owned(), format!("unix:{},server=on,wait=off", self.socket().display())]
    }

    /// Saves what the display shows now.
    ///
    /// # Errors
    /// [`ScreenshotError`].
    pub fn save(&self, file: &Path) -> Result<(), ScreenshotError> {
        let ppm = self.dir.path().join("screen.ppm");
        let stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut qmp = Qmp::from_stream(&stream);
        qmp.handshake()?;
        let filename = ppm.display().to_string();
        qmp.execute(&qmp::screendump { filename, device: None, head: None, format: None })?;
        let image = Image::from_ppm(&fs::read(ppm)?).ok_or(ScreenshotError::Ppm)?;
        fs::write(file, image.to_png()?)?;
        Ok(())
    }
}

/// Pixels, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Red, green, blue.
    pub pixels: Vec<[u8; 3]>,
}

impl Image {
    /// Reads a binary PPM file of 8 bits a colour.
    pub fn from_ppm(bytes: &[u8]) -> Option<Self> {
        let mut at = 0;
        let mut word = || {
            let blank = |byte: &u8| byte.is_ascii_whitespace();
            let start = at + bytes.get(at..)?.iter().position(|byte| !blank(byte))?;
            let end = start + bytes[start..].iter().position(blank)?;
            at = end + 1;
            std::str::from_utf8(&bytes[start..end]).ok()
        };
        let magic = word()?;
        let [width, height, maximum] = [word()?, word()?, word()?].map(|word| word.parse::<u32>().ok());
        let (width, height) = (width?, height?);
        let size = usize::try_from(u64::from(width) * u64::from(height) * 3).ok()?;
        let body = bytes.get(at..at.checked_add(size)?)?;
        let pixels = body.chunks_exact(3).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
        (magic == "P6" && maximum == Some(255)).then_some(Self { width, height, pixels })
    }

    /// A PNG file: with a palette for up to 256 colours.
    ///
    /// # Errors
    /// The encoder's.
    pub fn to_png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let mut colors: BTreeMap<_, u8> = self.pixels.iter().map(|pixel| (*pixel, 0)).collect();
        colors.values_mut().enumerate().for_each(|(number, color)| *color = number as u8);
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width, self.height);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::High);
        let data: Vec<u8> = if colors.len() <= 256 {
            encoder.set_color(png::ColorType::Indexed);
            encoder.set_palette(colors.keys().flatten().copied().collect::<Vec<u8>>());
            encoder.set_filter(png::Filter::NoFilter);
            self.pixels.iter().map(|pixel| colors[pixel]).collect()
        } else {
            encoder.set_color(png::ColorType::Rgb);
            self.pixels.iter().flatten().copied().collect()
        };
        encoder.write_header()?.write_image_data(&data)?;
        Ok(file)
    }

    /// Reads a PNG file of 8 bits a colour, with or without a palette.
    ///
    /// # Errors
    /// The decoder's.
    pub fn from_png(bytes: &[u8]) -> Result<Self, png::DecodingError> {
        let mut decoder = png::Decoder::new(io::Cursor::new(bytes));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info()?;
        let mut data = vec![0; reader.output_buffer_size().ok_or(png::DecodingError::LimitsExceeded)?];
        let info = reader.next_frame(&mut data)?;
        let pixel = info.color_type.samples();
        let color = |bytes: &[u8]| [bytes[0], bytes[1 % pixel], bytes[2 % pixel]];
        let pixels = data[..info.buffer_size()].chunks_exact(pixel).map(color).collect();
        Ok(Self { width: info.width, height: info.height, pixels })
    }

    /// The pixel at column `x` of row `y`.
    pub fn at(&self, x: u32, y: u32) -> [u8; 3] {
        self.pixels[(y * self.width + x) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(width: u32, height: u32, color: impl Fn(u32) -> [u8; 3]) -> Image {
        Image { width, height, pixels: (0..width * height).map(color).collect() }
    }

    #[test]
    fn ppm_files_are_read() {
        let bytes = b"P6\n2 1\n255\n\x01\x02\x03\n\x0a\x0d";
        let read = Image::from_ppm(bytes).unwrap();
        assert_eq!(read, Image { width: 2, height: 1, pixels: vec![[1, 2, 3], [10, 10, 13]] });
        for bad in [
            &b""[..],
            b"P5 2 1 255 abcdef",
            b"P6 2 1 255 abcde",
            b"P6 2 x 255 abcdef",
            b"P6 2 1 65535 abcdef",
        ] {
            assert_eq!(Image::from_ppm(bad), None);
        }
    }

    #[test]
    fn png_files_give_the_pixels_back() {
        let few = image(7, 5, |at| [(at % 3) as u8, 0, 255]);
        let many = image(40, 40, |at| [at as u8, (at >> 8) as u8, 7]);
        for picture in [few.clone(), many] {
            assert_eq!(Image::from_png(&picture.to_png().unwrap()).unwrap(), picture);
        }
        // 25 is the byte of the header that tells the colour type: 3 is a palette.
        assert_eq!(few.to_png().unwrap()[25], 3);
    }
}
