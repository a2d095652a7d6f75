//! `help` and the commands that act on the machine.

use crate::{Command, Context, CrashKind, Failure, FsError, dmesg::Timestamp, selftest};
use alloc::{format, string::String};
use core::fmt::Write;

/// Where the explanations begin in a line of `help`.
const HELP_AT: usize = 44;

pub(super) fn help(context: &mut Context<'_>) -> Result<(), Failure> {
    let commands = context.commands;
    let one = match context.args {
        [] => None,
        [name] => Some(name),
        _ => return Err(Failure::Usage),
    };
    let selected = |command: &&Command| one.is_none_or(|name| command.name == name);
    if let (Some(name), false) = (one, commands.iter().any(|command| selected(&command))) {
        context.report(name, &"No such command");
        return Err(Failure::Status(1));
    }
    for Command { name, usage, help, .. } in commands.iter().filter(selected) {
        let call = format!("{name} {usage}");
        let call = call.trim_end();
        // What is too long for its column stands on a line of its own.
        let (line, call) =
            if call.len() > HELP_AT { (format!("{call}\n"), "") } else { (String::new(), call) };
        writeln!(context, "{line}{call:HELP_AT$} {help}")?;
    }
    Ok(())
}

fn no_arguments(context: &Context<'_>) -> Result<(), Failure> {
    if context.args.is_empty() { Ok(()) } else { Err(Failure::Usage) }
}

pub(super) fn dmesg(context: &mut Context<'_>) -> Result<(), Failure> {
    no_arguments(context)?;
    let (mut seq, mut text) = (0, String::new());
    while let Some(record) = context.system.log_record(seq, &mut text) {
        for line in text.split('\n') {
            writeln!(context, "{}{line}", Timestamp(record.nanoseconds))?;
        }
        seq = record.seq + 1;
    }
    Ok(())
}

pub(super) fn poweroff(context: &mut Context<'_>) -> Result<(), Failure> {
    no_arguments(context)?;
    Err(context.system.poweroff().into())
}

pub(super) fn reboot(context: &mut Context<'_>) -> Result<(), Failure> {
    no_arguments(context)?;
    Err(context.system.reboot().into())
}

pub(super) fn crash(context: &mut Context<'_>) -> Result<(), Failure> {
    let [name] = context.args else { return Err(Failure::Usage) };
    let known = CrashKind::ALL.iter().find(|(known, _)| known == name);
    let (_, kind) = known.ok_or_else(|| Failure::Argument(name.clone(), FsError::InvalidArgument))?;
    let refused = context.system.crash(*kind);
    Err(Failure::Argument(name.clone(), refused))
}

pub(super) fn selftest(context: &mut Context<'_>) -> Result<(), Failure> {
    let name = match context.args {
        [] => None,
        [name] => Some(name.as_str()),
        _ => return Err(Failure::Usage),
    };
    if let Some(lacking) = context.system.lacking() {
        context.report("memory", &lacking);
        return Err(Failure::Status(1));
    }
    let tests = context.system.tests();
    if let (Some(name), 0) = (name, selftest::select(tests, name).count()) {
        context.report(name, &"No such test");
        return Err(Failure::Status(1));
    }
    let summary = selftest::run(selftest::select(tests, name), context)?;
    if summary.failed > 0 { Err(Failure::Status(1)) } else { Ok(()) }
}
