//! Passwords in command lines: neither shown in texts nor left in the process list.

use std::fs::{self, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// What stands before a password, in small letters.
const KEY: &[u8] = b"password=";

/// A text with each `password=` in it less its value.
pub fn without_passwords(text: &str) -> String {
    let mut shown = text.to_owned();
    // From the end, so that the places before stay where they are. They begin and end at ASCII characters.
    for value in values(text.as_bytes()).into_iter().rev() {
        shown.replace_range(value, "*");
    }
    shown
}

/// Overwrites the value of each `password=` in this process's command line, as others see it (proc_pid_cmdline(5)).
///
/// The program's own [`std::env::args`] give asterisks from then on. It is done in place, by way of `/proc/self/mem`:
/// starting the program again without the password would need a descriptor or a variable to carry it, which programs
/// that are created for debugging would inherit.
///
/// # Errors
/// There is no `/proc`, or it does not let a process write its own memory.
pub fn hide_passwords() -> io::Result<()> {
    let line = fs::read("/proc/self/cmdline")?;
    let values = values(&line);
    if values.is_empty() {
        return Ok(());
    }
    let start = arguments_start(&fs::read_to_string("/proc/self/stat")?);
    let start = start.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/self/stat has no arg_start"))?;
    let memory = OpenOptions::new().write(true).open("/proc/self/mem")?;
    for value in values {
        memory.write_all_at(&vec![b'*'; value.len()], start + value.start as u64)?;
    }
    Ok(())
}

/// Field 48, `arg_start`; the second field is in parentheses and may have anything in it (proc_pid_stat(5)).
fn arguments_start(stat: &str) -> Option<u64> {
    let third_on = stat.rsplit_once(')')?.1;
    third_on.split_whitespace().nth(48 - 3)?.parse().ok()
}

/// Where the values are: up to a comma, the end of the braces around, or the end of the argument.
fn values(text: &[u8]) -> Vec<Range<usize>> {
    let mut values = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].windows(KEY.len()).position(|window| window.eq_ignore_ascii_case(KEY)) {
        let start = at + found + KEY.len();
        let is_braced = text[start..].starts_with(b"@{");
        let (mut depth, mut previous) = (0_usize, 0);
        let ends = |&byte: &u8| {
            let before = std::mem::replace(&mut previous, byte);
            match byte {
                0 => return true,
                b'{' if depth > 0 || before == b'@' => depth += 1,
                b'}' if depth == 0 => return true,
                b'}' => depth -= 1,
                b',' => return depth == 0,
                _ => {}
            }
            is_braced && byte == b'}' && depth == 0
        };
        let len = text[start..].iter().position(ends).unwrap_or(text.len() - start);
        // The brace that ends it belongs to it.
        let closing = usize::from(is_braced && text.get(start + len) == Some(&b'}'));
        values.push(start..start + len + closing);
        at = start + len;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown_however_they_are_written() {
        let check = |text: &str, expected: &str| assert_eq!(without_passwords(text), expected);
        check("tcp:server=a,password=Xy12,port=1", "tcp:server=a,password=*,port=1");
        check("tcp:Password=Xy12", "tcp:Password=*");
        check("tcp:password=@{a,{b},c},port=1", "tcp:password=*,port=1");
        check("tcp:password={a,port=1", "tcp:password=*,port=1");
        check("tcp:password=@{a", "tcp:password=*");
        check("kdsrv:server=@{tcp:password=x y},trans=@{com:}", "kdsrv:server=@{tcp:password=*},trans=@{com:}");
        check("tcp:password=\u{e4}\u{fc},x,PASSWORD=q", "tcp:password=*,x,PASSWORD=*");
        check("tcp:password=", "tcp:password=*");
        check("-lines", "-lines");
    }

    #[test]
    fn the_arguments_are_found_whatever_the_program_is_called() {
        let stat =
            format!("1 (a) b) S {}", (4..=52).map(|field| (field * 10).to_string()).collect::<Vec<_>>().join(" "));
        assert_eq!(arguments_start(&stat), Some(480));
        assert_eq!(arguments_start("1 (x) S 4 5"), None);
    }
}
