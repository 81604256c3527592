//! From XML to [`ViewFile`].
//!
//! Source: the natvis schema of Visual Studio (`natvis.xsd`, namespace
//! `http://schemas.microsoft.com/vstudio/debugger/natvis/2010`) and its documentation.

use roxmltree::{Document, Node, ParsingOptions};

use super::file::{
    DisplayString, Guard, Guarded, Intrinsic, Item, Nodes, Priority, Program, Statement, Synthetic, TypeView, ViewFile,
    ViewProblem,
};
use super::pattern::TypePattern;
use super::piece::{Piece, pieces};

/// Elements of a file at most.
const NODE_LIMIT: u32 = 1 << 20;
/// Elements within elements that are followed.
const DEPTH_LIMIT: usize = 32;
/// Problems that are told of.
const PROBLEM_LIMIT: usize = 100;

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
        let mut reader = Reader { document: &document, problems: Vec::new() };
        let mut file = ViewFile { path: path.to_owned(), ..ViewFile::default() };
        for node in elements(root) {
            match node.tag_name().name() {
                "Type" => file.types.extend(reader.type_view(node)),
                "Intrinsic" => file.intrinsics.extend(reader.intrinsic(node)),
                "Version" | "UIVisualizer" | "LocalizedStrings" => {}
                _ => reader.unsupported(node),
            }
        }
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

fn display_string(of: Element<'_, '_>) -> DisplayString {
    DisplayString { guard: guard(of), pieces: pieces(&text(of)) }
}

fn all_called(of: Element<'_, '_>, name: &str) -> Vec<Guarded> {
    elements(of).filter(|node| node.tag_name().name() == name).map(guarded).collect()
}

impl<'d, 't> Reader<'d, 't> {
    fn problem(&mut self, at: Element<'d, 't>, problem: String) {
        if self.problems.len() < PROBLEM_LIMIT {
            let line = self.document.text_pos_at(at.range().start).row;
            self.problems.push(ViewProblem { line, problem });
        }
    }

    fn unsupported(&mut self, node: Element<'d, 't>) {
        self.problem(node, format!("<{}> is not supported", node.tag_name().name()));
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
        let name = self.needed(node, "Name")?;
        let mut view = TypeView {
            patterns: vec![TypePattern::parse(&name)],
            priority: self.priority(node),
            inheritable: attribute(node, "Inheritable").is_none_or(|text| matches!(text.as_str(), "true" | "1")),
            guard: guard(node),
            intrinsics: Vec::new(),
            strings: Vec::new(),
            texts: Vec::new(),
            pointers: Vec::new(),
            expand: None,
        };
        for child in elements(node) {
            match child.tag_name().name() {
                "AlternativeType" => {
                    view.patterns.extend(self.needed(child, "Name").map(|name| TypePattern::parse(&name)));
                }
                "Intrinsic" => view.intrinsics.extend(self.intrinsic(child)),
                "DisplayString" => view.strings.push(display_string(child)),
                "StringView" => view.texts.push(guarded(child)),
                "Expand" => view.expand = Some(self.items(child, DEPTH_LIMIT)),
                "SmartPointer" => view.pointers.push(guarded(child)),
                // What shows objects in windows of its own is of no use here, and what says which version a view is for.
                "Version" | "UIVisualizer" | "CustomVisualizer" => {}
                _ => self.unsupported(child),
            }
        }
        Some(view)
    }

    fn priority(&mut self, node: Element<'d, 't>) -> Priority {
        match node.attribute("Priority").map(str::trim) {
            None | Some("Medium") => Priority::Medium,
            Some("Low") => Priority::Low,
            Some("MediumLow") => Priority::MediumLow,
            Some("MediumHigh") => Priority::MediumHigh,
            Some("High") => Priority::High,
            Some(other) => {
                self.problem(node, format!("'{other}' is no priority"));
                Priority::Medium
            }
        }
    }

    fn intrinsic(&mut self, node: Element<'d, 't>) -> Option<Intrinsic> {
        if node.has_attribute("SourceId") || node.has_attribute("LanguageId") {
            self.problem(node, "an intrinsic of an extension is not supported".to_owned());
            return None;
        }
        let parameters = elements(node).filter(|child| child.tag_name().name() == "Parameter");
        let parameters = parameters.map(|child| attribute(child, "Name").unwrap_or_default()).collect();
        Some(Intrinsic { name: self.needed(node, "Name")?, parameters, expression: self.needed(node, "Expression")? })
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
        let name = || pieces(node.attribute("Name").unwrap_or_default());
        Some(match node.tag_name().name() {
            "Item" => Item::One { guard, name: name(), value: text(node) },
            "ExpandedItem" => Item::Expanded(guarded(node)),
            "Synthetic" => {
                let strings = elements(node).filter(|child| child.tag_name().name() == "DisplayString");
                let strings = strings.map(display_string).collect();
                let expand = elements(node).find(|child| child.tag_name().name() == "Expand");
                let items = expand.map(|expand| self.items(expand, depth)).unwrap_or_default();
                Item::Synthetic { guard, name: name(), view: std::rc::Rc::new(Synthetic { strings, items }) }
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
            _ => {
                self.unsupported(node);
                return None;
            }
        })
    }

    fn nodes(&mut self, node: Element<'d, 't>) -> Option<Nodes> {
        let value = elements(node).find(|child| child.tag_name().name() == "ValueNode");
        Some(Nodes {
            sizes: all_called(node, "Size"),
            head: self.child_text(node, "HeadPointer")?,
            value: value.map(text).filter(|text| !text.is_empty()).unwrap_or_else(|| "*this".to_owned()),
            name: value.map_or(Vec::new(), |value| pieces(value.attribute("Name").unwrap_or_default())),
            condition: value.and_then(|value| attribute(value, "Condition")),
        })
    }

    fn program(&mut self, node: Element<'d, 't>, depth: usize) -> Option<Program> {
        let mut program =
            Program { variables: Vec::new(), sizes: all_called(node, "Size"), limit: None, body: Vec::new() };
        if let Some(limit) = node.attribute("MaxItemsPerView") {
            program.limit = limit.trim().parse().ok();
        }
        for child in elements(node).filter(|child| child.tag_name().name() == "Variable") {
            program.variables.push((self.needed(child, "Name")?, self.needed(child, "InitialValue")?));
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
                // How elements could be passed over faster; they are passed over one by one.
                "Variable" | "Size" | "Skip" => {}
                "Exec" => statements.push(Statement::Exec { condition, expression: text(node) }),
                "Loop" => statements.push(Statement::Loop { condition, body: self.statements(node, depth) }),
                "Break" => statements.push(Statement::Break { condition }),
                "Item" => {
                    let name: Vec<Piece> = pieces(node.attribute("Name").unwrap_or_default());
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
                _ => self.unsupported(node),
            }
        }
        statements
    }
}
