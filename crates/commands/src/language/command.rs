//! Which command a text begins with.

use crate::command::CommandEntry;
use crate::registry;

/// A command found at the start of a text.
pub(crate) struct Recognised<'a> {
    pub(crate) entry: &'static CommandEntry,
    /// Its name as typed, with the options that belong to it (`kvn`, `lmv`).
    pub(crate) name: &'a str,
    /// What follows.
    pub(crate) rest: &'a str,
}

/// Names that are no words; longer ones before those they begin with.
const SYMBOLS: &[&str] = &["$$>a<", "$$><", "$><", "$$<", "$<", "$$", "??", "?", "||", "|", "~", "*", "#"];
/// Words with a sign in them.
const SIGNED: [&str; 4] = ["l+", "l-", "sx-", "lsf-"];
/// Letters that may follow `k` as options.
const STACK_OPTIONS: &str = "bpPvcnfLM";
/// Letters and digits that may follow `lm` as options.
const MODULE_OPTIONS: &str = "vflesmtkoua1D";

/// Finds the command that `text` begins with; the word that is none, otherwise.
pub(crate) fn recognise(text: &str) -> Result<Recognised<'_>, &str> {
    let text = text.trim_start();
    let found = |name_len: usize, entry| Recognised { entry, name: &text[..name_len], rest: &text[name_len..] };
    if let Some(symbol) = SYMBOLS.iter().find(|symbol| text.starts_with(**symbol)) {
        return registry::find(symbol).map(|entry| found(symbol.len(), entry)).ok_or(&text[..symbol.len()]);
    }
    let word_len = text.find(|c: char| c.is_whitespace() || matches!(c, ';' | '"')).unwrap_or(text.len());
    let word = &text[..word_len];
    if let Some(extension) = word.strip_prefix('!') {
        // `!module.name`: extensions of all modules are built in here.
        let bare = extension.rsplit_once('.').map_or(extension, |(_, bare)| bare);
        return registry::find(&format!("!{bare}")).map(|entry| found(word_len, entry)).ok_or(word);
    }
    if let Some(bare) = word.strip_prefix('.') {
        let letters = 1 + bare.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(bare.len());
        // `.f+`, `.sympath+`: the sign is part of the name.
        let signed = if word[letters..].starts_with(['+', '-']) { letters + 1 } else { letters };
        let lengths = [signed, letters];
        let known = lengths.iter().find_map(|&len| Some((len, registry::find(&word[..len])?)));
        return known.map(|(len, entry)| found(len, entry)).ok_or(word);
    }
    if let Some(signed) = SIGNED.iter().find(|name| word.starts_with(**name))
        && let Some(entry) = registry::find(signed)
    {
        return Ok(found(signed.len(), entry));
    }
    let letters = word.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(word.len());
    let run = &word[..letters];
    let options = |prefix: &str, allowed: &str| {
        let rest = word.strip_prefix(prefix)?;
        let len = rest.find(|c: char| !allowed.contains(c)).unwrap_or(rest.len());
        // What follows the options must not continue the word.
        let ends = !rest[len..].starts_with(|c: char| c.is_ascii_alphabetic());
        (len > 0 && ends).then_some(prefix.len() + len)
    };
    for (prefix, allowed) in [("k", STACK_OPTIONS), ("lm", MODULE_OPTIONS)] {
        if let (Some(len), Some(entry)) = (options(prefix, allowed), registry::find(prefix)) {
            return Ok(found(len, entry));
        }
    }
    if let Some(entry) = registry::find(run) {
        return Ok(found(letters, entry));
    }
    // A register may follow `r` without a space.
    let register = run.get(..1).filter(|first| first.eq_ignore_ascii_case("r")).and_then(|_| run.get(1..));
    let known = |name: &str| outpost_base::Arch::X86_64.register_by_name(name).is_some();
    if let (Some(entry), true) = (registry::find("r"), register.is_some_and(known)) {
        return Ok(found(1, entry));
    }
    Err(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected_name: &str, rest: &str) {
        let found = recognise(text).unwrap_or_else(|word| panic!("'{word}' is not known"));
        assert_eq!((found.name, found.rest), (expected_name, rest), "{text}");
    }

    #[test]
    fn names_end_where_arguments_begin() {
        check("bp0", "bp", "0");
        check("dd@esp", "dd", "@esp");
        check("dD rsp", "dD", " rsp");
        check("kvn 5", "kvn", " 5");
        check("kb5", "kb", "5");
        check("k", "k", "");
        check("lmvm libc", "lmvm", " libc");
        check("lm1m", "lm1m", "");
        check("l+t", "l+", "t");
        check("sx- -c k av", "sx-", " -c k av");
        check("~*k", "~", "*k");
        check("||1s", "||", "1s");
        check("?? x", "??", " x");
        check("?5", "?", "5");
        check("* anything", "*", " anything");
        check("$$ note", "$$", " note");
        check(".echo\"x\"", ".echo", "\"x\"");
        check(".sympath+ /x", ".sympath+", " /x");
        check(".f+", ".f+", "");
        check("!ext.address rsp", "!ext.address", " rsp");
        check("reax=5", "r", "eax=5");
        check("G", "G", "");
        check(".HELP k", ".HELP", " k");
    }

    #[test]
    fn case_decides_where_it_matters() {
        let name = |text: &str| recognise(text).unwrap().entry.names[0];
        assert_ne!(name("gN"), "");
        assert_eq!(recognise("dd").unwrap().name, "dd");
        for unknown in ["bt", "next", "quit", "print x", ".nosuch", "!nosuch", "kx"] {
            assert!(recognise(unknown).is_err(), "{unknown}");
        }
    }
}
