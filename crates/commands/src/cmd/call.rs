//! `.call`: functions of the debuggee.

use std::time::Duration;

use outpost_engine::CallOptions;
use outpost_engine::expr::{Cpp, Evaluator, Expr, ExprOptions};
use outpost_engine::values::{TypeKind, Value as TargetValue};

use super::evaluate::{EvaluateCpp, TypedValue, typed};
use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{Json, Value, json};
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

/// Longest time that a function may be given, in seconds.
const LONGEST: u64 = 24 * 3600;

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &[".call"],
    syntax: ".call [/o] [/f] [/t Seconds] Function(Arguments)\n.call /c",
    summary: "Call a function of the debuggee",
    details: "In the current thread, which is back where it was when the function has returned. Arguments are C++ expressions; \
              texts are put on the thread's stack. Overloads are chosen by the arguments, virtual methods by the object, unless a \
              class stands before the name; of functions without debug info \
              a cast says what they return. The other threads are held meanwhile, or run with /o. A function that has \
              not returned after 5 seconds, or /t, or at Ctrl+C, is stopped, as it is by breakpoints, signals and exceptions \
              that it throws: then g lets it go on, and its end is a stop, or /c gives it up and takes the thread back to \
              where it was. Locks that it holds stay held then. /f calls functions of Rust's own calling convention. \
              ?, ?? and dx call functions, too.",
    example: ".call add(2, 3); .call shop.total(); ?? (unsigned long)strlen(name); .call /c",
    group: Group::Execution,
    eats_line: false,
    run: carry_out::<Call>,
}];

/// Calls a function, or gives one up.
#[derive(Debug, Clone)]
pub enum Call {
    /// Calls it.
    Function {
        /// The call, as C++ has it.
        expr: Expr,
        /// How.
        options: CallOptions,
    },
    /// Takes the thread back from one.
    GiveUp,
}

/// What came of it.
#[derive(Debug, Clone)]
pub enum CallText {
    /// What it returned; `None` for nothing.
    Returned(Option<Box<TypedValue>>),
    /// The function that was given up.
    GivenUp(String),
}

impl Json for CallText {
    fn json(&self) -> Value {
        match self {
            CallText::Returned(value) => json!({ "returned": value.json() }),
            CallText::GivenUp(function) => json!({ "given_up": function }),
        }
    }
}

impl Command for Call {
    type Data = CallText;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Call, CommandError> {
        let mut options = CallOptions::default();
        loop {
            if arguments.take_word("/c") {
                return Ok(Call::GiveUp);
            } else if arguments.take_word("/o") {
                options.others_run = true;
            } else if arguments.take_word("/f") {
                options.force = true;
            } else if arguments.take_word("/t") {
                let seconds = arguments.word().and_then(|word| word.parse().ok());
                let seconds = seconds.filter(|seconds| (1..=LONGEST).contains(seconds));
                options.limit = Duration::from_secs(
                    seconds.ok_or_else(|| arguments.usage(format!("/t takes seconds, 1 to {LONGEST}")))?,
                );
            } else {
                break;
            }
        }
        if arguments.is_empty() {
            return Err(arguments.usage("the function is missing"));
        }
        let settings = ExprOptions { evaluator: Evaluator::Cpp, ..debugger.settings.expressions() };
        let text = arguments.take_rest();
        let (expr, used) = debugger.engine.parse_expression(text, settings)?;
        if !text.get(used..).unwrap_or_default().trim().is_empty() {
            return Err(arguments.usage("something follows the call"));
        }
        match is_call(&expr) {
            true => Ok(Call::Function { expr, options }),
            false => Err(arguments.usage("it takes function(arguments)")),
        }
    }

    fn run(self, debugger: &mut Debugger) -> Result<CallText, CommandError> {
        match self {
            Call::Function { expr, options } => {
                let value = debugger.calling_by(options, |debugger| debugger.engine.evaluate_value(&expr))?;
                Ok(CallText::Returned(shown(value, debugger).map(Box::new)))
            }
            Call::GiveUp => {
                let function = debugger.engine.pending_call().unwrap_or_default().to_owned();
                debugger.engine.give_up_call()?;
                Ok(CallText::GivenUp(function))
            }
        }
    }

    fn render(data: &CallText, text: &mut String) {
        match data {
            CallText::Returned(None) => line!(text, ".call returns"),
            CallText::Returned(Some(value)) => {
                line!(text, ".call returns:");
                EvaluateCpp::render(value, text);
            }
            CallText::GivenUp(function) => {
                line!(text, "The call of {function} is given up; the thread is back where it was")
            }
        }
    }
}

fn is_call(expr: &Expr) -> bool {
    let Expr::Cpp(mut expr) = expr.clone() else { return false };
    while let Cpp::Cast(_, inner) = expr {
        expr = *inner;
    }
    matches!(expr, Cpp::Apply { .. } | Cpp::Call { .. } | Cpp::Invoke { .. })
}

fn shown(value: TargetValue, debugger: &mut Debugger) -> Option<TypedValue> {
    if matches!(value.value_type().resolved().kind(), TypeKind::Void) {
        return None;
    }
    let shown = typed(value, debugger);
    if let Some(number) = shown.number {
        debugger.engine.recent_values().expression = number;
    }
    Some(shown)
}
