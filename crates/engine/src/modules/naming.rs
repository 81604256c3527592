//! How modules are called in `module!symbol`.

/// The name of the module loaded from `path`: base name without its last extension, every character that cannot be in
/// an identifier replaced by `_`; the program itself keeps its extension, for that is its name.
///
/// `libc.so.6` becomes `libc_so`, `[vdso]` becomes `linux_vdso_so`.
pub(crate) fn module_name(path: &str, is_main: bool) -> String {
    // The kernel's name for the vdso, where the loader's would be linux-vdso.so.1 (vdso(7)).
    let path = if path == "[vdso]" { "linux-vdso.so.1" } else { path };
    // A file that was replaced while mapped is shown so by the kernel (proc_pid_maps(5)).
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let base = path.rsplit('/').next().unwrap_or(path);
    let stem = match base.rsplit_once('.') {
        Some((stem, _)) if !is_main && !stem.is_empty() => stem,
        _ => base,
    };
    let mut name: String =
        stem.chars().map(|char| if char.is_alphanumeric() || char == '_' { char } else { '_' }).collect();
    if name.is_empty() {
        name.push_str("unknown");
    }
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_reference() {
        let check = |path, expected| assert_eq!(module_name(path, false), expected);
        check("/lib/x86_64-linux-gnu/libc.so.6", "libc_so");
        check("/lib64/ld-linux-x86-64.so.2", "ld_linux_x86_64_so");
        check("/usr/lib/libstdc++.so.6", "libstdc___so");
        check("/usr/lib/libstdc++.so.6.0.30", "libstdc___so_6_0");
        check("[vdso]", "linux_vdso_so");
        check("/tmp/lib.so (deleted)", "lib");
        check("/x/.hidden", "_hidden");
        check("/x/7z.so", "_7z");
        check("", "unknown");
        assert_eq!(module_name("/opt/my-svc.bin", true), "my_svc_bin");
        assert_eq!(module_name("/usr/bin/python3.11", true), "python3_11");
    }
}
