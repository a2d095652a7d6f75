//! The commands that every console has.

mod files;
mod free;
mod machine;

use crate::Command;

/// The built-in commands, sorted by name.
pub const COMMANDS: &[Command] = &[
    Command { name: "cat", usage: "PATH...", help: "show files", run: files::cat },
    Command {
        name: "crash",
        usage: "panic|abort|undef|stack|double-free|object-double-free|page-after-free|object-after-free|object-overrun",
        help: "crash, to see the report",
        run: machine::crash,
    },
    Command { name: "dmesg", usage: "", help: "show the kernel log", run: machine::dmesg },
    Command {
        name: "echo",
        usage: "[-n] [WORDS]",
        help: "print words; > PATH writes a file",
        run: files::echo,
    },
    Command { name: "free", usage: "", help: "show free and used memory", run: free::free },
    Command { name: "help", usage: "[COMMAND]", help: "show the commands", run: machine::help },
    Command { name: "ls", usage: "[PATH...]", help: "list directories", run: files::ls },
    Command { name: "poweroff", usage: "", help: "switch the machine off", run: machine::poweroff },
    Command { name: "reboot", usage: "", help: "restart the machine", run: machine::reboot },
    Command { name: "selftest", usage: "[NAME]", help: "run the tests in the image", run: machine::selftest },
];
