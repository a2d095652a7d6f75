//! The command line: options, subcommands, exit statuses.
//!
//! Exit status: 0 all well; 1 a command failed or the kernel panicked; 2 usage, or something is missing; 3 timed
//! out; 130 interrupted.

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::bench::DEFAULT_BOARD;
use crate::bench::command::Bench;
use crate::board::{self, Board, boards_dir};
use crate::commands;
use crate::error::{Error, Result};
use crate::firmware;
use crate::image::{self, Image};
use crate::map;
use crate::plan::{Plan, shell_line};
use crate::request::{Request, TreeChoice};
use crate::run::{Inputs, run};
use crate::session::{Input, Outcome, Purpose, View};
use crate::setup::{Host, ensure};
use crate::size::Size;
use crate::symbols::Symbols;
use crate::terminal::{RawMode, Screen, forward_stdin};
use crate::trace::{self, Form};

/// Without `--timeout`, for runs that nobody watches.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Builds the image, boots it in QEMU and hands the terminal to its console (Ctrl-A X leaves).
#[derive(Debug, Parser)]
#[command(name = "qemu", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Sub>,
    #[command(flatten)]
    boot: Boot,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Boot a board (the default)
    Boot(Boot),
    /// Draw what memory is used for, from the host's side
    Map {
        /// The picture
        #[arg(long, value_name = "FILE")]
        svg: PathBuf,
        #[command(flatten)]
        boot: Boot,
    },
    /// List the boards
    Boards,
    /// Write what a real board is flashed with
    Image {
        /// The board
        #[arg(long, value_name = "NAME")]
        board: String,
        /// The folder for kernel.elf, zImage, firmware.bin and NAME.dtb
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Count the instructions of the kernel's calls, beside targets and Linux
    Bench(Bench),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Loader {
    #[value(name = "u-boot")]
    UBoot,
}

#[derive(Debug, Args)]
struct Boot {
    /// The board; `boards` lists them
    #[arg(long, value_name = "NAME", default_value = DEFAULT_BOARD)]
    board: String,
    /// RAM size, such as 128M, where the board lets one choose
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    mem: Option<String>,
    /// Number of CPUs, where the board lets one choose
    #[arg(long, value_name = "N")]
    smp: Option<u32>,
    /// Added to the board's kernel command line
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    append: Option<String>,
    /// Replaces the board's kernel command line
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    cmdline: Option<String>,
    /// Another device tree blob; its own bootargs then count as the board's
    #[arg(long, value_name = "FILE", conflicts_with = "no_dtb")]
    dtb: Option<PathBuf>,
    /// No device tree: the boot loader passes ATAGs
    #[arg(long)]
    no_dtb: bool,
    /// Run these console commands, then power off; stops at the first that fails
    #[arg(long, value_name = "CMD; CMD", allow_hyphen_values = true)]
    exec: Option<String>,
    /// The same from a file, a command a line, # comments
    #[arg(long, value_name = "FILE", conflicts_with = "exec")]
    script: Option<PathBuf>,
    /// Print only what the commands print
    #[arg(long)]
    quiet: bool,
    /// Count instructions: guest time advances 1 ns an instruction
    #[arg(long)]
    icount: bool,
    /// Give up after this long [default: 60 with --exec or --script, else never]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// Wait for a debugger, and say how to attach
    #[arg(long)]
    gdb: bool,
    /// Boot through a real boot loader, where the board has one
    #[arg(long, value_name = "NAME")]
    loader: Option<Loader>,
    /// After the commands, save the display as a PNG file
    #[arg(long, value_name = "FILE.png")]
    screenshot: Option<PathBuf>,
    /// Open a window for the display
    #[arg(long)]
    display: bool,
    /// Record trace events: .txt as ftrace prints them, .json for the Perfetto UI. All of them, unless the kernel
    /// command line says which: --append trace=cma,migrate
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Print the QEMU command line and run nothing
    #[arg(long)]
    dry_run: bool,
}

/// Parses the arguments, does what they say, and gives the exit status.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command.unwrap_or(Sub::Boot(cli.boot)) {
        Sub::Boot(boot) => boot.run(),
        Sub::Map { svg, boot } => boot.map(&svg),
        Sub::Boards => list_boards(),
        Sub::Image { board, out } => write_image(&board, &out),
        Sub::Bench(bench) => bench.run(),
    };
    let status = result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        2
    });
    ExitCode::from(status)
}

fn list_boards() -> Result<u8> {
    for name in board::names(&boards_dir())? {
        let board = Board::load(&boards_dir(), &name)?;
        let default = if name == DEFAULT_BOARD { " (default)" } else { "" };
        println!("{name:<14}{}; console: {}{default}", board.spec.summary, board.spec.console);
    }
    Ok(0)
}

impl Boot {
    fn run(&self) -> Result<u8> {
        let commands = self.commands()?;
        let Some((plan, image)) = self.prepare(self.request()?)? else { return Ok(0) };
        let inputs = Inputs::default();
        stop_on_signals(&inputs);
        let terminal = commands.is_none().then(|| attach_user(&inputs)).flatten();
        let purpose = match &commands {
            Some(commands) => Purpose::Commands(commands),
            None => Purpose::Interactive { held: terminal.is_none() },
        };
        let mut screen = Screen::new(self.quiet && commands.is_some());
        let timeout = self.timeout(commands.is_some());
        let report = run(&plan, &image, purpose, timeout, &mut screen, inputs);
        drop(terminal);
        let report = report?;
        self.save_trace(&plan, &image)?;
        Ok(report.outcome.status())
    }

    /// Builds what is to run; nothing when only QEMU's command line is asked for.
    fn prepare(&self, request: Request) -> Result<Option<(Plan, Image)>> {
        self.trace.as_deref().map(Form::of).transpose()?;
        let plan = Plan::new(request)?;
        if self.dry_run {
            println!("{}", shell_line(&plan.args()));
            return Ok(None);
        }
        ensure(&plan.request().tools(), &Host::here())?;
        let image = image::build(self.quiet)?;
        if self.gdb {
            eprintln!("waiting for a debugger on port 1234; attach with:");
            eprintln!("  gdb-multiarch {} -ex 'target remote :1234'", image.elf.display());
        }
        Ok(Some((plan, image)))
    }

    fn save_trace(&self, plan: &Plan, image: &Image) -> Result<()> {
        if let Some(file) = &self.trace {
            eprintln!("{}", trace::save(plan, image, file)?);
        }
        Ok(())
    }

    /// Boots, runs the commands, asks for the memory map, and draws it.
    fn map(&self, svg: &Path) -> Result<u8> {
        let mut request = self.request()?;
        request.once = true;
        let append = [Some(map::OPTION), request.append.as_deref()];
        request.append = Some(append.into_iter().flatten().collect::<Vec<_>>().join(" "));
        let mut commands = self.commands()?.unwrap_or_default();
        let Some((plan, image)) = self.prepare(request)? else { return Ok(0) };
        commands.push(map::COMMAND.to_owned());
        let inputs = Inputs::default();
        stop_on_signals(&inputs);
        let mut view = Reticent { screen: Screen::new(true), silent: false };
        let report = run(&plan, &image, Purpose::Commands(&commands), self.timeout(true), &mut view, inputs)?;
        self.save_trace(&plan, &image)?;
        let status = report.outcome.status();
        let answer = report.answers.last().filter(|answer| answer.command == map::COMMAND && status == 0);
        if let Some(answer) = answer {
            let symbols = Symbols::new(&image.elf);
            let name = |address| symbols.annotate(&format!(" [<{address:08x}>]"));
            let picture = map::svg(&answer.output, &name).map_err(|line| Error::BadMap { line })?;
            fs::write(svg, picture).map_err(Error::file("write", svg))?;
        }
        Ok(status)
    }

    fn request(&self) -> Result<Request> {
        let board = Board::load(&boards_dir(), &self.board)?;
        let mut request = Request::new(board);
        request.mem = self.mem.as_deref().map(parse_size).transpose()?;
        request.smp = self.smp;
        request.append.clone_from(&self.append);
        request.cmdline.clone_from(&self.cmdline);
        request.u_boot = self.loader.is_some();
        request.icount = self.icount;
        request.gdb = self.gdb;
        request.screenshot.clone_from(&self.screenshot);
        request.display = self.display;
        request.once = self.exec.is_some() || self.script.is_some() || self.screenshot.is_some();
        request.trace = self.trace.is_some();
        if self.no_dtb {
            request.tree = TreeChoice::None;
        }
        if let Some(file) = &self.dtb {
            request.load_tree(file)?;
        }
        Ok(request)
    }

    fn commands(&self) -> Result<Option<Vec<String>>> {
        if let Some(file) = &self.script {
            let text = fs::read_to_string(file).map_err(Error::file("read", file))?;
            return Ok(Some(commands::from_script(&text)));
        }
        let none = self.screenshot.as_ref().map(|_| Vec::new());
        Ok(self.exec.as_deref().map(commands::from_line).or(none))
    }

    fn timeout(&self, unwatched: bool) -> Option<Duration> {
        let default = (unwatched && !self.gdb).then_some(TIMEOUT);
        self.timeout.map(|seconds| Duration::from_secs(seconds.into())).or(default)
    }
}

/// Shows what commands print, but not the memory map.
struct Reticent {
    screen: Screen,
    silent: bool,
}

impl View for Reticent {
    fn console(&mut self, bytes: &[u8]) {
        self.screen.console(bytes);
    }

    fn output(&mut self, bytes: &[u8]) {
        if !self.silent {
            self.screen.output(bytes);
        }
    }

    fn command(&mut self, line: &str) {
        self.silent = line.trim_end().ends_with(map::COMMAND);
        self.screen.command(line);
    }

    fn end(&mut self, outcome: &Outcome) {
        self.screen.end(outcome);
    }
}

fn parse_size(text: &str) -> Result<Size> {
    Size::parse(text).map_err(|reason| Error::BadSize { text: text.to_owned(), reason })
}

/// A signal ends the session, which then takes QEMU down and restores the terminal.
fn stop_on_signals(inputs: &Inputs) {
    let sender = inputs.sender.clone();
    // A session that has ended needs no stopping.
    let stop = move || drop(sender.send(Input::Interrupted));
    if let Err(error) = ctrlc::set_handler(stop) {
        eprintln!("signals stay as they are: {error}");
    }
}

fn attach_user(inputs: &Inputs) -> Option<RawMode> {
    let raw = RawMode::enter();
    if raw.is_some() && std::io::stderr().is_terminal() {
        eprintln!("Ctrl-A X leaves");
    }
    forward_stdin(inputs.sender.clone());
    raw
}

fn write_image(name: &str, out: &Path) -> Result<u8> {
    let plan = Plan::new(Request::new(Board::load(&boards_dir(), name)?))?;
    ensure(&plan.request().tools(), &Host::here())?;
    let image = image::build(false)?;
    fs::create_dir_all(out).map_err(Error::file("make", out))?;
    let read = |file: &Path| fs::read(file).map_err(Error::file("read", file));
    let zimage = read(&image.zimage)?;
    let tree = plan.tree(plan.cmdline())?;
    let files = [
        ("kernel.elf".to_owned(), read(&image.elf)?),
        ("firmware.bin".to_owned(), firmware::firmware(&zimage, Some(&tree))),
        ("zImage".to_owned(), zimage),
        (format!("{name}.dtb"), tree),
    ];
    for (file, bytes) in files {
        let file = out.join(file);
        image::replace(&file, &bytes)?;
        println!("{} ({} bytes)", file.display(), bytes.len());
    }
    Ok(0)
}
