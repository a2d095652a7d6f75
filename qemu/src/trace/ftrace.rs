//! The text of `/sys/kernel/debug/tracing/trace`.
//!
//! Source: Linux 6.1 `kernel/trace/trace.c` (`print_func_help_header_irq`) and `trace_output.c` (`trace_print_context`,
//! `trace_print_lat_fmt`). There is one thread, the boot thread, with pid 0.

use std::io::{Result, Write};

use super::event::Event;

const HEADER: &str = "\
#                                _-----=> irqs-off/BH-disabled
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable
#                              |||| /     delay
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
";

/// Writes events, in order.
///
/// # Errors
/// Those of `out`.
pub fn write(events: &[Event], out: &mut impl Write) -> Result<()> {
    let (read, written) = (events.len(), events.len() as u64 + super::audit::dropped(events));
    write!(
        out,
        "# tracer: nop\n#\n# entries-in-buffer/entries-written: {read}/{written}   #P:1\n#\n{HEADER}"
    )?;
    events.iter().try_for_each(|event| line(event, out))
}

fn line(event: &Event, out: &mut impl Write) -> Result<()> {
    prefix(event, out)?;
    write!(out, "{}:", event.name)?;
    event.fields.iter().try_for_each(|(name, value)| write!(out, " {name}={value}"))?;
    writeln!(out)?;
    if !event.stack.is_empty() {
        prefix(event, out)?;
        writeln!(out, "<stack trace>")?;
        event.callers.iter().try_for_each(|caller| writeln!(out, " => {caller}"))?;
    }
    Ok(())
}

/// Everything before the event's name.
fn prefix(event: &Event, out: &mut impl Write) -> Result<()> {
    let (off, hard) = (if event.irqs_off { 'd' } else { '.' }, if event.hardirq { 'h' } else { '.' });
    let micros = event.time / 1000;
    write!(out, "{:>16}-{:<7} [000] {off}.{hard}..", "<idle>", 0)?;
    write!(out, " {:5}.{:06}: ", micros / 1_000_000, micros % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::event::Value;

    #[test]
    fn lines_are_linux_s() {
        let fields =
            [("page", Value::Text("c6f00000".into())), ("pfn", Value::Number { value: 0x2001f, hex: true })];
        let event = Event {
            time: 12_345_678_901,
            irqs_off: true,
            hardirq: false,
            group: "kmem".into(),
            name: "mm_page_free".into(),
            fields: fields.map(|(name, value)| (name.to_owned(), value)).into(),
            stack: vec![1],
            callers: vec!["here".into(), "there".into()],
        };
        let mut text = Vec::new();
        write(&[event], &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.starts_with("# tracer: nop\n#\n# entries-in-buffer/entries-written: 1/1   #P:1\n#\n"),
            "{text}"
        );
        let end = "          <idle>-0       [000] d....    12.345678: mm_page_free: page=c6f00000 pfn=0x2001f\n          \
                   <idle>-0       [000] d....    12.345678: <stack trace>\n => here\n => there\n";
        assert!(text.ends_with(end), "{text}");
    }
}
