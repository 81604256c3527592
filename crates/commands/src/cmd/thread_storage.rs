//! `!tls`: what a thread has for itself.

use outpost_engine::values::SymbolKind;
use outpost_engine::{EngineError, ThreadKey, ThreadLocalBlock, ThreadStorage};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{Json, Value, fields, json};
use crate::language::Arguments;
use crate::text::{hex64, line, symbols, values};
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["!tls"],
    syntax: "!tls [-1|Key|Module]",
    summary: "Show the thread's blocks of thread-local variables, pthread's keys, or the variables of a module",
    details: "Without anything or with -1: where the thread's block of each module is, and the values of all keys of \
              pthread_key_create that are not null, as pthread_getspecific gives them; with a number that of one key, which is \
              decimal. With a module its thread-local variables with their values. ~*e !tls shows all threads.",
    example: "!tls; !tls libc_so",
    group: Group::Processes,
    eats_line: false,
    run: carry_out::<ShowStorage>,
}];

fields!(ThreadLocalBlock { module, address, size });
fields!(ThreadKey { key, value });
fields!(ThreadStorage { thread_pointer, blocks, keys });

/// Shows it.
#[derive(Debug, Clone)]
pub enum ShowStorage {
    /// Blocks and keys.
    All,
    /// A key.
    Key(u32),
    /// The variables of a module.
    Module(String),
}

/// What is shown.
#[derive(Debug, Clone)]
pub enum ShownStorage {
    /// Blocks and keys, these with the symbols that their values are.
    All(ThreadStorage, Vec<String>),
    /// A key.
    Key(ThreadKey, String),
    /// Address, name and value of variables.
    Variables(Vec<ThreadVariable>),
}

/// A thread-local variable.
#[derive(Debug, Clone)]
pub struct ThreadVariable {
    /// Where the thread's copy is; 0 if it has none.
    pub address: outpost_base::Va,
    /// Its name.
    pub name: String,
    /// Its value as text; empty if debug info does not describe it.
    pub value: String,
}

fields!(ThreadVariable { address, name, value });

impl Json for ShownStorage {
    fn json(&self) -> Value {
        match self {
            ShownStorage::All(storage, _) => storage.json(),
            ShownStorage::Key(key, _) => key.json(),
            ShownStorage::Variables(variables) => json!({ "variables": variables.json() }),
        }
    }
}

impl Command for ShowStorage {
    type Data = ShownStorage;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<ShowStorage, CommandError> {
        let word = match arguments.take_rest() {
            "" | "-1" => return Ok(ShowStorage::All),
            word => word,
        };
        if let Ok(key) = word.parse() {
            return Ok(ShowStorage::Key(key));
        }
        match debugger.engine.modules_named(word)?.first() {
            Some(module) => Ok(ShowStorage::Module(module.name.clone())),
            None => Err(EngineError::NoModule { name: word.to_owned() }.into()),
        }
    }

    fn run(self, debugger: &mut Debugger) -> Result<ShownStorage, CommandError> {
        let module = match self {
            ShowStorage::All => {
                let storage = debugger.engine.thread_storage()?;
                let values = storage.keys.iter().flatten().map(|key| key.value);
                let names = values.map(|value| name_of(value, debugger)).collect();
                return Ok(ShownStorage::All(storage, names));
            }
            ShowStorage::Key(key) => {
                let keys = debugger.engine.thread_storage()?.keys;
                let keys = keys.ok_or_else(|| CommandError::invalid("the C library does not tell where keys are"))?;
                let known = keys.into_iter().find(|known| known.key == key).unwrap_or(ThreadKey { key, value: 0 });
                return Ok(ShownStorage::Key(known, name_of(known.value, debugger)));
            }
            ShowStorage::Module(module) => module,
        };
        let mut variables = Vec::new();
        for name in debugger.engine.match_names(&format!("{module}!*"))? {
            debugger.engine.check_interrupt()?;
            if name.kind != SymbolKind::ThreadLocal {
                continue;
            }
            let value = debugger.engine.typed_value(&name).map(|value| values::one_line(debugger, &value));
            let value = value.unwrap_or_default();
            variables.push(ThreadVariable { address: name.address, name: name.name, value });
        }
        Ok(ShownStorage::Variables(variables))
    }

    fn render(data: &ShownStorage, text: &mut String) {
        match data {
            ShownStorage::All(storage, names) => {
                line!(text, "Thread control block: {}", storage.thread_pointer);
                let width = storage.blocks.iter().map(|block| block.module.len()).max().unwrap_or(0);
                for block in &storage.blocks {
                    // Before the loader has set the thread up it has nothing, which is known.
                    let none = if storage.keys.is_some() || storage.thread_pointer.0 == 0 {
                        "none yet         "
                    } else {
                        "not known        "
                    };
                    let address = block.address.map_or_else(|| none.to_owned(), |at| at.to_string());
                    line!(text, "  {:<width$}  {address}  {:#x} bytes", block.module, block.size);
                }
                let Some(keys) = &storage.keys else {
                    if storage.thread_pointer.0 == 0 {
                        return;
                    }
                    line!(
                        text,
                        "The C library tells debuggers nothing of its structures, so keys and libraries' blocks are not known"
                    );
                    return;
                };
                for (key, name) in keys.iter().zip(names) {
                    line!(text, "  key {}: {}{name}", key.key, hex64(key.value));
                }
            }
            ShownStorage::Key(key, name) => line!(text, "key {}: {}{name}", key.key, hex64(key.value)),
            ShownStorage::Variables(variables) => {
                for variable in variables {
                    let value = if variable.value.is_empty() { "" } else { " = " };
                    let at = match variable.address.0 {
                        0 => "none yet         ".to_owned(),
                        _ => variable.address.to_string(),
                    };
                    line!(text, "{at} {}{value}{}", variable.name, variable.value);
                }
                if variables.is_empty() {
                    line!(text, "No thread-local variables");
                }
            }
        }
    }
}

/// The symbol that a value is, in front of it a blank.
fn name_of(value: u64, debugger: &mut Debugger) -> String {
    let symbol = debugger.engine.symbol_at(outpost_base::Va(value)).filter(|symbol| !symbol.name.is_empty());
    symbol.map(|_| format!(" {}", symbols::name_of(&mut debugger.engine, outpost_base::Va(value)))).unwrap_or_default()
}
