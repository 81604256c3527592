//! Names of users from `/etc/passwd`: a static server has no name service.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// The users of the machine, read again when the file changed.
#[derive(Debug, Default)]
pub(crate) struct Users {
    names: HashMap<u32, String>,
    read_at: Option<SystemTime>,
}

impl Users {
    /// The user's name, or the number in decimal.
    pub(crate) fn name(&mut self, uid: u32) -> String {
        self.refresh(Path::new("/etc/passwd"));
        self.names.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }

    fn refresh(&mut self, file: &Path) {
        let changed = fs::metadata(file).and_then(|metadata| metadata.modified()).ok();
        if changed.is_some() && changed != self.read_at {
            self.names = parse(&String::from_utf8_lossy(&fs::read(file).unwrap_or_default()));
            self.read_at = changed;
        }
    }
}

/// `name:password:uid:...` (passwd(5)); of several names of one id the first counts, as getpwuid(3) has it.
fn parse(text: &str) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(uid)) = (fields.next(), fields.nth(1))
            && let Ok(uid) = uid.parse()
            && !name.is_empty()
        {
            names.entry(uid).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_name_of_an_id_counts_and_others_are_numbers() {
        let mut users =
            Users { names: parse("root:x:0:0::/root:/bin/sh\ntoor:x:0:0\n+::\nbad:x:y:0\n"), read_at: None };
        assert_eq!(users.names.len(), 1);
        users.read_at = fs::metadata("/etc/passwd").and_then(|metadata| metadata.modified()).ok();
        assert_eq!((users.name(0), users.name(4_000_000_001)), ("root".into(), "4000000001".into()));
    }
}
