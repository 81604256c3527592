//! Which elements and attributes a file of views may have, and which of them have no effect here.
//!
//! Source: the natvis schema of Visual Studio (`natvis.xsd`, namespace
//! `http://schemas.microsoft.com/vstudio/debugger/natvis/2010`).

use roxmltree::Node;

/// Elements within elements that are looked at.
const DEPTH_LIMIT: usize = 80;

/// An element: its name, what it may have inside, its attributes.
type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

const STATEMENTS: &[&str] = &["Loop", "If", "Elseif", "Else", "Exec", "Break", "Item"];

/// All elements; one of several places has what it may have in any of them.
const ELEMENTS: &[Row] = &[
    ("AutoVisualizer", &["Type", "Intrinsic", "HResult", "Version", "UIVisualizer", "LocalizedStrings"], &[]),
    (
        "Type",
        &[
            "AlternativeType",
            "Version",
            "Intrinsic",
            "MostDerivedType",
            "CustomVisualizer",
            "SmartPointer",
            "DisplayString",
            "StringView",
            "Expand",
            "UIVisualizer",
        ],
        &["Name", "Priority", "Inheritable"],
    ),
    ("AlternativeType", &[], &["Name", "Priority", "Inheritable"]),
    ("Version", &[], &["Name", "Min", "Max"]),
    (
        "Intrinsic",
        &["Parameter"],
        &["Name", "Category", "ReturnType", "Expression", "SourceId", "LanguageId", "Id", "SideEffect", "Varargs"],
    ),
    ("Parameter", &[], &["Name", "Type"]),
    ("HResult", &["AlternativeHResult", "HRValue", "HRDescription"], &["Name"]),
    ("AlternativeHResult", &[], &["Name"]),
    ("HRValue", &[], &[]),
    ("HRDescription", &[], &[]),
    ("LocalizedStrings", &["LocalizedString"], &[]),
    ("LocalizedString", &[], &["Id"]),
    ("UIVisualizer", &[], &["ServiceId", "Id", "MenuName", "Description"]),
    ("CustomVisualizer", &[], &["VisualizerId"]),
    ("MostDerivedType", &[], &["IgnoreVTable"]),
    ("SmartPointer", &[], &["Usage", "DefaultExpansion"]),
    ("DisplayString", &[], &["LegacyAddin", "Export", "Encoding"]),
    ("StringView", &[], &[]),
    (
        "Expand",
        &[
            "Item",
            "ExpandedItem",
            "Synthetic",
            "ArrayItems",
            "IndexListItems",
            "LinkedListItems",
            "TreeItems",
            "CustomListItems",
        ],
        &["HideRawView"],
    ),
    ("Item", &[], &["Name"]),
    ("ExpandedItem", &[], &[]),
    ("Synthetic", &["CustomVisualizer", "DisplayString", "StringView", "Expand"], &["Name", "Expression"]),
    ("ArrayItems", &["Direction", "Rank", "Size", "LowerBound", "ValuePointer"], &[]),
    ("IndexListItems", &["Size", "ValueNode"], &[]),
    ("LinkedListItems", &["Size", "HeadPointer", "NextPointer", "ValueNode"], &[]),
    ("TreeItems", &["Size", "HeadPointer", "LeftPointer", "RightPointer", "ValueNode"], &[]),
    (
        "CustomListItems",
        &["Variable", "Size", "Skip", "Loop", "If", "Elseif", "Else", "Exec", "Break", "Item"],
        &["MaxItemsPerView"],
    ),
    ("Variable", &[], &["Name", "InitialValue"]),
    ("Skip", &["Loop", "If", "Elseif", "Else", "Exec", "Break"], &["Value"]),
    ("Loop", STATEMENTS, &[]),
    ("If", STATEMENTS, &[]),
    ("Elseif", STATEMENTS, &[]),
    ("Else", STATEMENTS, &[]),
    ("Exec", &[], &[]),
    ("Break", &[], &[]),
    ("Direction", &[], &[]),
    ("Rank", &[], &[]),
    ("Size", &[], &[]),
    ("LowerBound", &[], &[]),
    ("ValuePointer", &[], &[]),
    ("ValueNode", &[], &["Name"]),
    ("HeadPointer", &[], &[]),
    ("NextPointer", &[], &[]),
    ("LeftPointer", &[], &[]),
    ("RightPointer", &[], &[]),
];

/// Attributes that many elements have; more is taken than the schema has, and means the same everywhere.
const COMMON: &[&str] =
    &["Condition", "Optional", "IncludeView", "ExcludeView", "ModuleName", "ModuleVersionMin", "ModuleVersionMax"];

const OF_MODULES: &str = "views hold for the types of all modules, of whatever version";
const OF_EXTENSIONS: &str = "what extensions of other debuggers show is not shown here";

/// What has no effect, and why.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("Version", OF_MODULES),
    ("ModuleName", OF_MODULES),
    ("ModuleVersionMin", OF_MODULES),
    ("ModuleVersionMax", OF_MODULES),
    ("UIVisualizer", OF_EXTENSIONS),
    ("CustomVisualizer", OF_EXTENSIONS),
    ("LegacyAddin", OF_EXTENSIONS),
];

fn without_effect(name: &str) -> Option<&'static str> {
    WITHOUT_EFFECT.iter().find(|(known, _)| *known == name).map(|(_, reason)| *reason)
}

/// Tells of all elements and attributes within an element that are unknown or have no effect.
pub(super) fn check<'d, 't>(root: Node<'d, 't>, tell: &mut dyn FnMut(Node<'d, 't>, String)) {
    check_within(root, DEPTH_LIMIT, tell);
}

fn check_within<'d, 't>(node: Node<'d, 't>, depth: usize, tell: &mut dyn FnMut(Node<'d, 't>, String)) {
    let name = node.tag_name().name();
    let Some((depth, (_, inside, attributes))) =
        depth.checked_sub(1).zip(ELEMENTS.iter().find(|(known, ..)| *known == name))
    else {
        return;
    };
    for attribute in node.attributes() {
        let attribute = (attribute.name(), attribute.namespace());
        match attribute {
            // What other tools add for themselves has a namespace of its own.
            (_, Some(_)) => {}
            (attribute, None) if !attributes.contains(&attribute) && !COMMON.contains(&attribute) => {
                tell(node, format!("<{name}> has no attribute {attribute} that means anything"));
            }
            (attribute, None) => {
                if let Some(reason) = without_effect(attribute) {
                    tell(node, format!("the attribute {attribute} has no effect: {reason}"));
                }
            }
        }
    }
    for child in node.children().filter(Node::is_element) {
        let child_name = child.tag_name().name();
        if !inside.contains(&child_name) {
            tell(child, format!("<{child_name}> is not supported in <{name}>"));
            continue;
        }
        if let Some(reason) = without_effect(child_name) {
            tell(child, format!("<{child_name}> has no effect: {reason}"));
            continue;
        }
        check_within(child, depth, tell);
    }
}
