//! Thread-local variables: of the program, of libraries it is linked with, of such that it loads while it runs.

use std::path::PathBuf;

use outpost_ptrace::LiveTarget;
use outpost_target::StopReason;
use outpost_testkit::{Build, Compiler};

use crate::common::*;
use crate::counting::Counting;

/// The library that is linked; its variables have a fixed place below the thread pointer.
const LINKED: &str = r#"
__thread long linked = 5;
__thread char padding[300];
"#;

/// The library that is loaded later; its variables are made when a thread first asks for them.
const LOADED: &str = r#"
static __thread int counter = 100;
int touch(void (*then)(void)) {
    static __thread int calls;
    calls += 3;
    counter++;
    then();
    return counter;
}
"#;

const PROGRAM: &str = r#"
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
extern __thread long linked;
__thread int own = 1;
int (*touch)(void (*)(void));
void untouched(void) {}
void touched(void) {}
void nothing(void) {}
void *body(void *unused) {
    own = 2;
    linked = 8;
    untouched();
    touch(nothing);
    touch(touched);
    return unused;
}
int main(int argc, char **argv) {
    void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
    if (!library) return 1;
    touch = (int (*)(void (*)(void)))dlsym(library, "touch");
    untouched();
    touch(touched);
    pthread_t thread;
    if (pthread_create(&thread, NULL, body, NULL)) return 2;
    return pthread_join(thread, NULL);
}
"#;

fn library(name: &str, source: &str) -> PathBuf {
    Build::source(Compiler::Gcc, name, source).flags("-shared -fPIC -g -O0").path()
}

fn program() -> PathBuf {
    let linked = library("liblinked.so", LINKED);
    let flags =
        format!("-g -O0 -Wl,--no-as-needed {0} -Wl,-rpath,{1}", linked.display(), linked.parent().unwrap().display());
    Build::source(Compiler::Gcc, "locals_of_threads", PROGRAM).flags(&flags).path()
}

/// The current thread's copy of a variable, if there is one.
fn number(session: &mut Session, name: &str) -> Option<i128> {
    let value = session.engine.global(name).unwrap()?;
    Some(value.scalar(&mut session.engine.memory().unwrap()).ok()?.as_i128())
}

fn all(session: &mut Session) -> [Option<i128>; 3] {
    ["own", "linked", "counter"].map(|name| number(session, name))
}

#[test]
fn variables_of_libraries_are_each_threads_own() {
    let loaded = library("libloaded.so", LOADED);
    let mut session = Session::create(program(), &[loaded.to_str().unwrap()]);
    session.bp("untouched");
    session.go();
    assert_eq!(all(&mut session), [Some(1), Some(5), None], "nobody asked for the loaded library's yet");
    let padding = session.engine.global("padding").unwrap().unwrap();
    assert_eq!(padding.value_type().size(), Some(300));

    session.bp("touched");
    session.go();
    assert_eq!(all(&mut session), [Some(1), Some(5), Some(101)]);
    // The symbol alone leads to the same place.
    let value = session.engine.global("counter").unwrap().unwrap();
    assert_eq!(Some(session.address("libloaded!counter")), value.address());
    // A local of the library's code, seen from a frame further in.
    assert_eq!(session.functions()[..2], ["touched", "touch"]);
    session.engine.select_frame(1).unwrap();
    assert_eq!(session.local("calls"), 3);
    let first = session.engine.current_thread().unwrap();

    session.go();
    assert_eq!(all(&mut session), [Some(2), Some(8), None], "the second thread has no copy yet");
    session.go();
    assert_eq!(all(&mut session), [Some(2), Some(8), Some(102)]);
    session.engine.select_frame(1).unwrap();
    assert_eq!(session.local("calls"), 6);
    session.engine.select_thread(first).unwrap();
    assert_eq!(all(&mut session), [Some(1), Some(5), Some(101)]);
}

/// The walk over the loader's structures goes by batches, once a stop, and only for what is thread-local.
#[test]
fn the_way_to_a_librarys_variable_costs_five_round_trips_and_then_none() {
    let (target, calls) = Counting::new(LiveTarget::new("<Local>").unwrap());
    let mut session = Session::over(Box::new(target));
    let loaded = library("libloaded.so", LOADED);
    session.engine.create(session.system, &spec(&program(), &[loaded.to_str().unwrap()])).unwrap();
    assert_eq!(session.stop().reason, StopReason::Created);
    session.run_to("touched");
    assert_eq!(number(&mut session, "libloaded!touch"), None, "its symbols are there now");
    calls.borrow_mut().clear();
    assert_eq!(number(&mut session, "libloaded!counter"), Some(101));
    let first = std::mem::take(&mut *calls.borrow_mut());
    assert!(first.len() <= 5 && first.iter().all(|call| *call == "read_many"), "{first:?}");
    assert_eq!(number(&mut session, "liblinked!linked"), Some(5));
    assert!(calls.borrow().len() <= 2, "{:?}", calls.borrow());
}
