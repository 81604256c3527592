//! Why `std::terminate` was called.

use super::analysis::Verdict;
use super::{FaultClass, ProgramMessage};
use crate::{Engine, StackFrame};

/// Functions by which it is known that `std::terminate` was called; its own frame may have no name.
pub(super) fn is_terminate(name: &str) -> bool {
    matches!(
        name,
        "std::terminate" | "__cxxabiv1::__terminate" | "__gnu_cxx::__verbose_terminate_handler" | "__cxa_throw"
    ) || name.ends_with("::__verbose_terminate_handler")
}

/// Functions that call it for a function that must not throw: of libstdc++ (libsupc++/eh_call.cc, from the personality
/// routine), of code made by Clang.
const REFUSING: [&str; 3] = ["__gxx_personality_v0", "__cxa_call_terminate", "__clang_call_terminate"];

impl Engine {
    /// The verdict over a thread that is where `__cxa_throw` begins (`sxe eh`): nothing has been decided there.
    pub(super) fn throwing(&mut self, messages: &mut Vec<ProgramMessage>) -> Option<Verdict> {
        let mut memory = self.memory().ok()?;
        let thrown = self.about_to_be_thrown(&mut memory)?;
        let what = thrown.what.map(|what| format!(": {what}")).unwrap_or_default();
        let text = format!("{}{what}", thrown.type_name);
        let cause = format!("{text} is being thrown; whether it is caught is not decided yet");
        messages.push(ProgramMessage { source: "C++ exception".into(), text, place: String::new() });
        Some(Verdict::plain(FaultClass::ThrownException, cause))
    }

    /// The verdict over a thread that is in `std::terminate`.
    pub(super) fn termination(&mut self, own: &[StackFrame], messages: &mut Vec<ProgramMessage>) -> Verdict {
        let calls = |name: &str| own.iter().any(|row| row.function == name);
        let Some(exception) = self.cpp_exception() else {
            let cause = match calls("std::thread::~thread") || calls("std::thread::operator=") {
                true => {
                    "a std::thread was destroyed or assigned to while it was joinable: neither join() nor detach() was \
                     called"
                }
                false => "std::terminate was called without an exception",
            };
            return Verdict::plain(FaultClass::Terminate, cause);
        };
        let is_refused = REFUSING.into_iter().any(calls);
        let mut cause = match is_refused {
            true => {
                format!(
                    "the exception {} was to leave a function that must not throw (noexcept, a destructor)",
                    exception.text
                )
            }
            false => format!("nothing catches the exception {}", exception.text),
        };
        // What is still on its way is another: this one counts as caught by std::terminate.
        let others = self.cpp_exceptions().ok().filter(|known| is_refused && known.uncaught != 0);
        if let Some(other) = others.and_then(|known| known.exceptions.into_iter().find(|other| other.handlers == 0)) {
            let what = other.what.map(|what| format!(": {what}")).unwrap_or_default();
            cause += &format!("; it was thrown while another was on its way, {}{what}", other.type_name);
        }
        let is_memory = exception.text.starts_with("std::bad_alloc");
        messages.push(exception);
        let class = if is_memory { FaultClass::OutOfMemory } else { FaultClass::UncaughtException };
        Verdict::plain(class, cause)
    }
}
