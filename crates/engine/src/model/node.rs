//! Things of the debugger's as objects: which there are, what they have, what they are called.

use std::rc::Rc;

use outpost_base::Va;
use outpost_symbols::VariableKind;

use super::{Model, Object, Part, Sequence};
use crate::expr::ExprError;
use crate::{
    EngineError, ModuleSummary, ProcessOrdinal, ProcessSummary, StackFrame, SymbolState, SystemOrdinal, ThreadOrdinal,
    ThreadStack, ThreadSummary,
};

/// Frames of a stack that are objects.
const FRAME_LIMIT: usize = 1024;

/// A thing of the debugger's: which it is, nothing of what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// The debugger (`Debugger`).
    Debugger,
    /// All systems.
    Sessions,
    /// A system (`@$cursession`).
    Session(SystemOrdinal),
    /// Its processes, by process id.
    Processes(SystemOrdinal),
    /// A process (`@$curprocess`).
    Process(ProcessOrdinal),
    /// Its threads, by thread id.
    Threads(ProcessOrdinal),
    /// Its modules, by their place in the list and by name.
    Modules(ProcessOrdinal),
    /// The module that is loaded at an address.
    Module(ProcessOrdinal, Va),
    /// A thread (`@$curthread`).
    Thread(ThreadOrdinal),
    /// Its registers.
    Registers(ThreadOrdinal),
    /// Its stack (`@$curstack`).
    Stack(ThreadOrdinal),
    /// The frames of its stack.
    Frames(ThreadOrdinal),
    /// A frame (`@$curframe`), counted as rows of `k`.
    Frame(ThreadOrdinal, u32),
    /// Where a frame is.
    Attributes(ThreadOrdinal, u32),
    /// The source line of a frame.
    Source(ThreadOrdinal, u32),
    /// Its local variables.
    Locals(ThreadOrdinal, u32),
    /// Its parameters.
    Parameters(ThreadOrdinal, u32),
}

/// What the objects are called that expressions begin with, without `@`.
pub(super) const ROOTS: &[&str] = &["$cursession", "$curprocess", "$curthread", "$curstack", "$curframe"];

impl Node {
    /// What it is, for messages.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Node::Debugger => "the debugger",
            Node::Sessions => "the sessions",
            Node::Session(_) => "a session",
            Node::Processes(_) => "the processes",
            Node::Process(_) => "a process",
            Node::Threads(_) => "the threads",
            Node::Modules(_) => "the modules",
            Node::Module(..) => "a module",
            Node::Thread(_) => "a thread",
            Node::Registers(_) => "the registers",
            Node::Stack(_) => "a stack",
            Node::Frames(_) => "the frames",
            Node::Frame(..) => "a frame",
            Node::Attributes(..) => "the attributes of a frame",
            Node::Source(..) => "a source line",
            Node::Locals(..) => "the local variables",
            Node::Parameters(..) => "the parameters",
        }
    }

    /// Whether it is a collection: what it has are elements.
    pub fn has_elements(self) -> bool {
        matches!(
            self,
            Node::Sessions
                | Node::Processes(_)
                | Node::Threads(_)
                | Node::Modules(_)
                | Node::Registers(_)
                | Node::Frames(_)
                | Node::Locals(..)
                | Node::Parameters(..)
        )
    }
}

impl Model<'_> {
    /// Whether a pseudo-register of this name is an object.
    pub(super) fn is_root(&self, name: &str) -> bool {
        ROOTS.contains(&name) || self.engine.objects.named.contains_key(name)
    }

    /// The object of a pseudo-register.
    pub(super) fn root(&self, name: &str) -> Result<Object, ExprError> {
        let unavailable = |error: EngineError| failed(&format!("@{name}"), &error);
        if let Some(object) = self.engine.objects.named.get(name) {
            return Ok(object.clone());
        }
        let thread = || self.engine.current_thread().map_err(unavailable);
        Ok(Object::Node(match name {
            "$cursession" => {
                let system = self.engine.current_system().ok_or(EngineError::NoDebuggee);
                Node::Session(system.map_err(unavailable)?)
            }
            "$curprocess" => Node::Process(self.engine.current_process().map_err(unavailable)?),
            "$curthread" => Node::Thread(thread()?),
            "$curstack" => Node::Stack(thread()?),
            _ => Node::Frame(thread()?, self.engine.scope.frame()),
        }))
    }

    /// What a node has: members, or elements of a collection.
    pub(super) fn node_parts(&mut self, node: Node) -> Result<Vec<Part>, ExprError> {
        let child = |name: &str, node: Node| Part::member(name, Object::Node(node));
        match node {
            Node::Debugger => Ok(vec![child("Sessions", Node::Sessions)]),
            Node::Sessions => {
                let all = self.engine.systems().into_iter();
                Ok(all.map(|one| child(&format!("[{:#x}]", one.ordinal.0), Node::Session(one.ordinal))).collect())
            }
            Node::Session(ordinal) => self.session(ordinal),
            Node::Processes(system) => {
                let all = self.engine.processes().into_iter().filter(|one| one.system == system);
                Ok(all.map(|one| child(&format!("[{:#x}]", one.id.0), Node::Process(one.ordinal))).collect())
            }
            Node::Process(ordinal) => self.process(ordinal),
            Node::Threads(process) => {
                let all = self.engine.threads(process).map_err(|error| failed("Threads", &error))?;
                let part = |one: ThreadSummary| child(&format!("[{:#x}]", one.id.0), Node::Thread(one.ordinal));
                Ok(all.into_iter().map(part).collect())
            }
            Node::Modules(process) => {
                let all = self.engine.modules(process).map_err(|error| failed("Modules", &error))?;
                let part = |(at, one): (usize, ModuleSummary)| {
                    child(&format!("[{at:#x}]"), Node::Module(process, one.range.start))
                };
                Ok(all.into_iter().enumerate().map(part).collect())
            }
            Node::Module(process, at) => self.module(process, at),
            Node::Thread(ordinal) => self.thread(ordinal),
            Node::Registers(thread) => self.registers(thread),
            Node::Stack(thread) => Ok(vec![child("Frames", Node::Frames(thread))]),
            Node::Frames(thread) => {
                let stack = self.stack(thread)?;
                let part =
                    |frame: &StackFrame| child(&format!("[{:#x}]", frame.index), Node::Frame(thread, frame.index));
                Ok(stack.frames.iter().map(part).collect())
            }
            Node::Frame(thread, index) => Ok(vec![
                child("LocalVariables", Node::Locals(thread, index)),
                child("Parameters", Node::Parameters(thread, index)),
                child("Attributes", Node::Attributes(thread, index)),
            ]),
            Node::Attributes(thread, index) => self.attributes(thread, index),
            Node::Source(thread, index) => {
                let source = self.frame(thread, index)?.source;
                let source = source.ok_or_else(|| unavailable("SourceInformation", "no line is known here"))?;
                Ok(vec![
                    Part::member("SourceFile", Object::text(&source.file)),
                    Part::member("SourceLine", Object::signed(i64::from(source.line))),
                ])
            }
            Node::Locals(thread, index) => self.variables(thread, index, VariableKind::Local),
            Node::Parameters(thread, index) => self.variables(thread, index, VariableKind::Parameter),
        }
    }

    fn session(&self, ordinal: SystemOrdinal) -> Result<Vec<Part>, ExprError> {
        let found = self.engine.systems().into_iter().find(|one| one.ordinal == ordinal);
        let system = found.ok_or_else(|| unavailable("session", "it is over"))?;
        Ok(vec![
            Part::member("Processes", Object::Node(Node::Processes(ordinal))),
            Part::member("Id", Object::number(u64::from(ordinal.0))),
            Part::member("Name", Object::text(&system.name)),
            Part::member("Host", Object::text(&system.host)),
            Part::member("OperatingSystem", Object::text(&system.os)),
        ])
    }

    fn process_summary(&self, ordinal: ProcessOrdinal) -> Result<ProcessSummary, ExprError> {
        let found = self.engine.processes().into_iter().find(|one| one.ordinal == ordinal);
        found.ok_or_else(|| unavailable("process", "it is gone"))
    }

    fn process(&self, ordinal: ProcessOrdinal) -> Result<Vec<Part>, ExprError> {
        let process = self.process_summary(ordinal)?;
        let arguments = process.arguments.iter().enumerate();
        let arguments = arguments.map(|(at, text)| Part::member(&format!("[{at:#x}]"), Object::Text(text.clone())));
        Ok(vec![
            Part::member("Name", Object::text(file_name(&process.executable))),
            Part::member("Id", Object::number(u64::from(process.id.0))),
            Part::member("Index", Object::number(u64::from(ordinal.0))),
            Part::member("ParentId", Object::number(u64::from(process.parent.0))),
            Part::member("Path", Object::text(&process.executable)),
            Part::member("Arguments", Object::Sequence(Rc::new(Sequence::List(arguments.collect())))),
            Part::member("Threads", Object::Node(Node::Threads(ordinal))),
            Part::member("Modules", Object::Node(Node::Modules(ordinal))),
        ])
    }

    fn module_summary(&self, process: ProcessOrdinal, at: Va) -> Result<ModuleSummary, ExprError> {
        let all = self.engine.modules(process).map_err(|error| failed("module", &error))?;
        all.into_iter()
            .find(|one| one.range.start == at)
            .ok_or_else(|| unavailable("module", "it is not loaded any more"))
    }

    fn module(&self, process: ProcessOrdinal, at: Va) -> Result<Vec<Part>, ExprError> {
        let module = self.module_summary(process, at)?;
        let state = match module.status {
            SymbolState::Deferred => "deferred",
            SymbolState::Dwarf => "DWARF",
            SymbolState::Symtab => "symtab",
            SymbolState::Dynsym => "dynsym",
            SymbolState::None => "none",
        };
        let build_id = module.build_id.as_ref().map(ToString::to_string).unwrap_or_default();
        Ok(vec![
            Part::member("BaseAddress", Object::number(module.range.start.0)),
            Part::member("Name", Object::text(&module.name)),
            Part::member("Path", Object::text(&module.path)),
            Part::member("Size", Object::number(module.range.len())),
            Part::member("BuildId", Object::text(&build_id)),
            Part::member("Symbols", Object::text(state)),
        ])
    }

    fn thread(&self, ordinal: ThreadOrdinal) -> Result<Vec<Part>, ExprError> {
        let thread = self.engine.thread(ordinal).map_err(|error| failed("thread", &error))?;
        Ok(vec![
            Part::member("Id", Object::number(u64::from(thread.id.0))),
            Part::member("Index", Object::number(u64::from(ordinal.0))),
            Part::member("Name", Object::text(&thread.name)),
            Part::member("Stack", Object::Node(Node::Stack(ordinal))),
            Part::member("Registers", Object::Node(Node::Registers(ordinal))),
        ])
    }

    fn registers(&mut self, thread: ThreadOrdinal) -> Result<Vec<Part>, ExprError> {
        let context = self.engine.registers(thread, Default::default()).map_err(|error| failed("Registers", &error))?;
        let rows = context.arch.registers().iter().filter(|row| row.bits == 64);
        let part = |row: &outpost_base::RegisterDef| {
            let id = context.arch.register_by_name(row.name)?;
            Some(Part::member(row.name, Object::number(context.get_u64(id)?)))
        };
        Ok(rows.filter_map(part).collect())
    }

    /// A stack. The first that is not the current thread's is walked together with all others of its process.
    fn stack(&mut self, thread: ThreadOrdinal) -> Result<Rc<ThreadStack>, ExprError> {
        if let Some(stack) = self.engine.objects.stacks.get(&thread) {
            return Ok(stack.clone());
        }
        let failed = |error: EngineError| match error {
            EngineError::Cancelled => ExprError::Interrupted,
            error => failed("Stack", &error),
        };
        let process = self.engine.process_of(thread).map_err(failed)?.ordinal;
        let wanted = match self.engine.current == Some(thread) {
            true => vec![thread],
            false => self.engine.threads(process).map_err(failed)?.iter().map(|one| one.ordinal).collect(),
        };
        for stack in self.engine.stacks(&wanted, FRAME_LIMIT).map_err(failed)? {
            self.engine.objects.stacks.insert(stack.thread, Rc::new(stack));
        }
        let stack = self.engine.objects.stacks.get(&thread);
        stack.cloned().ok_or_else(|| unavailable("Stack", "the thread is gone"))
    }

    fn frame(&mut self, thread: ThreadOrdinal, index: u32) -> Result<StackFrame, ExprError> {
        let stack = self.stack(thread)?;
        let frame = stack.frames.iter().find(|frame| frame.index == index);
        frame.cloned().ok_or_else(|| unavailable("frame", "the stack has none of this number"))
    }

    fn attributes(&mut self, thread: ThreadOrdinal, index: u32) -> Result<Vec<Part>, ExprError> {
        let frame = self.frame(thread, index)?;
        let address = |at: Option<Va>| at.map_or(Object::Nothing, |at| Object::number(at.0));
        let mut parts = vec![
            Part::member("InstructionOffset", Object::number(frame.instruction.0)),
            Part::member("ReturnOffset", address(frame.return_address)),
            Part::member("FrameOffset", address(frame.cfa)),
            Part::member("StackOffset", Object::number(frame.sp.0)),
            Part::member("FrameNumber", Object::number(u64::from(index))),
            Part::member("Inline", Object::truth(frame.is_inline())),
            Part::member("TailCall", Object::truth(frame.is_tail_call)),
            Part::member("Module", Object::text(&frame.module)),
            Part::member("Function", Object::text(&frame.function)),
        ];
        if frame.source.is_some() {
            parts.push(Part::member("SourceInformation", Object::Node(Node::Source(thread, index))));
        }
        Ok(parts)
    }

    fn variables(&mut self, thread: ThreadOrdinal, index: u32, kind: VariableKind) -> Result<Vec<Part>, ExprError> {
        let name = if kind == VariableKind::Parameter { "Parameters" } else { "LocalVariables" };
        let owner = self.engine.process_of(thread).map_err(|error| failed(name, &error))?.ordinal;
        // Values are read in the current process, wherever they came from.
        if self.engine.current_process().ok() != Some(owner) {
            return Err(unavailable(name, &format!("process {owner} is not the current one; |{owner}s selects it")));
        }
        let found =
            self.engine.in_frame(thread, index, |engine| engine.locals()).map_err(|error| failed(name, &error))?;
        let is_wanted = |of: VariableKind| (of == VariableKind::Parameter) == (kind == VariableKind::Parameter);
        let shown = found.into_iter().filter(|one| !one.name.is_empty() && (!one.artificial || one.name == "this"));
        let wanted = shown.filter(|one| is_wanted(one.kind) && !one.shadowed);
        Ok(wanted.map(|one| Part::member(&one.name, Object::Value(one.value))).collect())
    }

    /// What a node is called.
    pub(super) fn node_label(&mut self, node: Node) -> Option<String> {
        match node {
            Node::Session(ordinal) => {
                self.engine.systems().into_iter().find(|one| one.ordinal == ordinal).map(|one| one.name)
            }
            Node::Process(ordinal) => {
                self.process_summary(ordinal).ok().map(|process| file_name(&process.executable).to_owned())
            }
            Node::Module(process, at) => self.module_summary(process, at).ok().map(|module| module.path),
            Node::Thread(ordinal) => self.engine.thread(ordinal).ok().map(|thread| thread.name),
            Node::Frame(thread, index) => self.frame(thread, index).ok().map(|frame| frame_label(&frame)),
            Node::Source(thread, index) => {
                let source = self.frame(thread, index).ok()?.source?;
                Some(format!("{} @ {}", source.file, source.line))
            }
            _ => None,
        }
    }
}

fn frame_label(frame: &StackFrame) -> String {
    let mut text = match (frame.module.is_empty(), frame.function.is_empty()) {
        (true, _) => frame.instruction.to_string(),
        (_, true) => frame.module.clone(),
        _ => format!("{}!{}", frame.module, frame.function),
    };
    if frame.displacement != 0 && !frame.module.is_empty() {
        text.push_str(&format!("+{:#x}", frame.displacement));
    }
    if let Some(source) = &frame.source {
        text.push_str(&format!(" [{} @ {}]", source.file, source.line));
    }
    text
}

fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn failed(name: &str, error: &EngineError) -> ExprError {
    unavailable(name, &error.to_string())
}

fn unavailable(name: &str, reason: &str) -> ExprError {
    ExprError::Object { name: name.to_owned(), reason: reason.to_owned() }
}
