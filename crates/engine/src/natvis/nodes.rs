//! Elements in nodes that lead to each other.

use std::collections::HashSet;

use outpost_base::{MemoryReader, Va};
use outpost_symbols::{Scalar, Value};

use super::evaluate::{Context, evaluate, truth};
use super::expand::{Collector, Wanted, nonsense, part, size};
use super::file::Nodes;
use super::{is_unreadable, text};
use crate::Engine;
use crate::expr::ExprError;

/// Nodes that are walked over.
const NODE_LIMIT: usize = 1 << 16;
/// Nodes above a node of a tree; a balanced one has 64 at most.
const HEIGHT_LIMIT: usize = 4096;

/// A walk over nodes.
struct Walk<'a, 'e> {
    engine: &'e mut Engine,
    context: &'a Context,
    nodes: &'a Nodes,
    /// Nodes that were met, by address.
    seen: HashSet<u64>,
    /// Elements that were found.
    found: u64,
    /// Elements that there are, as far as the object says.
    size: Option<u64>,
}

pub(super) fn list(
    engine: &mut Engine,
    context: &Context,
    nodes: &Nodes,
    next: &str,
    collector: &mut Collector,
    memory: &mut dyn MemoryReader,
) -> Result<Wanted, ExprError> {
    let (mut walk, mut pointer) = Walk::start(engine, context, nodes, memory)?;
    let head = address(&pointer, memory)?;
    loop {
        let at = address(&pointer, memory)?;
        // A list that leads back to its head is a ring and ends there.
        if at == 0 || walk.is_over() || (at == head && !walk.seen.is_empty()) {
            return Ok(Wanted::More);
        }
        walk.note(at)?;
        let node = walk.node(&pointer, memory)?;
        // Where the next is is asked for before the element is looked at.
        let following = evaluate(walk.engine, &node, next, memory);
        if walk.element(&node, collector, memory)? == Wanted::Enough {
            return Ok(Wanted::Enough);
        }
        pointer = following?.0;
    }
}

/// In order: what is left of a node, the node, what is right of it.
pub(super) fn tree(
    engine: &mut Engine,
    context: &Context,
    nodes: &Nodes,
    (left, right): (&str, &str),
    collector: &mut Collector,
    memory: &mut dyn MemoryReader,
) -> Result<Wanted, ExprError> {
    let (mut walk, head) = Walk::start(engine, context, nodes, memory)?;
    let mut open: Vec<Context> = Vec::new();
    let mut pointer = Some(head);
    // What could not be read is told at the end: the rest of the tree is asked for first.
    let mut failure = None;
    loop {
        while let Some(here) = pointer.take() {
            let at = address(&here, memory);
            let at = match at {
                Err(error) if is_unreadable(&error) => {
                    failure.get_or_insert(error);
                    break;
                }
                at => at?,
            };
            if at == 0 || walk.is_over() {
                break;
            }
            if open.len() == HEIGHT_LIMIT {
                return Err(nonsense("the nodes of the tree are too deep"));
            }
            let node = walk.node(&here, memory)?;
            match walk.leads_on(&node, memory) {
                // Many nodes may share one that ends them.
                Ok(false) => break,
                Ok(true) => walk.note(at)?,
                Err(error) if is_unreadable(&error) => {
                    failure.get_or_insert(error);
                    break;
                }
                Err(error) => return Err(error),
            }
            pointer = step_to(walk.engine, &node, left, &mut failure, memory)?;
            open.push(node);
        }
        let Some(node) = open.pop().filter(|_| !walk.is_over()) else { break };
        pointer = step_to(walk.engine, &node, right, &mut failure, memory)?;
        if walk.element(&node, collector, memory)? == Wanted::Enough {
            return Ok(Wanted::Enough);
        }
    }
    failure.map_or(Ok(Wanted::More), Err)
}

fn step_to(
    engine: &mut Engine,
    node: &Context,
    to: &str,
    failure: &mut Option<ExprError>,
    memory: &mut dyn MemoryReader,
) -> Result<Option<Value>, ExprError> {
    match evaluate(engine, node, to, memory) {
        Ok((pointer, _)) => Ok(Some(pointer)),
        Err(error) if is_unreadable(&error) => {
            failure.get_or_insert(error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl<'a, 'e> Walk<'a, 'e> {
    fn start(
        engine: &'e mut Engine,
        context: &'a Context,
        nodes: &'a Nodes,
        memory: &mut dyn MemoryReader,
    ) -> Result<(Walk<'a, 'e>, Value), ExprError> {
        let size = size(engine, context, &nodes.sizes, memory);
        let (head, _) = evaluate(engine, context, &nodes.head, memory)?;
        Ok((Walk { engine, context, nodes, seen: HashSet::new(), found: 0, size: size? }, head))
    }

    fn is_over(&self) -> bool {
        self.size.is_some_and(|size| self.found >= size)
    }

    /// Notes that a node was met, which happens once.
    fn note(&mut self, at: u64) -> Result<(), ExprError> {
        if !self.seen.insert(at) {
            return Err(nonsense("the nodes run in a circle"));
        }
        if self.seen.len() > NODE_LIMIT {
            return Err(nonsense("there are too many nodes"));
        }
        Ok(())
    }

    /// The node that a pointer leads to.
    fn node(&mut self, pointer: &Value, memory: &mut dyn MemoryReader) -> Result<Context, ExprError> {
        let node = pointer.deref(memory).map_err(|reason| crate::model::unreadable(pointer, reason))?;
        let context = self.context.of(node);
        context.read(memory);
        Ok(context)
    }

    /// Whether a node of a tree has an element; sentinels have none, and nothing below them.
    fn leads_on(&mut self, node: &Context, memory: &mut dyn MemoryReader) -> Result<bool, ExprError> {
        match &self.nodes.condition {
            Some(condition) => truth(self.engine, node, condition, memory),
            None => Ok(true),
        }
    }

    fn element(
        &mut self,
        node: &Context,
        collector: &mut Collector,
        memory: &mut dyn MemoryReader,
    ) -> Result<Wanted, ExprError> {
        if let Some(condition) = &self.nodes.condition
            && !truth(self.engine, node, condition, memory)?
        {
            return Ok(Wanted::More);
        }
        let name = format!("[{}]", self.found);
        self.found += 1;
        if collector.pass_over(1) == 1 {
            return Ok(Wanted::More);
        }
        let name = match &self.nodes.name[..] {
            [] => name,
            pieces => text::of_pieces(self.engine, node, pieces, memory)?,
        };
        let (value, format) = evaluate(self.engine, node, &self.nodes.value, memory)?;
        Ok(collector.element(|| part(name, value, format)))
    }
}

fn address(pointer: &Value, memory: &mut dyn MemoryReader) -> Result<u64, ExprError> {
    match pointer.scalar(memory) {
        Ok(Scalar::Pointer(Va(at))) => Ok(at),
        Ok(_) => Err(ExprError::Operand { operation: "node".to_owned(), reason: "it is no pointer".to_owned() }),
        Err(reason) => Err(crate::model::unreadable(pointer, reason)),
    }
}
