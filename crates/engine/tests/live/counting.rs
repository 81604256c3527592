//! A target that counts what would be round trips on a link, over any other.

use std::cell::RefCell;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use outpost_base::{AddressSpaceId, ProcessId, RegisterContext, ThreadId, Va};
use outpost_target::*;

/// Names of the calls made so far.
pub(crate) type Calls = Rc<RefCell<Vec<&'static str>>>;

pub(crate) struct Counting<T> {
    inner: T,
    calls: Calls,
}

impl<T: Target> Counting<T> {
    pub(crate) fn new(inner: T) -> (Counting<T>, Calls) {
        let calls = Calls::default();
        (Counting { inner, calls: calls.clone() }, calls)
    }

    fn count(&self, name: &'static str) {
        self.calls.borrow_mut().push(name);
    }

    fn live(&mut self) -> &mut dyn Live {
        self.inner.as_live().unwrap()
    }

    fn os(&mut self) -> &mut dyn Os {
        self.inner.as_os().unwrap()
    }
}

impl<T: Target> Target for Counting<T> {
    fn info(&self) -> &TargetInfo {
        self.inner.info()
    }
    fn processes(&mut self) -> Result<Vec<ProcessInfo>, TargetError> {
        self.count("processes");
        self.inner.processes()
    }
    fn threads(&mut self, process: ProcessId) -> Result<Vec<ThreadInfo>, TargetError> {
        self.count("threads");
        self.inner.threads(process)
    }
    fn modules(&mut self, process: ProcessId) -> Result<Vec<ModuleInfo>, TargetError> {
        self.count("modules");
        self.inner.modules(process)
    }
    fn regions(&mut self, process: ProcessId) -> Result<Vec<Region>, TargetError> {
        self.count("regions");
        self.inner.regions(process)
    }
    fn read_many(&mut self, space: AddressSpaceId, reads: &[ReadRequest]) -> Result<Vec<Vec<u8>>, TargetError> {
        self.count("read_many");
        self.inner.read_many(space, reads)
    }
    fn registers_many(
        &mut self,
        threads: &[ThreadId],
        sets: RegisterSets,
    ) -> Result<Vec<Result<RegisterContext, TargetError>>, TargetError> {
        self.count("registers_many");
        self.inner.registers_many(threads, sets)
    }
    fn search(&mut self, space: AddressSpaceId, request: &SearchRequest) -> Result<Vec<Va>, TargetError> {
        self.count("search");
        self.inner.search(space, request)
    }
    fn last_stop(&self) -> Option<&StopBundle> {
        self.inner.last_stop()
    }
    fn as_live(&mut self) -> Option<&mut dyn Live> {
        Some(self)
    }
    fn as_breakpoints(&mut self) -> Option<&mut dyn Breakpoints> {
        Some(self)
    }
    fn as_os(&mut self) -> Option<&mut dyn Os> {
        Some(self)
    }
}

impl<T: Target> Live for Counting<T> {
    fn attach(
        &mut self,
        process: ProcessId,
        mode: AttachMode,
        request: &BundleRequest,
    ) -> Result<Option<StopBundle>, TargetError> {
        self.count("attach");
        self.live().attach(process, mode, request)
    }
    fn create(
        &mut self,
        spec: &CreateSpec,
        request: &BundleRequest,
    ) -> Result<(ProcessId, Option<StopBundle>), TargetError> {
        self.count("create");
        self.live().create(spec, request)
    }
    fn resume(&mut self, plan: &Plan) -> Result<(), TargetError> {
        self.count("resume");
        self.live().resume(plan)
    }
    fn wait_event(&mut self, timeout: Option<Duration>, others: &[BorrowedFd<'_>]) -> Result<Waited, TargetError> {
        self.live().wait_event(timeout, others)
    }
    fn event_source(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    fn interrupter(&self) -> Arc<dyn Interrupter> {
        struct Nothing;
        impl Interrupter for Nothing {
            fn break_in(&self) {}
        }
        Arc::new(Nothing)
    }
    fn write_many(&mut self, space: AddressSpaceId, writes: &[WriteRequest]) -> Result<Vec<u64>, TargetError> {
        self.count("write_many");
        self.live().write_many(space, writes)
    }
    fn set_registers(&mut self, thread: ThreadId, context: &RegisterContext) -> Result<(), TargetError> {
        self.count("set_registers");
        self.live().set_registers(thread, context)
    }
    fn adjust_suspend(&mut self, threads: &[ThreadId], delta: i32) -> Result<Vec<u32>, TargetError> {
        self.count("adjust_suspend");
        self.live().adjust_suspend(threads, delta)
    }
    fn pending_signal(&mut self, thread: ThreadId) -> Result<Option<SigInfo>, TargetError> {
        self.count("pending_signal");
        self.live().pending_signal(thread)
    }
    fn detach(&mut self, process: ProcessId, mode: DetachMode) -> Result<(), TargetError> {
        self.count("detach");
        self.live().detach(process, mode)
    }
    fn kill(&mut self, process: ProcessId) -> Result<(), TargetError> {
        self.count("kill");
        self.live().kill(process)
    }
    fn set_detach_on_exit(&mut self, detach: bool) -> Result<(), TargetError> {
        self.count("set_detach_on_exit");
        self.live().set_detach_on_exit(detach)
    }
}

impl<T: Target> Breakpoints for Counting<T> {
    fn change_breakpoints(
        &mut self,
        changes: &[BreakpointChange],
    ) -> Result<Vec<Result<BreakpointState, TargetError>>, TargetError> {
        self.count("change_breakpoints");
        self.inner.as_breakpoints().unwrap().change_breakpoints(changes)
    }
    fn breakpoint_states(&mut self) -> Result<Vec<BreakpointState>, TargetError> {
        self.count("breakpoint_states");
        self.inner.as_breakpoints().unwrap().breakpoint_states()
    }
}

impl<T: Target> Os for Counting<T> {
    fn list_processes(&mut self, query: &ProcessQuery, check: bool) -> Result<Vec<OsProcess>, TargetError> {
        self.count("list_processes");
        self.os().list_processes(query, check)
    }
    fn wait_for_process(&mut self, name: Option<&str>) -> Result<(), TargetError> {
        self.count("wait_for_process");
        self.os().wait_for_process(name)
    }
    fn open_file(&mut self, process: Option<ProcessId>, path: &str) -> Result<(FileId, u64), TargetError> {
        self.count("open_file");
        self.os().open_file(process, path)
    }
    fn read_file(&mut self, file: FileId, ranges: &[(u64, u64)]) -> Result<Vec<Vec<u8>>, TargetError> {
        self.count("read_file");
        self.os().read_file(file, ranges)
    }
    fn close_file(&mut self, file: FileId) -> Result<(), TargetError> {
        self.os().close_file(file)
    }
    fn list_directory(&mut self, path: &str) -> Result<Vec<DirectoryEntry>, TargetError> {
        self.count("list_directory");
        self.os().list_directory(path)
    }
    fn handles(&mut self, process: ProcessId) -> Result<Vec<HandleInfo>, TargetError> {
        self.count("handles");
        self.os().handles(process)
    }
    fn write_stdin(&mut self, process: ProcessId, bytes: &[u8]) -> Result<(), TargetError> {
        self.count("write_stdin");
        self.os().write_stdin(process, bytes)
    }
    fn clock(&mut self) -> Result<(u64, u64), TargetError> {
        self.count("clock");
        self.os().clock()
    }
    fn end_server(&mut self) -> Result<(), TargetError> {
        self.count("end_server");
        self.os().end_server()
    }
}
