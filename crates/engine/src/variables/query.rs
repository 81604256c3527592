//! Asking for variables and types.

use std::collections::BTreeSet;
use std::rc::Rc;

use outpost_symbols::{CaseRule, Type, TypeTable, Value, Variable, VariableKind};

use super::{FrameImage, FrameVariable, StackContext};
use crate::modules::Module;
use crate::{Engine, EngineError, StackFrame};

impl Engine {
    /// Variables visible in the current scope's frame, parameters and locals, innermost block first. In an inline frame
    /// they are those of the inlined function.
    ///
    /// # Errors
    /// [`EngineError::NoDebuggee`]; [`EngineError::Running`]; [`EngineError::Target`]. Code without debug info has no
    /// variables, which is no error.
    #[doc(alias = "GetScopeSymbolGroup2")]
    pub fn locals(&mut self) -> Result<Vec<FrameVariable>, EngineError> {
        let row = self.scope_frame()?;
        let mut context = self.stack_context(row.physical as usize)?;
        let Some(image) = context.image_at(row.lookup_address) else { return Ok(Vec::new()) };
        let described = self.scope_variables_in(&row, &image)?;
        let found = described.into_iter().map(|variable| FrameVariable {
            value: context.value_in(&row, &image, &variable),
            name: variable.name,
            kind: variable.kind,
            artificial: variable.artificial,
            shadowed: variable.shadowed,
            declared: variable.declared,
        });
        Ok(found.collect())
    }

    /// As [`Engine::locals`], as the debug info describes them.
    pub(crate) fn scope_variables(&mut self) -> Result<Vec<Variable>, EngineError> {
        let row = self.scope_frame()?;
        let context = self.stack_context(row.physical as usize)?;
        let Some(image) = context.image_at(row.lookup_address) else { return Ok(Vec::new()) };
        self.scope_variables_in(&row, &image)
    }

    fn scope_variables_in(&mut self, row: &StackFrame, image: &FrameImage) -> Result<Vec<Variable>, EngineError> {
        let activations = image.variables.activations_at(row.lookup_address.to_image(image.bias));
        // Rows of one function's frame and activations at its address are the same, innermost first.
        // Where inlined functions have no rows, the one row is the function they are in.
        let rows = match self.shows_inline {
            true => self.scope_rows_before(row)?,
            false => activations.len().saturating_sub(1),
        };
        let Some(activation) = activations.into_iter().nth(rows) else { return Ok(Vec::new()) };
        Ok(activation.scopes.into_iter().flat_map(|scope| scope.variables).collect())
    }

    /// The variable of the scope called `name`: the innermost of that name; `None` if there is none.
    ///
    /// # Errors
    /// As [`Engine::locals`].
    pub fn local(&mut self, name: &str) -> Result<Option<Value>, EngineError> {
        let found = self.locals()?.into_iter().find(|variable| variable.name == name && !variable.shadowed);
        Ok(found.map(|variable| variable.value))
    }

    /// Parameters of the scope's function, in order.
    ///
    /// # Errors
    /// As [`Engine::locals`].
    pub fn parameters(&mut self) -> Result<Vec<FrameVariable>, EngineError> {
        Ok(self.locals()?.into_iter().filter(|variable| variable.kind == VariableKind::Parameter).collect())
    }

    /// Types called `name`, which may be `module!name`; from the scope's module first. Scopes may be left out, and exact
    /// case comes first, as in [`Engine::find_name`].
    ///
    /// # Errors
    /// [`EngineError::NoModule`]; [`EngineError::NoSymbol`].
    #[doc(alias = "GetTypeId")]
    pub fn find_types(&mut self, name: &str) -> Result<Vec<Type>, EngineError> {
        let (modules, bare) = self.modules_for(name)?;
        let loader = self.symbol_loader(self.current_process()?)?;
        for &case in self.case_rules() {
            let mut found = Vec::new();
            for module in &modules {
                let symbols = loader.prepared(module)?;
                let Some(known) = symbols.module() else { continue };
                found.extend(known.types_named(&bare, case).into_iter().filter_map(|die| known.type_of(die)));
            }
            if !found.is_empty() {
                return Ok(found);
            }
            if case == CaseRule::Ignore {
                break;
            }
            // Spellings that no entry has, such as `unsigned long` where the compiler wrote `long unsigned int`.
            for module in &modules {
                let symbols = loader.prepared(module)?;
                let Some(types) = symbols.module().and_then(|known| known.types()) else { continue };
                let found = types.named(&bare);
                if !found.is_empty() {
                    return Ok(found);
                }
            }
            // What everybody knows by its exact name is not something else that some library calls `Long`.
            if !TypeTable::builtin().named(&bare).is_empty() {
                break;
            }
        }
        match self.with_default_arguments(&modules, &bare)? {
            found if found.is_empty() => Err(EngineError::NoSymbol { name: name.to_owned() }),
            found => Ok(found),
        }
    }

    /// The types whose name is `name` with more template arguments behind those that are written, there and within them, if
    /// all have one name: `vector<int>` is `vector<int, std::allocator<int> >`.
    fn with_default_arguments(&mut self, modules: &[Rc<Module>], name: &str) -> Result<Vec<Type>, EngineError> {
        let Some((template, arguments)) = split_arguments(name) else { return Ok(Vec::new()) };
        let loader = self.symbol_loader(self.current_process()?)?;
        let (mut found, mut names) = (Vec::new(), BTreeSet::new());
        for module in modules {
            let symbols = loader.prepared(module)?;
            let Some(known) = symbols.module() else { continue };
            for die in known.types_named(template, CaseRule::Exact) {
                let Some(whole) = known.qualified_name(die) else { continue };
                let fits = split_arguments(&whole).is_some_and(|(_, all)| leave_out_defaults(&arguments, &all));
                if fits {
                    found.extend(known.type_of(die));
                    names.insert(whole);
                }
            }
        }
        if names.len() > 1 {
            found.clear();
        }
        Ok(found)
    }

    /// Types whose qualified name fits a pattern of wildcards, `module!name` with patterns on both sides: module, name
    /// and type, by module and name.
    ///
    /// # Errors
    /// [`EngineError::NoModule`]; [`EngineError::Cancelled`].
    pub fn match_types(&mut self, pattern: &str) -> Result<Vec<(String, String, Type)>, EngineError> {
        let (modules, bare) = self.modules_for(pattern)?;
        let wildcard = self.name_pattern(&bare);
        let loader = self.symbol_loader(self.current_process()?)?;
        let mut found = Vec::new();
        for module in modules {
            self.check_interrupt()?;
            let symbols = loader.prepared(&module)?;
            let Some(known) = symbols.module() else { continue };
            for (name, die) in known.types_matching(&wildcard) {
                found.extend(known.type_of(die).map(|of| (module.name.clone(), name, of)));
            }
        }
        Ok(found)
    }

    /// A physical frame of the current thread, for evaluating variables in it.
    pub(crate) fn stack_context(&mut self, physical: usize) -> Result<StackContext, EngineError> {
        let thread = self.current_thread()?;
        let process = self.process_of(thread)?.ordinal;
        // One more: the caller's frame answers for values at entry.
        let stack = self.scope_physical(physical + 2)?;
        let loader = self.symbol_loader(process)?;
        let known = self.process(process)?;
        let modules: Vec<_> = known.modules.iter().cloned().collect();
        let memory = known.memory.clone();
        Ok(StackContext {
            memory,
            stack,
            index: physical,
            thread: self.locate(thread)?.2,
            vectors: None,
            modules: modules.into(),
            loader,
            outer: None,
        })
    }
}

/// Arguments in arguments that are compared.
const ARGUMENT_DEPTH: usize = 16;

/// Whether template arguments, without spaces, are `all` but for some behind them or behind those of an argument.
fn leave_out_defaults(written: &str, all: &str) -> bool {
    arguments_fit(written, all, ARGUMENT_DEPTH)
}

fn arguments_fit(written: &str, all: &str, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    let (written, all) = (split_commas(written), split_commas(all));
    written.len() <= all.len() && written.iter().zip(&all).all(|(written, whole)| argument_fits(written, whole, depth))
}

/// One argument: the same, or an instance of the same template with the same behind it (`*`, `::iterator`).
fn argument_fits(written: &str, whole: &str, depth: usize) -> bool {
    let written = match written.strip_prefix("std::") {
        // What debug info knows by the template alone.
        Some("string") => "std::basic_string<char>".to_owned(),
        Some("wstring") => "std::basic_string<wchar_t>".to_owned(),
        Some("string_view") => "std::basic_string_view<char>".to_owned(),
        _ => without_inline_namespaces(written),
    };
    let whole = without_inline_namespaces(whole);
    if written == whole {
        return true;
    }
    match (first_instance(&written), first_instance(&whole)) {
        (Some((template, arguments, tail)), Some((other, all, other_tail))) => {
            template == other && arguments_fit(arguments, all, depth) && argument_fits_tail(tail, other_tail, depth)
        }
        _ => false,
    }
}

fn argument_fits_tail(written: &str, whole: &str, depth: usize) -> bool {
    written == whole || depth.checked_sub(1).is_some_and(|depth| argument_fits(written, whole, depth))
}

/// Namespaces of the standard libraries that nobody writes.
fn without_inline_namespaces(name: &str) -> String {
    name.replace("std::__cxx11::", "std::").replace("std::__1::", "std::")
}

/// The first instance of a template in a name without spaces: what is before its `<`, its arguments, what is behind its `>`.
fn first_instance(name: &str) -> Option<(&str, &str, &str)> {
    let start = name.find('<')?;
    let mut depth = 0_usize;
    for (at, letter) in name[start..].char_indices() {
        match letter {
            '<' => depth += 1,
            '>' if name[..start + at].ends_with('-') => {}
            '>' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((&name[..start], &name[start + 1..start + at], &name[start + at + 1..]));
        }
    }
    None
}

/// The arguments of a list: commas within brackets of any kind separate none.
fn split_commas(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_usize, 0, Vec::new());
    for (at, letter) in list.char_indices() {
        match letter {
            '<' | '(' | '[' | '{' => depth += 1,
            '>' if list[..at].ends_with('-') => {}
            '>' | ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    parts
}

/// A template's name and its arguments, without spaces and what encloses them; `None` of what is no instance of a template.
fn split_arguments(name: &str) -> Option<(&str, String)> {
    let inner = name.trim_end().strip_suffix('>')?;
    let mut depth = 1_usize;
    for (at, letter) in inner.char_indices().rev() {
        match letter {
            '>' if inner[..at].ends_with('-') => {}
            '>' => depth += 1,
            '<' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let arguments = inner[at + 1..].split_whitespace().collect();
            return Some((inner[..at].trim_end(), arguments)).filter(|(template, _)| !template.is_empty());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_arguments_are_left_out_at_any_depth() {
        let check = |written: &str, whole: &str, expected| {
            let arguments = |name: &str| split_arguments(name).unwrap().1;
            assert_eq!(leave_out_defaults(&arguments(written), &arguments(whole)), expected, "{written} {whole}");
        };
        let ints = "std::vector<int, std::allocator<int> >";
        let nested = "std::vector<std::vector<int, std::allocator<int> >, std::allocator<std::vector<int, std::allocator<int> > > >";
        check("std::vector<int>", ints, true);
        check("std::vector<in>", ints, false);
        check("std::vector<std::vector<int>>", nested, true);
        check("std::vector<std::vector<long>>", nested, false);
        check("std::vector<std::vector<int>*>", nested, false);
        check("std::vector<int*>", "std::vector<int *, std::allocator<int *> >", true);
        check(
            "std::map<std::string, std::vector<int>>",
            "std::map<std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >, std::vector<int, \
             std::allocator<int> >, std::less<int> >",
            true,
        );
        check("a<int(*)(b<int>,c)>", "a<int (*)(b<int, d>, c), e>", true);
        check("a<b<int>::c<long>>", "a<b<int, x>::c<long, y>, z>", true);
        check("a<b<int>::d>", "a<b<int, x>::c, z>", false);
        check("a<int,b<1>>", "a<int, b<1, 2> >", true);
        check("a<int,b<1>,c>", "a<int, b<1, 2> >", false);
    }
}
