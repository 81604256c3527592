//! `dx`: expressions of the object model.

mod grid;
mod tree;

use std::cell::{Cell, RefCell};

use outpost_base::MemoryReader;
use outpost_engine::expr::{Cpp, ExprError};
use outpost_engine::model::{Format, METHODS, MethodKind, Object, symbols_of, views_of};
use outpost_engine::values::{BatchMemory, TextOptions, ViewLimits};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{Json, Value};
use crate::language::Arguments;
use crate::text::values;
use crate::{CommandError, Debugger};

use grid::Grid;
use tree::{Row, Tree};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["dx"],
    syntax: "dx [-r Levels] [-c Count] [-n] [-g] [-v] Expression[,Format]",
    summary: "Display an object and its members",
    details: "The expression is C++ with objects: @$cursession, @$curprocess, @$curthread, @$curstack, @$curframe and what \
              they have (Processes, Modules, Threads, Stack.Frames, LocalVariables, ...). What has elements is asked by \
              Where, Select, OrderBy, First, Count and others, with functions (x => x.Id == 5) and objects (new { Name = \
              value }); -v lists them. An element whose condition cannot be read is neither taken nor left out: Where \
              shows the error in its place, and what counts, orders or looks for elements fails and names it. \
              @$name = expression keeps an object, or a function, which is then called (@$f(1)) or given to those methods; \
              other assignments change the debuggee. -r shows so many levels, -c so many elements \
              of a container, -n the members of library types, -g a table. Formats: x X d u o b c e f numbers (xb \
              Xb bb without prefix), s su s32 texts (sb sub s32b without quotes), m ma mw md mq memory, hr results that a view \
              names, en names of enumerations, na without address, view(Name) one of a type's views, ! members of library \
              types, nd as declared, a number or [expression] for so many elements of a pointer.",
    example: "dx -r2 head; dx @$curprocess.Threads.Where(t => t.Stack.Frames.Count() > 5); dx numbers,x",
    group: Group::Symbols,
    eats_line: false,
    run: carry_out::<DisplayObject>,
}];

/// Elements of a container that are shown.
const ELEMENTS: u64 = 100;
/// Levels at most.
const LEVEL_LIMIT: usize = 32;

/// Displays an object.
#[derive(Debug, Clone)]
pub struct DisplayObject {
    text: String,
    expr: Cpp,
    format: Format,
    shown: Shown,
}

/// How much is shown, and how.
#[derive(Debug, Clone, Copy)]
struct Shown {
    levels: usize,
    elements: u64,
    as_grid: bool,
    methods: bool,
}

/// What is shown of an object.
#[derive(Debug, Clone)]
pub enum ShownObject {
    /// The object, its members and theirs, in the order they are shown.
    Tree(Vec<Row>),
    /// A table of its elements.
    Grid(Grid),
}

impl Json for ShownObject {
    fn json(&self) -> Value {
        match self {
            ShownObject::Tree(rows) => rows.json(),
            ShownObject::Grid(grid) => grid.json(),
        }
    }
}

impl Command for DisplayObject {
    type Data = ShownObject;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<DisplayObject, CommandError> {
        let mut shown = Shown { levels: 1, elements: ELEMENTS, as_grid: false, methods: false };
        let mut raw = false;
        while let Some(option) = arguments.take_option() {
            let letter = option.chars().next().map_or(0, char::len_utf8);
            match option.split_at(letter) {
                ("r", count) => shown.levels = number_of(arguments, count)?.min(LEVEL_LIMIT as u64) as usize,
                ("c", count) => shown.elements = number_of(arguments, count)?,
                ("n", "") => raw = true,
                ("g", "") => shown.as_grid = true,
                ("v", "") => shown.methods = true,
                _ => return Err(arguments.usage(format!("unknown option -{option}"))),
            }
        }
        let rest = arguments.take_rest();
        if rest.is_empty() {
            return Err(arguments.usage("the expression is missing"));
        }
        let (expr, used) = debugger.engine.parse_object(rest)?;
        let (text, after) = rest.split_at(used);
        let mut format = match after.trim().strip_prefix(',') {
            Some(format) => Format::parse(format).map_err(|problem| arguments.usage(problem))?,
            None if after.trim().is_empty() => Format::default(),
            None => return Err(ExprError::Syntax { text: after.trim().to_owned() }.into()),
        };
        format.raw |= raw;
        Ok(DisplayObject { text: text.to_owned(), expr, format, shown })
    }

    fn run(self, debugger: &mut Debugger) -> Result<ShownObject, CommandError> {
        // What changes something is evaluated once; then only what it gave is looked at, as often as memory comes in.
        let done = match self.expr.has_effects() || debugger.engine.may_call(&self.expr) {
            true => {
                let mut memory = values::ValueMemory(debugger.engine.memory().ok());
                let limits = ViewLimits { count: self.shown.elements, ..ViewLimits::default() };
                Some(debugger.calling(|debugger| {
                    let object = debugger.engine.evaluate_object(&self.expr, &mut memory)?;
                    // Functions are called now, and not by whoever looks at the elements.
                    match debugger.engine.may_call(&self.expr) {
                        true => debugger.engine.settled_object(object, &limits, &mut memory),
                        false => Ok(object),
                    }
                })?)
            }
            false => None,
        };
        let memory = debugger.engine.memory().ok();
        let engine = RefCell::new(&mut debugger.engine);
        let interrupted = Cell::new(false);
        let look = |memory: &mut dyn MemoryReader| -> Result<ShownObject, ExprError> {
            // An interrupt is told once, and ends all rounds.
            if interrupted.get() {
                return Err(ExprError::Interrupted);
            }
            let shown = self.look(&engine, done.as_ref(), memory);
            interrupted.set(matches!(shown, Err(ExprError::Interrupted)));
            shown
        };
        let shown = match &memory {
            Some(memory) => memory.in_batches(look),
            None => look(&mut BatchMemory::new()),
        };
        Ok(shown?)
    }

    fn render(data: &ShownObject, text: &mut String) {
        match data {
            ShownObject::Tree(rows) => tree::render(rows, text),
            ShownObject::Grid(grid) => grid.render(text),
        }
    }
}

impl DisplayObject {
    fn look(
        &self,
        engine: &RefCell<&mut outpost_engine::Engine>,
        done: Option<&Object>,
        memory: &mut dyn MemoryReader,
    ) -> Result<ShownObject, ExprError> {
        let object = match done {
            Some(object) => object.clone(),
            None => engine.borrow_mut().evaluate_object(&self.expr, memory)?,
        };
        let object = self.format.applied(object, memory, &mut |text, memory| {
            let (expr, _) = engine.borrow_mut().parse_object(text)?;
            engine.borrow_mut().evaluate_object(&expr, memory)?.as_number(memory)
        })?;
        let (symbol, view) = (symbols_of(engine), views_of(engine));
        let options = TextOptions {
            numbers: self.format.numbers,
            names_only: self.format.names_only,
            raw: self.format.raw,
            depth_limit: 1,
            symbol: &symbol,
            view: &view,
            ..TextOptions::default()
        };
        let limits = ViewLimits { count: self.shown.elements, ..ViewLimits::default() };
        let mut tree =
            Tree { engine, memory, options, limits, format: &self.format, rows: Vec::new(), path: Vec::new() };
        if self.shown.as_grid {
            return tree.grid(&object).map(ShownObject::Grid);
        }
        tree.show(&self.text, &object, self.shown.levels)?;
        let mut rows = tree.rows;
        if self.shown.methods {
            let is_text = matches!(&object, Object::Text(_));
            let shown = METHODS.iter().filter(|method| match method.kind {
                MethodKind::Any => true,
                MethodKind::Elements => !is_text,
                MethodKind::Text => is_text || matches!(&object, Object::Value(_)),
            });
            rows.extend(shown.map(|method| Row::method(method.syntax, method.summary)));
        }
        Ok(ShownObject::Tree(rows))
    }
}

/// The number of an option, which may stand after a blank. It is decimal unless it says otherwise.
fn number_of(arguments: &mut Arguments<'_>, attached: &str) -> Result<u64, CommandError> {
    let text = if attached.is_empty() { arguments.word().unwrap_or_default() } else { attached };
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.strip_prefix("0n").unwrap_or(text).parse(),
    };
    parsed.map_err(|_| arguments.usage(format!("'{text}' is no number")))
}
