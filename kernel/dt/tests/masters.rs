//! What bus masters reach, told by [`Tree::dma_limits`]: real-looking trees, and random ones against a model that goes
//! down from the root where the reader goes up from the bus.

mod support;

use dt::Tree;
use proptest::prelude::*;
use support::Model;

/// The limits of the tree with these nodes below a root of one cell each.
fn limits(nodes: impl IntoIterator<Item = Model>) -> Vec<u64> {
    let root = Model::new("").cells("#address-cells", &[1]).cells("#size-cells", &[1]);
    let blob = nodes.into_iter().fold(root, Model::child).blob(&[]);
    Tree::from_bytes(&blob).unwrap().dma_limits().collect()
}

fn bus(name: &str, ranges: &[u32]) -> Model {
    Model::new(name).cells("dma-ranges", ranges)
}

#[test]
fn boards_of_the_world() {
    assert_eq!(limits([]), []);
    // A Raspberry Pi 2: RAM is at 0xc0000000 for its peripherals, to where they are themselves.
    assert_eq!(limits([bus("soc", &[0xc000_0000, 0, 0x3f00_0000])]), [0x3eff_ffff]);
    // A Raspberry Pi 4: some peripherals reach 1 GiB, the PCIe bus 3 GiB, others everything.
    let pcie = Model::new("pcie").cells("#address-cells", &[3]).cells("#size-cells", &[2]);
    let pcie = pcie.cells("dma-ranges", &[0x0200_0000, 0, 0, 0, 0, 0xc000_0000]);
    let scb = Model::new("scb").cells("#address-cells", &[2]).cells("#size-cells", &[1]).with("ranges", []);
    let scb = scb.cells("dma-ranges", &[0, 0, 0, 0xfc00_0000]);
    let pi4 = [bus("soc", &[0xc000_0000, 0, 0x4000_0000]), pcie, scb.clone()];
    assert_eq!(limits(pi4), [0x3fff_ffff, 0xbfff_ffff, 0xfbff_ffff]);
    // A master behind two buses reaches what both let through; each bus is told.
    let inner = bus("isa", &[0, 0x1000_0000, 0x100_0000]);
    let outer = bus("soc", &[0x1000_0000, 0x8000_0000, 0x200_0000]);
    assert_eq!(limits([outer.child(inner)]), [0x81ff_ffff, 0x80ff_ffff]);
    // The board of the other tests.
    let board = Tree::from_bytes(include_bytes!("data/board.dtb")).unwrap();
    assert_eq!(board.dma_limits().collect::<Vec<_>>(), [0x3eff_ffff]);
    let virt = Tree::from_bytes(include_bytes!("data/virt.dtb")).unwrap();
    assert_eq!(virt.dma_limits().count(), 0);
}

#[test]
fn the_highest_entry_of_a_bus_counts() {
    let entries =
        [0, 0x8000_0000, 0x10_0000, 0x4000_0000, 0x9000_0000, 0x1000, 0x10_0000, 0x8800_0000, 0x1000];
    assert_eq!(limits([bus("soc", &entries)]), [0x9000_0fff]);
    // 64 bits: the limit may lie beyond the 32-bit space, and its end beyond everything.
    let wide = Model::new("").cells("#address-cells", &[2]).cells("#size-cells", &[2]);
    let wide = wide.child(bus("a", &[0, 0, 0, 0x8000_0000, 1, 0])).child(bus("b", &[0, 0, 2, 0, !0, !0]));
    let blob = wide.blob(&[]);
    let tree = Tree::from_bytes(&blob).unwrap();
    assert_eq!(tree.dma_limits().collect::<Vec<_>>(), [0x1_7fff_ffff, u64::MAX]);
}

#[test]
fn what_says_nothing_limits_nothing() {
    assert_eq!(limits([bus("all", &[])]), [], "an empty property: the bus passes all through");
    assert_eq!(limits([bus("none", &[0, 0x8000_0000, 0])]), [], "an entry of no size");
    assert_eq!(limits([bus("cut", &[0, 0x8000_0000])]), [], "not a whole entry");
    let cells = Model::new("cells").cells("#address-cells", &[7]).cells("dma-ranges", &[1; 9]);
    assert_eq!(limits([cells]), []);
    let lost = bus("outer", &[0, 0x8000_0000, 0x1000]).child(bus("lost", &[0, 0x1000, 0x1000]));
    assert_eq!(limits([lost]), [0x8000_0fff], "the inner one translates to nowhere");
    let off = bus("off", &[0, 0x8000_0000, 0x1000]).with("status", "disabled\0");
    assert_eq!(limits([off.clone()]), []);
    let below = off.child(bus("below", &[0, 0, 0x800]).with("status", "okay\0"));
    assert_eq!(limits([below]), [], "nor what is below a bus that is off");
}

/// A bus of the model: on or off, `dma-ranges`, buses below.
#[derive(Clone, Debug)]
struct Bus {
    on: bool,
    /// Address on the bus, on the one above, size.
    ranges: Option<Vec<(u32, u32, u32)>>,
    below: Vec<Bus>,
}

impl Bus {
    fn node(&self, name: usize) -> Model {
        let mut node = Model::new(&format!("bus@{name}"));
        if let Some(ranges) = &self.ranges {
            let cells: Vec<u32> = ranges.iter().flat_map(|&(at, up, size)| [at, up, size]).collect();
            node = node.cells("dma-ranges", &cells);
        }
        if !self.on {
            node = node.with("status", "disabled\0");
        }
        self.below.iter().enumerate().fold(node, |node, (name, bus)| node.child(bus.node(name)))
    }

    /// The limits from here down; `up` takes an address on the bus above to the CPU's.
    fn limits(&self, up: &dyn Fn(u64) -> Option<u64>, out: &mut Vec<u64>) {
        let ranges = self.ranges.as_deref().unwrap_or_default();
        let lasts = ranges.iter().filter(|range| range.2 > 0);
        let lasts = lasts.filter_map(|&(_, to, size)| Some(up(to.into())? + u64::from(size) - 1));
        if let Some(last) = lasts.max().filter(|_| self.on) {
            out.push(last);
        }
        let through = |address: u64| {
            let within = |range: &&(u32, u32, u32)| {
                (range.0.into()..u64::from(range.0) + u64::from(range.2)).contains(&address)
            };
            let range = ranges.iter().find(within);
            if ranges.is_empty() {
                up(address)
            } else {
                range.and_then(|r| up(address - u64::from(r.0) + u64::from(r.1)))
            }
        };
        if self.on {
            self.below.iter().for_each(|bus| bus.limits(&through, out));
        }
    }
}

fn buses() -> impl Strategy<Value = Bus> {
    let place = prop_oneof![0..8u32, Just(0x8000_0000), any::<u32>()];
    let entry = (place.clone(), place, prop_oneof![0..16u32, any::<u32>()]);
    let ranges = prop::option::of(prop::collection::vec(entry, 0..4));
    let bus = move |below: BoxedStrategy<Vec<Bus>>| {
        let parts = (prop::bool::weighted(0.9), ranges.clone(), below);
        parts.prop_map(|(on, ranges, below)| Bus { on, ranges, below })
    };
    let leaf = bus(Just(vec![]).boxed());
    leaf.prop_recursive(4, 16, 3, move |inner| bus(prop::collection::vec(inner, 0..3).boxed()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    #[cfg_attr(miri, ignore = "making the generator takes minutes; the tables above cover the code")]
    fn random_buses_agree_with_the_model(bus in buses()) {
        let mut expected = vec![];
        bus.limits(&Some, &mut expected);
        prop_assert_eq!(limits([bus.node(0)]), expected);
    }
}
