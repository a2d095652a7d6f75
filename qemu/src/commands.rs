//! Lists of console commands, as `--exec` and `--script` take them.

/// The commands of a line: separated by `;`, except within quotes; empty ones are left out.
pub fn from_line(line: &str) -> Vec<String> {
    let mut commands = vec![String::new()];
    let mut quote = None;
    for character in line.chars() {
        match (quote, character) {
            (None, ';' | '\n') => {
                commands.push(String::new());
                continue;
            }
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
        if let Some(command) = commands.last_mut() {
            command.push(character);
        }
    }
    let trimmed = commands.iter().map(|command| command.trim().to_owned());
    trimmed.filter(|command| !command.is_empty()).collect()
}

/// The commands of a file: one a line; lines that are empty or start with `#` are left out.
pub fn from_script(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_separate_outside_of_quotes() {
        assert_eq!(from_line("cat /proc/iomem; free"), ["cat /proc/iomem", "free"]);
        assert_eq!(from_line(" ;; dmesg ; "), ["dmesg"]);
        assert_eq!(from_line("echo 'a;b' > x; echo \"it's; c\""), ["echo 'a;b' > x", "echo \"it's; c\""]);
        assert!(from_line("").is_empty());
    }

    #[test]
    fn scripts_have_comments_and_no_separators() {
        assert_eq!(from_script("# first\n\n  free\r\necho a;b # c\n"), ["free", "echo a;b # c"]);
    }
}
