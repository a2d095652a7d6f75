//! `map --svg`: the picture of memory from the host's side, for boards without a display.
//!
//! The kernel gives its memory map as text (`picture::page_map`) over the console; the `picture` crate makes the same
//! layout and the same texts of it as on a display, and here they become SVG. Squares that follow each other in a row
//! and belong to the same pages are one rectangle, with grid lines over it, and with a title that tells the range, the
//! owner and the age when the mouse rests on it.
//!
//! An age is counted in allocations: the kernel numbers them while `page_owner=on`, which `map` adds to the command line.

use std::convert::Infallible;
use std::fmt;

use picture::page_map::{BadLine, PageMap, Pages};
use picture::{Canvas, Color, Font, Kind, Layout, Picture, Point, Rectangle, RgbColor, Size};

/// The command whose output is the map.
pub const COMMAND: &str = "cat /sys/kernel/debug/page_map";
/// What the kernel command line needs for ages.
pub const OPTION: &str = "page_owner=on";

/// Bytes in a page.
const PAGE: u64 = 4096;

/// The picture of the map in `text`, as SVG. `name` gives names to addresses of code.
///
/// # Errors
/// When the text is no map.
pub fn svg(text: &str, name: &dyn Fn(u32) -> Option<String>) -> Result<String, BadLine> {
    let mut map = PageMap::parse(text)?;
    let layout = Layout::new(Size::new(1024, 768), map.spans.iter().cloned());
    let mut drawing = Drawing::default();
    let mut picture = Picture::new(layout);
    let Ok(()) = picture.begin(&map.regions, &mut drawing);
    // A pass counts; the squares are drawn below.
    while !matches!(picture.step(&mut map, &mut Nothing), Ok(true)) {}
    let Ok(()) = picture.finish(&mut drawing);
    let squares = squares(picture.layout(), &map, name);
    // Everything else comes over the squares, but for the background.
    drawing.elements.splice(1..1, squares);
    Ok(drawing.finished(picture.layout().size()))
}

/// Takes everything and draws nothing.
struct Nothing;

impl Canvas for Nothing {
    type Error = Infallible;

    fn fill(&mut self, _: Rectangle, _: Color) -> Result<(), Infallible> {
        Ok(())
    }

    fn text(&mut self, _: &str, _: Point, _: Font, _: Color) -> Result<(), Infallible> {
        Ok(())
    }
}

#[derive(Default)]
struct Drawing {
    elements: Vec<String>,
}

fn rgb(color: Color) -> String {
    format!("#{:02x}{:02x}{:02x}", color.r(), color.g(), color.b())
}

/// `x="1" y="2" width="3" height="4"`.
struct Place(Rectangle);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rectangle { top_left, size } = self.0;
        write!(f, r#"x="{}" y="{}" width="{}" height="{}""#, top_left.x, top_left.y, size.width, size.height)
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Canvas for Drawing {
    type Error = Infallible;

    fn fill(&mut self, area: Rectangle, color: Color) -> Result<(), Infallible> {
        let (place, color) = (Place(area), rgb(color));
        self.elements.push(format!(r#"<rect {place} fill="{color}" pointer-events="none"/>"#));
        Ok(())
    }

    fn text(&mut self, text: &str, at: Point, font: Font, color: Color) -> Result<(), Infallible> {
        let (letter, color) = (font.letter(), rgb(color));
        let text = text.trim_end();
        let indent = text.len() - text.trim_start().len();
        let text = text.trim_start();
        let x = at.x + indent as i32 * letter.width as i32;
        let y = at.y as u32 + letter.height * 4 / 5;
        let (width, size) = (letter.width * text.chars().count() as u32, letter.height);
        self.elements.push(format!(
            r#"<text x="{x}" y="{y}" font-size="{size}" textLength="{width}" fill="{color}">{}</text>"#,
            escaped(text)
        ));
        Ok(())
    }
}

impl Drawing {
    fn finished(self, size: Size) -> String {
        let Size { width, height } = size;
        let head = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" font-family="monospace" shape-rendering="crispEdges">"#
        );
        [&[head][..], &self.elements, &["</svg>\n".to_owned()]].concat().join("\n")
    }
}

/// For each square, the entry of the map that it shows: the first of those that are hardest to move. And whether it
/// stands for others, too.
fn shown(layout: &Layout, map: &PageMap) -> Vec<Option<(usize, bool)>> {
    let mut shown: Vec<Option<(usize, bool)>> = vec![None; layout.squares() as usize];
    for (number, pages) in map.pages.iter().enumerate() {
        let (first, last) = (layout.square_of(pages.pfns.start), layout.square_of(pages.pfns.end - 1));
        let (Some(first), Some(last)) = (first, last) else { continue };
        for square in &mut shown[first as usize..=last as usize] {
            *square = Some(match *square {
                None => (number, false),
                Some((other, _)) if map.pages[other].kind < pages.kind => (number, true),
                Some((other, _)) => (other, true),
            });
        }
    }
    shown
}

fn squares(layout: &Layout, map: &PageMap, name: &dyn Fn(u32) -> Option<String>) -> Vec<String> {
    let shown = shown(layout, map);
    let (columns, grid) = (layout.columns() as usize, layout.grid());
    let mut elements = Vec::new();
    for (row, squares) in shown.chunks(columns.max(1)).enumerate() {
        let mut at = 0;
        for run in squares.chunk_by(|a, b| a == b) {
            let first = (row * columns + at) as u32;
            at += run.len();
            let Some((number, mixed)) = run[0] else { continue };
            let last = layout.square(first + run.len() as u32 - 1);
            let start = layout.square(first);
            let end = last.bottom_right().unwrap_or(last.top_left);
            let pages = &map.pages[number];
            elements.push(format!(
                r#"<rect {} fill="{}" data-kind="{}" data-squares="{}"><title>{}</title></rect>"#,
                Place(Rectangle::with_corners(start.top_left, end)),
                rgb(pages.kind.color()),
                pages.kind.letter(),
                run.len(),
                escaped(&title(map, pages, mixed, name)),
            ));
        }
    }
    elements.push(grid_lines(layout, grid));
    elements
}

/// The lines between the squares.
fn grid_lines(layout: &Layout, grid: Rectangle) -> String {
    let (Point { x, y }, Size { width, height }) = (grid.top_left, grid.size);
    let cell = layout.square(0).size.width as usize + 1;
    let down = (0..width).step_by(cell).map(|at| format!("M{}.5 {y}v{height}", x as u32 + at));
    let across = (0..height).step_by(cell).map(|at| format!("M{x} {}.5h{width}", y as u32 + at));
    let path: String = down.chain(across).collect();
    let background = rgb(picture::BACKGROUND);
    format!(r#"<path d="{path}" stroke="{background}" fill="none" pointer-events="none"/>"#)
}

/// Range, owner, age.
fn title(map: &PageMap, pages: &Pages, mixed: bool, name: &dyn Fn(u32) -> Option<String>) -> String {
    let range = &pages.pfns;
    let (first, end) = (u64::from(range.start) * PAGE, u64::from(range.end) * PAGE);
    let mut text = format!("{first:08x}-{:08x} {}K", end - 1, (end - first) / 1024);
    let owner = if pages.owner.is_empty() { String::new() } else { format!(": {}", pages.owner) };
    text += &format!("\n{}{owner}", pages.kind.name());
    let regions = map.regions.all().iter();
    let named = regions.filter(|region| region.pfns.start < range.end && range.start < region.pfns.end);
    let names: Vec<_> = named.map(|region| region.name.as_str()).collect();
    if !names.is_empty() {
        text += &format!("\nin {}", names.join(", "));
    }
    if pages.caller != 0 {
        let caller = name(pages.caller).unwrap_or_else(|| format!("{:08x}", pages.caller));
        text += &format!("\nfrom {}", plain(caller.trim()));
    }
    text += &age(map, pages);
    if mixed {
        text += "\nother pages are in the square, too";
    }
    text
}

/// A name without what stands between `<` and `>`, for which a title has no room.
fn plain(name: &str) -> String {
    let mut depth = 0;
    let mut outside = |letter: &char| {
        depth += i32::from(*letter == '<') - i32::from(*letter == '>');
        depth == 0 && *letter != '>'
    };
    name.chars().filter(|letter| outside(letter)).collect()
}

fn age(map: &PageMap, pages: &Pages) -> String {
    let age = |serial: u32| map.noted.saturating_sub(serial);
    match pages.serials {
        Some((oldest, youngest)) if oldest == youngest => format!("\nage {} allocations", age(oldest)),
        Some((oldest, youngest)) => format!("\nage {} to {} allocations", age(youngest), age(oldest)),
        None if pages.kind.is_free() || pages.kind == Kind::Hole => String::new(),
        None => "\nage not known: from before the page allocator, or page_owner is off".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const MAP: &str = "page_map 1 #100\n\
        span 80000-80800\n\
        region 80400-80800 cma cma-<reserved>\n\
        80000-80010 I\n\
        80010-80100 m\n\
        80100-80101 T #7-7\n\
        80101-80400 u\n\
        80400-80440 A #40-90 @c0012344 dma\n\
        80440-80800 c\n";

    fn drawn() -> String {
        svg(MAP, &|address| (address == 0xc001_2344).then(|| " cma_alloc<A, B<C>> (x.rs:1)".to_owned()))
            .unwrap()
    }

    /// Squares by letter.
    fn counted(svg: &str) -> BTreeMap<char, u32> {
        let mut counts = BTreeMap::new();
        for part in svg.split("data-kind=\"").skip(1) {
            let squares = part.split("data-squares=\"").nth(1).unwrap().split('"').next().unwrap();
            *counts.entry(part.chars().next().unwrap()).or_default() += squares.parse::<u32>().unwrap();
        }
        counts
    }

    #[test]
    fn there_is_a_square_for_every_page() {
        let expected = [('A', 0x40), ('I', 0x10), ('T', 1), ('c', 0x3c0), ('m', 0xf0), ('u', 0x2ff)];
        assert_eq!(counted(&drawn()), expected.into());
    }

    #[test]
    fn titles_tell_range_owner_and_age() {
        let svg = drawn();
        let title = "<title>80400000-8043ffff 256K\nCMA taken: dma\nin cma-&lt;reserved&gt;\n\
                     from cma_alloc (x.rs:1)\nage 10 to 60 allocations</title>";
        assert!(svg.contains(title), "{svg}");
        assert!(svg.contains("<title>80100000-80100fff 4K\npage tables\nage 93 allocations</title>"));
        assert!(svg.contains("<title>80440000-807fffff 3840K\nfree CMA\nin cma-&lt;reserved&gt;</title>"));
    }

    #[test]
    fn the_texts_of_the_display_are_there_and_it_is_xml() {
        let svg = drawn();
        for text in
            [">cma-&lt;reserved&gt;<", ">80400000 4096K<", ">256K<", ">free unmovable<", "a square is 4K"]
        {
            assert!(svg.contains(text), "{text}");
        }
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        for tag in ["rect", "text", "title", "path"] {
            let opened = svg.matches(&format!("<{tag}")).count();
            let closed = svg.matches(&format!("</{tag}>")).count();
            let alone = svg
                .split('<')
                .filter(|part| part.starts_with(tag) && part.trim_end().ends_with("/>"))
                .count();
            assert_eq!(opened, closed + alone, "{tag}");
        }
        // The background is below everything.
        assert!(svg.lines().nth(1).unwrap().contains(r#"width="1024" height="768""#));
    }

    #[test]
    fn squares_of_several_pages_say_so() {
        let map = format!("page_map 1 #0\nspan 0-{:x}\n0-8 m\n8-9 T\n9-{:x} m\n", 1 << 18, 1 << 18);
        let svg = svg(&map, &|_| None).unwrap();
        assert!(svg.contains("<title>00008000-00008fff 4K\npage tables\nage not known"), "{svg}");
        assert!(svg.contains("other pages are in the square, too"));
        assert_eq!(counted(&svg)[&'T'], 1);
    }

    #[test]
    fn what_is_no_map_is_refused() {
        assert_eq!(svg("cat: no", &|_| None), Err(BadLine(1)));
    }
}
