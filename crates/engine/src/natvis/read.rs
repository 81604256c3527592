//! From XML to [`ViewFile`].
//!
//! Source: the natvis schema of Visual Studio (`natvis.xsd`, namespace
//! `http://schemas.microsoft.com/vstudio/debugger/natvis/2010`) and its documentation.

use std::collections::HashMap;

use roxmltree::{Document, Node, ParsingOptions};

use super::file::{
    CallResult, Derived, DisplayString, ForTypes, Guard, Guarded, Intrinsic, Item, Nodes, Parameter, Priority, Program,
    SmartPointer, Statement, Synthetic, TypeView, ViewFile, ViewProblem,
};
use super::pattern::TypePattern;
use super::piece::{Piece, pieces};
use super::schema;
use crate::expr::PointerUse;

/// Elements of a file at most.
const NODE_LIMIT: u32 = 1 << 20;
/// Elements within elements that are followed.
const DEPTH_LIMIT: usize = 32;
/// Problems that are told of.
const PROBLEM_LIMIT: usize = 100;
/// Elements that may be shown of a list at a time, by the schema.
const ITEMS_PER_VIEW: std::ops::RangeInclusive<u64> = 1..=50_000;

impl ViewFile {
    /// Reads a file of views (`.natvis`). What is not understood in it is told in [`ViewFile::problems`] and has no effect.
    ///
    /// # Errors
    /// If it is no XML, or not of views: a sentence with line and column.
    pub fn parse(path: &str, text: &str) -> Result<ViewFile, String> {
        let options = ParsingOptions { nodes_limit: NODE_LIMIT, ..ParsingOptions::default() };
        // A byte order mark is no part of the text.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let document = Document::parse_with_options(text, options).map_err(|error| format!("it is no XML: {error}"))?;
        let root = document.root_element();
        if root.tag_name().name() != "AutoVisualizer" {
            return Err(format!("its root element is <{}> and not <AutoVisualizer>", root.tag_name().name()));
        }
        let mut reader = Reader { document: &document, problems: Vec::new(), strings: HashMap::new() };
        let mut file = ViewFile { path: path.to_owned(), ..ViewFile::default() };
        // They may stand behind what refers to them.
        for strings in elements(root).filter(|node| node.tag_name().name() == "LocalizedStrings") {
            for string in elements(strings).filter(|node| node.tag_name().name() == "LocalizedString") {
                if let Some(id) = reader.needed(string, "Id") {
                    reader.strings.insert(id, self::text(string));
                }
            }
        }
        for node in elements(root) {
            match node.tag_name().name() {
                "Type" => file.types.extend(reader.type_view(node)),
                "Intrinsic" => file.intrinsics.extend(reader.intrinsic(node)),
                "HResult" => file.results.extend(reader.call_result(node)),
                _ => {}
            }
        }
        schema::check(root, &mut |node, problem| reader.problem(node, problem));
        reader.problems.sort_by_key(|problem| problem.line);
        reader.problems.truncate(PROBLEM_LIMIT);
        file.problems = reader.problems;
        Ok(file)
    }

    /// How many views it has.
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }
}

struct Reader<'d, 't> {
    document: &'d Document<'t>,
    problems: Vec<ViewProblem>,
    /// Texts that others refer to by a number (`@1001;`).
    strings: HashMap<String, String>,
}

type Element<'d, 't> = Node<'d, 't>;

fn elements<'d, 't>(of: Element<'d, 't>) -> impl Iterator<Item = Element<'d, 't>> {
    of.children().filter(Node::is_element)
}

/// The text of an element, comments left out.
fn text(of: Element<'_, '_>) -> String {
    let texts: String = of.children().filter(Node::is_text).filter_map(|node| node.text()).collect();
    texts.trim().to_owned()
}

fn attribute(of: Element<'_, '_>, name: &str) -> Option<String> {
    of.attribute(name).map(|text| text.trim().to_owned())
}

fn is_set(of: Element<'_, '_>, name: &str) -> bool {
    of.attribute(name).is_some_and(|text| matches!(text.trim(), "true" | "1"))
}

fn names(of: Element<'_, '_>, name: &str) -> Vec<String> {
    let list = of.attribute(name).unwrap_or_default();
    list.split(';').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn guard(of: Element<'_, '_>) -> Guard {
    Guard {
        condition: attribute(of, "Condition").filter(|text| !text.is_empty()),
        include: names(of, "IncludeView"),
        exclude: names(of, "ExcludeView"),
        optional: is_set(of, "Optional"),
    }
}

fn guarded(of: Element<'_, '_>) -> Guarded {
    Guarded { guard: guard(of), value: text(of) }
}

fn all_called(of: Element<'_, '_>, name: &str) -> Vec<Guarded> {
    elements(of).filter(|node| node.tag_name().name() == name).map(guarded).collect()
}

impl<'d, 't> Reader<'d, 't> {
    fn problem(&mut self, at: Element<'d, 't>, problem: String) {
        // What is wrong in itself is found before what has no effect, and both are put in order at the end.
        if self.problems.len() < 2 * PROBLEM_LIMIT {
            let line = self.line(at);
            self.problems.push(ViewProblem { line, problem });
        }
    }

    fn line(&self, of: Element<'d, 't>) -> u32 {
        self.document.text_pos_at(of.range().start).row
    }

    /// A text with what it refers to by number put in.
    fn localized(&mut self, node: Element<'d, 't>, text: &str) -> String {
        let mut found = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('@') {
            let (before, behind) = rest.split_at(at);
            found.push_str(before);
            let id = behind[1..].split_once(';').map(|(id, _)| id);
            match id.filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())) {
                Some(id) => {
                    match self.strings.get(id) {
                        Some(string) => found.push_str(string),
                        None => {
                            self.problem(node, format!("there is no <LocalizedString> with the Id {id}"));
                            found.push_str(&behind[..id.len() + 2]);
                        }
                    }
                    rest = &behind[id.len() + 2..];
                }
                None => {
                    found.push('@');
                    rest = &behind[1..];
                }
            }
        }
        found.push_str(rest);
        found
    }

    fn display_string(&mut self, of: Element<'d, 't>) -> DisplayString {
        let text = self.localized(of, &text(of));
        DisplayString { guard: guard(of), pieces: pieces(&text) }
    }

    /// What an element is called, if it says so.
    fn name(&mut self, of: Element<'d, 't>) -> Vec<Piece> {
        let text = self.localized(of, of.attribute("Name").unwrap_or_default());
        pieces(&text)
    }

    /// An attribute that an element cannot do without.
    fn needed(&mut self, node: Element<'d, 't>, name: &str) -> Option<String> {
        let found = attribute(node, name).filter(|text| !text.is_empty());
        if found.is_none() {
            self.problem(node, format!("<{}> has no attribute {name}", node.tag_name().name()));
        }
        found
    }

    /// The text of the one element of a name that an element cannot do without.
    fn child_text(&mut self, of: Element<'d, 't>, name: &str) -> Option<String> {
        let found = elements(of).find(|node| node.tag_name().name() == name).map(text).filter(|text| !text.is_empty());
        if found.is_none() {
            self.problem(of, format!("<{}> has no <{name}>", of.tag_name().name()));
        }
        found
    }

    fn type_view(&mut self, node: Element<'d, 't>) -> Option<TypeView> {
        let mut view = TypeView {
            line: self.line(node),
            types: vec![self.for_types(node, Priority::Medium)?],
            guard: guard(node),
            derived: Vec::new(),
            intrinsics: Vec::new(),
            strings: Vec::new(),
            texts: Vec::new(),
            pointers: Vec::new(),
            expand: None,
        };
        for child in elements(node) {
            match child.tag_name().name() {
                "AlternativeType" => {
                    let priority = view.types[0].priority;
                    view.types.extend(self.for_types(child, priority));
                }
                "Intrinsic" => view.intrinsics.extend(self.intrinsic(child)),
                "MostDerivedType" => {
                    view.derived.push(Derived { value: guarded(child), is_final: is_set(child, "IgnoreVTable") });
                }
                "DisplayString" => view.strings.push(self.display_string(child)),
                "StringView" => view.texts.push(guarded(child)),
                "Expand" => view.expand = Some(self.items(child, DEPTH_LIMIT)),
                "SmartPointer" => view.pointers.extend(self.smart_pointer(child)),
                _ => {}
            }
        }
        Some(view)
    }

    fn for_types(&mut self, node: Element<'d, 't>, usual: Priority) -> Option<ForTypes> {
        Some(ForTypes {
            pattern: TypePattern::parse(&self.needed(node, "Name")?),
            priority: self.priority(node, usual),
            inheritable: attribute(node, "Inheritable").is_none_or(|text| matches!(text.as_str(), "true" | "1")),
        })
    }

    fn priority(&mut self, node: Element<'d, 't>, usual: Priority) -> Priority {
        match node.attribute("Priority").map(str::trim) {
            None => usual,
            Some("Low") => Priority::Low,
            Some("MediumLow") => Priority::MediumLow,
            Some("Medium") => Priority::Medium,
            Some("MediumHigh") => Priority::MediumHigh,
            Some("High") => Priority::High,
            Some(other) => {
                self.problem(node, format!("'{other}' is no priority"));
                usual
            }
        }
    }

    fn smart_pointer(&mut self, node: Element<'d, 't>) -> Option<SmartPointer> {
        let usage = match node.attribute("Usage").map(str::trim) {
            Some("Minimal") => PointerUse::Target,
            Some("Indexable") => PointerUse::Elements,
            Some("Full") => PointerUse::All,
            other => {
                let problem = match other {
                    Some(other) => format!("'{other}' is no usage of a smart pointer"),
                    None => "<SmartPointer> has no attribute Usage".to_owned(),
                };
                self.problem(node, problem);
                return None;
            }
        };
        let opens = attribute(node, "DefaultExpansion").is_none_or(|text| matches!(text.as_str(), "true" | "1"));
        Some(SmartPointer { value: guarded(node), opens, usage })
    }

    fn intrinsic(&mut self, node: Element<'d, 't>) -> Option<Intrinsic> {
        let name = self.needed(node, "Name")?;
        let parameters = elements(node).filter(|child| child.tag_name().name() == "Parameter").map(|child| Parameter {
            name: attribute(child, "Name").unwrap_or_default(),
            of: attribute(child, "Type").unwrap_or_default(),
        });
        let parameters = parameters.collect();
        let is_extension = node.has_attribute("SourceId") || node.has_attribute("LanguageId");
        let expression = match attribute(node, "Expression").filter(|text| !text.is_empty()) {
            None if is_extension => {
                self.problem(
                    node,
                    format!("the intrinsic {name} is not supported: an extension of another debugger has it"),
                );
                None
            }
            None => Some(self.needed(node, "Expression")?),
            expression => expression,
        };
        let (returns, is_variadic) = (attribute(node, "ReturnType"), is_set(node, "Varargs"));
        Some(Intrinsic { name, parameters, is_variadic, returns, expression })
    }

    fn call_result(&mut self, node: Element<'d, 't>) -> Option<CallResult> {
        let mut names = vec![self.needed(node, "Name")?];
        for other in elements(node).filter(|child| child.tag_name().name() == "AlternativeHResult") {
            names.extend(self.needed(other, "Name"));
        }
        let value = self.child_text(node, "HRValue")?;
        let number = match value.strip_prefix("0x").or_else(|| value.strip_prefix("0X")) {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => value.parse::<u32>().ok().or_else(|| value.parse::<i32>().ok().map(i32::cast_unsigned)),
        };
        let Some(value) = number else {
            self.problem(node, format!("'{value}' is no number of 32 bits"));
            return None;
        };
        let description = elements(node).find(|child| child.tag_name().name() == "HRDescription").map(text);
        let description = self.localized(node, &description.unwrap_or_default());
        Some(CallResult { names, value, description })
    }

    fn items(&mut self, of: Element<'d, 't>, depth: usize) -> Vec<Item> {
        let Some(depth) = depth.checked_sub(1) else {
            self.problem(of, "it is nested too deeply".to_owned());
            return Vec::new();
        };
        elements(of).filter_map(|node| self.item(node, depth)).collect()
    }

    fn item(&mut self, node: Element<'d, 't>, depth: usize) -> Option<Item> {
        let guard = guard(node);
        Some(match node.tag_name().name() {
            "Item" => Item::One { guard, name: self.name(node), value: text(node) },
            "ExpandedItem" => Item::Expanded(guarded(node)),
            "Synthetic" => {
                let strings = elements(node).filter(|child| child.tag_name().name() == "DisplayString");
                let strings = strings.map(|child| self.display_string(child)).collect();
                let expand = elements(node).find(|child| child.tag_name().name() == "Expand");
                let items = expand.map(|expand| self.items(expand, depth)).unwrap_or_default();
                Item::Synthetic { guard, name: self.name(node), view: std::rc::Rc::new(Synthetic { strings, items }) }
            }
            "ArrayItems" => {
                let mut backward = false;
                for child in elements(node).filter(|child| child.tag_name().name() == "Direction") {
                    match text(child).as_str() {
                        "Forward" => backward = false,
                        "Backward" => backward = true,
                        other => {
                            self.problem(child, format!("'{other}' is no direction"));
                            return None;
                        }
                    }
                }
                let optional = |name| all_called(node, name).pop().map(|one| one.value);
                self.child_text(node, "ValuePointer")?;
                self.child_text(node, "Size")?;
                let (rank, lower_bound) = (optional("Rank"), optional("LowerBound"));
                let (sizes, pointers) = (all_called(node, "Size"), all_called(node, "ValuePointer"));
                Item::Array { guard, sizes, rank, lower_bound, pointers, backward }
            }
            "IndexListItems" => {
                self.child_text(node, "ValueNode")?;
                self.child_text(node, "Size")?;
                Item::Index { guard, sizes: all_called(node, "Size"), values: all_called(node, "ValueNode") }
            }
            "LinkedListItems" => {
                Item::List { guard, nodes: self.nodes(node)?, next: self.child_text(node, "NextPointer")? }
            }
            "TreeItems" => {
                let (left, right) = (self.child_text(node, "LeftPointer")?, self.child_text(node, "RightPointer")?);
                Item::Tree { guard, nodes: self.nodes(node)?, left, right }
            }
            "CustomListItems" => Item::Custom { guard, program: self.program(node, depth)? },
            _ => return None,
        })
    }

    fn nodes(&mut self, node: Element<'d, 't>) -> Option<Nodes> {
        let value = elements(node).find(|child| child.tag_name().name() == "ValueNode");
        Some(Nodes {
            sizes: all_called(node, "Size"),
            head: self.child_text(node, "HeadPointer")?,
            value: value.map(text).filter(|text| !text.is_empty()).unwrap_or_else(|| "*this".to_owned()),
            name: value.map_or(Vec::new(), |value| self.name(value)),
            condition: value.and_then(|value| attribute(value, "Condition")),
        })
    }

    fn program(&mut self, node: Element<'d, 't>, depth: usize) -> Option<Program> {
        let mut program =
            Program { variables: Vec::new(), sizes: all_called(node, "Size"), skip: None, body: Vec::new() };
        // How many a window shows at a time is not how many there are.
        if let Some(limit) = node.attribute("MaxItemsPerView")
            && !limit.trim().parse().is_ok_and(|limit: u64| ITEMS_PER_VIEW.contains(&limit))
        {
            self.problem(node, format!("'{limit}' is no number of items from 1 to 50000"));
        }
        for child in elements(node).filter(|child| child.tag_name().name() == "Variable") {
            program.variables.push((self.needed(child, "Name")?, self.needed(child, "InitialValue")?));
        }
        if let Some(skip) = elements(node).find(|child| child.tag_name().name() == "Skip")
            && let Some(variable) = self.needed(skip, "Value")
        {
            program.skip = Some((variable, self.statements(skip, depth)));
        }
        program.body = self.statements(node, depth);
        Some(program)
    }

    fn statements(&mut self, of: Element<'d, 't>, depth: usize) -> Vec<Statement> {
        let Some(depth) = depth.checked_sub(1) else {
            self.problem(of, "it is nested too deeply".to_owned());
            return Vec::new();
        };
        let mut statements = Vec::new();
        for node in elements(of) {
            let condition = attribute(node, "Condition");
            match node.tag_name().name() {
                "Exec" => statements.push(Statement::Exec { condition, expression: text(node) }),
                "Loop" => statements.push(Statement::Loop { condition, body: self.statements(node, depth) }),
                "Break" => statements.push(Statement::Break { condition }),
                "Item" => {
                    let name = self.name(node);
                    statements.push(Statement::Item { condition, name, value: text(node) });
                }
                "If" => statements.push(Statement::If(vec![(condition, self.statements(node, depth))])),
                "Elseif" | "Else" => {
                    let body = self.statements(node, depth);
                    match statements.last_mut() {
                        Some(Statement::If(branches)) => branches.push((condition, body)),
                        _ => self.problem(node, format!("<{}> without <If>", node.tag_name().name())),
                    }
                }
                _ => {}
            }
        }
        statements
    }
}
