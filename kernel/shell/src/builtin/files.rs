//! `cat`, `echo` and `ls`.

use crate::{Context, Failure, FsError};
use core::fmt::Write;

pub(super) fn cat(context: &mut Context<'_>) -> Result<(), Failure> {
    if context.args.is_empty() {
        return Err(Failure::Usage);
    }
    for_each_path(context, context.args, |context, path| {
        let vfs = context.vfs;
        vfs.read(path, context)
    })
}

pub(super) fn ls(context: &mut Context<'_>) -> Result<(), Failure> {
    let root = [alloc::string::String::from("/")];
    let paths = if context.args.is_empty() { &root } else { context.args };
    let titles = paths.len() > 1;
    for_each_path(context, paths, |context, path| {
        let Some(names) = context.vfs.list(path)? else { return Ok(writeln!(context, "{path}")?) };
        if titles {
            writeln!(context, "{path}:")?;
        }
        Ok(names.iter().try_for_each(|name| writeln!(context, "{name}"))?)
    })
}

/// Does `act` for every path, reports the ones that fail, and fails when one did.
fn for_each_path(
    context: &mut Context<'_>,
    paths: &[alloc::string::String],
    mut act: impl FnMut(&mut Context<'_>, &str) -> Result<(), FsError>,
) -> Result<(), Failure> {
    let mut result = Ok(());
    for path in paths {
        if let Err(error) = act(context, path) {
            if context.interrupted() || context.overflow {
                return Err(Failure::Interrupted);
            }
            context.report(path, &error);
            result = Err(Failure::Status(1));
        }
    }
    result
}

pub(super) fn echo(context: &mut Context<'_>) -> Result<(), Failure> {
    let (words, end) = match context.args.split_first() {
        Some((option, words)) if option == "-n" => (words, ""),
        _ => (context.args, "\n"),
    };
    write!(context, "{}{end}", words.join(" "))?;
    Ok(())
}
