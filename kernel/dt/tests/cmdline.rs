//! The command line: tokens against a model that works in place on a byte array, the SSD202's own line, and
//! what a person may get wrong.

use dt::{Arg, COMMAND_LINE_SIZE, CmaWindow, CommandLine, CommandLineError, Param, Reason, is_known};
use proptest::prelude::*;

/// The document's line, as the boot loader passes it.
const SSD202: &str = "wt_board=WT2022 console=ttyS0,115200 rootfstype=squashfs,ubifs rootwait=1 cma=8M \
    LX_MEM=0x7f00000 mma_heap=mma_heap_name0,miu=0,sz=0x1000000 mma_memblock_remove=1 highres=off \
    mmap_reserved=fb,miu=0,sz=0x300000,max_start_off=0x7C00000,max_end_off=0x7F00000";

fn line(text: &str) -> CommandLine<'_> {
    let (line, cut) = CommandLine::new(text.as_bytes());
    assert_eq!(cut, None);
    line
}

/// What a line's typed parameters come to, errors by their message.
fn events(text: &str) -> Vec<String> {
    let show = |event| match event {
        Ok(param) => format!("{param:?}"),
        Err(e) => format!("! {e}"),
    };
    line(text).params().map(|p| show(p.map_err(|e: dt::ParamError<'_>| e.to_string()))).collect()
}

#[test]
fn the_ssd202s_line() {
    let all = events(SSD202);
    assert_eq!(
        all,
        [
            "Console(Console { name: \"ttyS0\", options: Some(\"115200\") })",
            "Cma(CmaParam { size: 8388608, window: None })",
            "LxMem { size: 133169152 }",
            "MmaHeap(MmaHeap { name: \"mma_heap_name0\", miu: 0, size: 16777216, window: None })",
            "MmaMemblockRemove(true)",
            "MmapReserved(MmapReserved { name: \"fb\", miu: 0, size: 3145728, window: OffsetWindow { start: 130023424, end: 133169152 } })",
        ]
    );
    assert_eq!(
        line(SSD202).unknown(is_known).to_string(),
        "Unknown kernel command line parameters \"wt_board=WT2022 rootwait=1\", will be passed to user space."
    );
}

#[test]
fn vendor_arguments_that_are_wrong_name_themselves_and_the_rest_goes_on() {
    let cases = [
        ("mma_heap=", "! mma_heap=: the name is missing"),
        ("mma_heap", "! mma_heap: a value is missing"),
        ("mma_heap=miu=0,sz=1M", "! mma_heap=miu=0,sz=1M: the name is missing"),
        ("mma_heap=a,miu=0", "! mma_heap=a,miu=0: sz= is missing"),
        ("mma_heap=a,sz=1M", "! mma_heap=a,sz=1M: miu= is missing"),
        ("mma_heap=a,miu=0,sz=0", "! mma_heap=a,miu=0,sz=0: sz= is 0"),
        ("mma_heap=a,miu=0,sz=1M,sz=2M", "! mma_heap=a,miu=0,sz=1M,sz=2M: sz= is given twice"),
        ("mma_heap=a,miu=0,sz=5G", "! mma_heap=a,miu=0,sz=5G: '5G' does not fit 32 bits"),
        ("mma_heap=a,miu=0,sz=-1", "! mma_heap=a,miu=0,sz=-1: '-1' is negative"),
        ("mma_heap=a,miu=0,sz=", "! mma_heap=a,miu=0,sz=: '' is not a number"),
        ("mma_heap=a,miu=0,sz=1MB", "! mma_heap=a,miu=0,sz=1MB: 'B' follows the number"),
        (
            "mma_heap=a,miu=0,sz=18446744073709551617",
            "! mma_heap=a,miu=0,sz=18446744073709551617: '18446744073709551617' does not fit 32 bits",
        ),
        (
            "mma_heap=a,miu=0,sz=1M,max_start_off=0",
            "! mma_heap=a,miu=0,sz=1M,max_start_off=0: max_end_off= is missing",
        ),
        (
            "mmap_reserved=f,miu=0,sz=1,max_start_off=2,max_end_off=2",
            "! mmap_reserved=f,miu=0,sz=1,max_start_off=2,max_end_off=2: max_start_off 0x2 is not below max_end_off 0x2",
        ),
        ("mmap_reserved=f,miu=0,sz=1", "! mmap_reserved=f,miu=0,sz=1: max_start_off= is missing"),
        ("LX_MEM=0", "! LX_MEM=0: the size is 0"),
        ("LX_MEM=lots", "! LX_MEM=lots: 'lots' is not a number"),
        ("LX_MEM2=0x20000000", "! LX_MEM2=0x20000000: the size is missing"),
        ("loglevel=high", "! loglevel=high: 'high' is not a number"),
        ("cma", "! cma: a value is missing"),
        ("earlycon=pl011,mmio32,here", "! earlycon=pl011,mmio32,here: 'here' is not a number"),
    ];
    for (text, expected) in cases {
        let both = format!("{text} loglevel=7");
        assert_eq!(events(&both), [expected, "Loglevel(7)"], "{text}");
    }
    let unknown = events("mma_heap=a,miu=0,sz=1,color=red");
    assert_eq!(unknown[0], "! mma_heap=a,miu=0,sz=1,color=red: unknown field 'color=red'");
    assert_eq!(unknown[1], "MmaHeap(MmaHeap { name: \"a\", miu: 0, size: 1, window: None })");
}

#[test]
fn values_that_linux_takes_come_out_as_linux_takes_them() {
    let cma = |text: &str| {
        let all = format!("cma={text}");
        let cma = line(&all).cma().unwrap();
        let warned = line(&all).params().any(|p| p.is_err());
        (cma.size, cma.base(), cma.limit(), cma.is_fixed(), warned)
    };
    assert_eq!(cma("8M"), (8 << 20, 0, 0, false, false));
    assert_eq!(cma("8M@0x26000000"), (8 << 20, 0x2600_0000, 0x2680_0000, true, false));
    assert_eq!(cma("8M@0x26000000-0x26800000"), (8 << 20, 0x2600_0000, 0x2680_0000, true, false));
    assert_eq!(cma("8M@0x26000000-0x27000000"), (8 << 20, 0x2600_0000, 0x2700_0000, false, false));
    assert_eq!(cma("8M@0-0x27000000"), (8 << 20, 0, 0x2700_0000, false, false));
    assert_eq!(cma("8MB"), (8 << 20, 0, 0, false, true));
    assert_eq!(cma("8M-0x30000000"), (8 << 20, 0, 0, false, true));
    assert_eq!(cma("4G"), (0, 0, 0, true, true));
    assert_eq!(cma("9999M"), ((9999u64 << 20) as u32, 0, 0, false, true));
    assert_eq!(cma("-1"), (0, 0, 0, true, true));
    assert_eq!(cma("0"), (0, 0, 0, true, false));
    assert!(!line("cma=0xffffffff").cma().unwrap().is_given());
    let two = line("cma=8M@0x26000000 cma=4M").cma().unwrap();
    assert_eq!((two.size, two.window), (4 << 20, Some(CmaWindow { base: 0x2600_0000, limit: 0x2680_0000 })));
    assert_eq!(line("quiet").cma(), None);
    assert_eq!(
        events("mem=64M@0x20000000 mem=1G mem=all"),
        [
            "Mem(MemParam { size: 67108864, start: Some(536870912) })",
            "Mem(MemParam { size: 1073741824, start: None })",
            "! mem=all: 'all' is not a number",
            "Mem(MemParam { size: 0, start: None })"
        ]
    );
    assert_eq!(
        events("mem=64M@x vmalloc=8Mx memblock=xdebugx memblock=on"),
        [
            "! mem=64M@x: 'x' is not a number",
            "Mem(MemParam { size: 67108864, start: Some(0) })",
            "! vmalloc=8Mx: 'x' follows the number",
            "Vmalloc(8388608)",
            "MemblockDebug"
        ]
    );
    assert_eq!(
        events("earlycon earlycon=pl011,0x9000000 earlycon=uart8250,mmio32,0x1000,115200n8"),
        [
            "Earlycon(None)",
            "Earlycon(Some(Earlycon { driver: \"pl011\", access: None, address: Some(150994944), options: None }))",
            "Earlycon(Some(Earlycon { driver: \"uart8250\", access: Some(\"mmio32\"), address: Some(4096), options: Some(\"115200n8\") }))"
        ]
    );
}

#[test]
fn dashes_quotes_and_the_double_dash() {
    let all: Vec<_> = line("mma-heap=a,miu=0,sz=1 \"b=x y\" c=\"z w\" =d flag -- init=1 x").args().collect();
    let arg = |name, value| Arg { name, value };
    assert_eq!(
        all,
        [
            arg("mma-heap", Some("a,miu=0,sz=1")),
            arg("b", Some("x y")),
            arg("c", Some("z w")),
            arg("=d", None),
            arg("flag", None)
        ]
    );
    assert!(matches!(line("mma-heap=a,miu=0,sz=1").params().next(), Some(Ok(Param::MmaHeap(_)))));
    assert_eq!(line("a b -- init=1 x").init_args(), "init=1 x");
    assert_eq!(line("a b").init_args(), "");
    assert!(line("x -- y").unknown(|_| false).iter().eq([arg("x", None)]));
    assert_eq!(line("slub_debug=F slub_debug=P").last("slub-debug"), Some(arg("slub_debug", Some("P"))));
}

#[test]
fn the_unknown_are_named_as_linux_names_them() {
    let unknown = |text: &str| {
        let text = line(text).unknown(is_known).to_string();
        text.split('"').nth(1).unwrap().to_string()
    };
    assert_eq!(unknown("b=1 a mod.x=2 a b=2 c=\"p q\" quiet TERM=vt100"), "a a b=2 c=p q");
    assert!(line("quiet cma=8M rootwait").unknown(is_known).is_empty());
    assert!(!line("rootwait=1").unknown(is_known).is_empty());
}

#[test]
fn a_line_of_100_kb_is_cut_with_one_message() {
    let long = "x=1 ".repeat(25_600);
    let (cut, error) = CommandLine::new(long.as_bytes());
    assert_eq!(cut.text().len(), COMMAND_LINE_SIZE - 1);
    assert_eq!(error, Some(CommandLineError::TooLong { bytes: 102_400 }));
    assert_eq!(error.unwrap().to_string(), "Kernel command line: 102400 bytes, cut to 1023");
    assert_eq!(cut.unknown(is_known).iter().count(), 1);
    let (text, error) = CommandLine::new(b"good bad\xff worse");
    assert_eq!((text.text(), error), ("good bad", Some(CommandLineError::NotText { offset: 8 })));
    let wide = "é".repeat(600);
    assert_eq!(CommandLine::new(wide.as_bytes()).1, Some(CommandLineError::TooLong { bytes: 1200 }));
    assert_eq!(CommandLine::new(b"a\0b").0.text(), "a");
}

/// The tokenizer as a machine over a NUL-terminated array, the way the kernel's documentation describes it:
/// scan, then blank out separators and quotes in place.
fn model(text: &str) -> Vec<(String, Option<String>)> {
    let space = |b: u8| matches!(b, b' ' | 9..=13);
    let mut bytes: Vec<u8> = text.bytes().chain([0, 0]).collect();
    let until = |bytes: &[u8], at: usize| {
        String::from_utf8(bytes[at..].iter().copied().take_while(|&b| b != 0).collect()).unwrap()
    };
    let mut at = 0;
    let mut out = Vec::new();
    loop {
        while space(bytes[at]) {
            at += 1;
        }
        if bytes[at] == 0 {
            return out;
        }
        let whole_quoted = bytes[at] == b'"';
        at += usize::from(whole_quoted);
        let (mut quoting, mut equals, mut end) = (whole_quoted, 0, at);
        while bytes[end] != 0 && (quoting || !space(bytes[end])) {
            if bytes[end] == b'=' && equals == 0 {
                equals = end - at;
            }
            quoting ^= bytes[end] == b'"';
            end += 1;
        }
        let next = end + usize::from(bytes[end] != 0);
        bytes[end] = 0;
        let mut value_at = at + equals + 1;
        if equals != 0 {
            bytes[at + equals] = 0;
            if bytes[value_at] == b'"' {
                value_at += 1;
                if bytes[end - 1] == b'"' {
                    bytes[end - 1] = 0;
                }
            }
        }
        if whole_quoted && end > at && bytes[end - 1] == b'"' {
            bytes[end - 1] = 0;
        }
        let name = until(&bytes, at);
        let value = (equals != 0).then(|| until(&bytes, value_at));
        if name == "--" && value.is_none() {
            return out;
        }
        out.push((name, value));
        at = next;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    #[cfg_attr(miri, ignore = "making the generator takes minutes; the tables above cover the code")]
    fn tokens_agree_with_the_array_machine(text in "([a-c=\"\t \u{b}-]|--| \"|=\"|é){0,40}") {
        let (line, _) = CommandLine::new(text.as_bytes());
        let ours: Vec<_> = line.args().map(|a| (a.name.to_string(), a.value.map(str::to_string))).collect();
        prop_assert_eq!(ours, model(&text));
    }

    #[test]
    #[cfg_attr(miri, ignore = "making the generator takes minutes; the tables above cover the code")]
    fn every_complaint_is_about_an_argument_of_the_line(text in "((mem|cma|mma_heap|LX_MEM2)=[0-9MGx@,a=-]{0,12} ?){0,5}") {
        let (line, _) = CommandLine::new(text.as_bytes());
        for e in line.params().filter_map(Result::err) {
            prop_assert!(text.contains(e.arg.name));
            prop_assert!(!matches!(e.reason, Reason::Leftover("")));
        }
    }
}
