//! Whose frame it is: the program's own, or a library's and a runtime's, which are seldom to blame.

use crate::{FrameKind, ModuleSummary, StackFrame};

/// Libraries whose code is seldom to blame: file names up to the version.
const LIBRARIES: &[&str] = &[
    "libc.so",
    "libc-",
    "ld-linux",
    "ld-2",
    "ld.so",
    "libpthread",
    "libm.so",
    "libm-",
    "libdl",
    "librt",
    "libgcc_s",
    // It calls what it was told to.
    "libffi",
    "libstdc++",
    "libc++",
    "libc++abi",
    "libasan",
    "libubsan",
    "libtsan",
    "liblsan",
    "libunwind",
    "ld-musl",
    "[vdso]",
    "linux-vdso",
];

/// Functions of the C library and compilers' runtimes, as a statically linked program has them among its own.
const FUNCTIONS: &[&str] = &[
    "abort",
    "raise",
    "gsignal",
    "kill",
    "tgkill",
    "pthread_kill",
    "__pthread_kill",
    "__pthread_kill_implementation",
    "__pthread_kill_internal",
    "__assert_fail",
    "__assert_fail_base",
    "__assert_perror_fail",
    "__libc_message",
    "__libc_fatal",
    "malloc_printerr",
    "_int_free",
    "_int_malloc",
    "_int_realloc",
    "malloc_consolidate",
    "unlink_chunk",
    "malloc",
    "free",
    "calloc",
    "realloc",
    "cfree",
    "__libc_malloc",
    "__libc_free",
    "__libc_calloc",
    "__libc_realloc",
    "tcache_get",
    "tcache_put",
    "__fortify_fail",
    "__chk_fail",
    "__stack_chk_fail",
    "__stack_chk_fail_local",
    "operator new",
    "operator delete",
    "operator new[]",
    "operator delete[]",
    "_Unwind_Resume",
    "_Unwind_RaiseException",
    "__libc_start_main",
    "__libc_start_main_impl",
    "__libc_start_call_main",
    "_start",
    "start_thread",
    "clone",
    "clone3",
    "__clone3",
    "__restore_rt",
    "rust_begin_unwind",
    "rust_panic",
    "rust_eh_personality",
    "__rust_start_panic",
    "__gxx_personality_v0",
    "__verbose_terminate_handler",
];

/// Scopes and beginnings of names that belong to runtimes.
const PREFIXES: &[&str] = &[
    "std::",
    "core::",
    "alloc::",
    "panic_abort::",
    "panic_unwind::",
    "__rustc::",
    "hashbrown::",
    "gimli::",
    "parking_lot::",
    "parking_lot_core::",
    "lock_api::",
    "tokio::",
    "mio::",
    "futures_core::",
    "futures_util::",
    "__gnu_cxx::",
    "__gthread_",
    "__cxxabiv1::",
    "__cxa_",
    "__asan",
    "__ubsan",
    "__tsan",
    "__lsan",
    "__sanitizer",
    "__interceptor_",
    "__mem",
    "__str",
    "__wcs",
    "__wmem",
    "__rust_",
    "__GI_",
    "__libc_",
    "_IO_",
    "__printf",
    "__vfprintf",
    "__nptl_",
    "__pthread_",
];

/// Where compilers and C libraries have their headers, whose functions are inlined.
const HEADERS: &[&str] = &["/usr/include/", "/usr/lib/gcc/"];

/// Scopes of Rust that show in `<Type as Trait>::method`.
const RUST_SCOPES: &[&str] = &["core::", "std::", "alloc::", "lock_api::", "parking_lot::", "tokio::"];

/// Whether a frame is a library's or a runtime's. `module` is the one of its code.
pub(super) fn is_runtime(frame: &StackFrame, module: Option<&ModuleSummary>) -> bool {
    if frame.is_signal_frame {
        return true;
    }
    let Some(module) = module else { return true };
    let in_header = |source: &crate::SourceLocation| HEADERS.iter().any(|folder| source.file.starts_with(folder));
    if frame.kind == FrameKind::Inline && frame.source.as_ref().is_some_and(in_header) {
        return true;
    }
    let file = module.path.rsplit('/').next().unwrap_or_default();
    let in_library = !module.is_main && LIBRARIES.iter().any(|name| file.starts_with(name));
    in_library || is_runtime_function(&frame.function)
}

/// Whether a function is a runtime's by its name alone.
pub(super) fn is_runtime_function(name: &str) -> bool {
    if FUNCTIONS.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return true;
    }
    // `<core::result::Result<T, E> as ...>::method`; `<mine::Type as core::fmt::Display>::fmt` is one's own.
    let inner = name.strip_prefix('<');
    inner.is_some_and(|inner| RUST_SCOPES.iter().any(|scope| inner.trim_start_matches(['&', '[']).starts_with(scope)))
}

/// A function's name for a sentence: long template arguments are left out.
pub(super) fn short_name(name: &str) -> String {
    const LONG: usize = 60;
    if name.len() <= LONG || name.starts_with('<') || name.contains("operator") {
        return name.to_owned();
    }
    let (mut short, mut depth) = (String::new(), 0_usize);
    for letter in name.chars() {
        match letter {
            '<' => {
                if depth == 0 {
                    short.push_str("<...>");
                }
                depth += 1;
            }
            '>' => depth = depth.saturating_sub(1),
            _ if depth == 0 => short.push(letter),
            _ => {}
        }
    }
    short
}

/// A frame's function, or where in its module it is: `svc+0x1177`.
pub(super) fn function_words(frame: &StackFrame) -> String {
    match (frame.function.as_str(), frame.module.as_str()) {
        ("", "") => format!("the code at {}", frame.instruction),
        ("", module) => format!("{module}+{:#x}", frame.displacement),
        (function, _) => function.to_owned(),
    }
}

/// A function's name without what differs between equal bugs: template arguments stay, addresses do not occur.
fn stable_name(frame: &StackFrame) -> String {
    match (frame.module.as_str(), frame.function.as_str()) {
        ("", "") => "unknown".to_owned(),
        // Without a symbol the distance from the module's start is the same in every run of one build.
        (module, "") => format!("{module}+{:x}", frame.displacement),
        (module, function) => format!("{module}!{}", without_clone(function)),
    }
}

/// A function's name without what GCC adds to those it has split or changed (`run.constprop.0.cold`), which differs with
/// its mood.
fn without_clone(function: &str) -> &str {
    const MARKS: &[&str] = &[".constprop.", ".isra.", ".part.", ".cold", ".lto_priv."];
    let end = MARKS.iter().filter_map(|mark| function.find(mark)).min();
    end.map_or(function, |end| &function[..end])
}

/// Own frames that a bucket's hash covers.
const HASHED_FRAMES: usize = 5;

/// `CLASS_module!function_1a2b3c4d`: the number stands for the class and the innermost own frames, so that different
/// ways to one function are told apart.
pub(super) fn bucket<'a>(
    class: &str,
    blamed: Option<&StackFrame>,
    own: impl Iterator<Item = &'a StackFrame>,
) -> String {
    let mut hash = Fnv::default();
    hash.add(class);
    let mut last = String::new();
    let mut count = 0;
    for frame in own {
        let name = stable_name(frame);
        // How deep a recursion went is chance.
        if name == last {
            continue;
        }
        hash.add(&name);
        last = name;
        count += 1;
        if count == HASHED_FRAMES {
            break;
        }
    }
    let name = blamed.map_or_else(|| "unknown".to_owned(), stable_name);
    format!("{class}_{name}_{:08x}", hash.0 as u32 ^ (hash.0 >> 32) as u32)
}

/// FNV-1a (draft-eastlake-fnv): a hash that stays the same over releases of the standard library.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, text: &str) {
        for byte in text.bytes().chain([0]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_have_short_names() {
        let long = "std::_Rb_tree<int, std::pair<int const, std::string>, std::less<int> >::_M_begin";
        assert_eq!(
            (short_name(long).as_str(), short_name("box<int>::get").as_str()),
            ("std::_Rb_tree<...>::_M_begin", "box<int>::get")
        );
    }

    #[test]
    fn runtimes_are_told_from_programs() {
        for name in ["abort", "std::vector<int>::at", "core::panicking::panic_fmt", "<core::option::Option<T>>::unwrap"]
        {
            assert!(is_runtime_function(name), "{name}");
        }
        assert_eq!(without_clone("run.constprop.0.cold"), "run");
        assert_eq!(without_clone("run::{closure#0}"), "run::{closure#0}");
        for name in ["main", "app::run", "<app::Thing as core::fmt::Display>::fmt", "strange", "memory_of"] {
            assert!(!is_runtime_function(name), "{name}");
        }
    }
}
