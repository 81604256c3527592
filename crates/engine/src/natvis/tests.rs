//! Files of views: what is understood of them.

use super::ViewFile;

fn parse(inside: &str) -> ViewFile {
    ViewFile::parse(
        "a.natvis",
        &format!("\u{feff}<?xml version=\"1.0\"?>\n<AutoVisualizer>\n{inside}\n</AutoVisualizer>"),
    )
    .unwrap()
}

fn problems(inside: &str) -> Vec<String> {
    parse(inside).problems.iter().map(|one| format!("{}: {}", one.line, one.problem)).collect()
}

#[test]
fn what_is_not_understood_is_told_with_its_line() {
    assert_eq!(problems("<Type Name=\"a\"><DisplayString>x</DisplayString></Type>"), [""; 0]);
    assert_eq!(problems("<Type>\n</Type>"), ["3: <Type> has no attribute Name"]);
    assert_eq!(
        problems("<Types/>\n<Type Name=\"a\">\n<Size/></Type>"),
        ["3: <Types> is not supported in <AutoVisualizer>", "5: <Size> is not supported in <Type>"]
    );
    assert_eq!(
        problems(
            "<Type Name=\"a\"><Expand><LinkedListItems><HeadPointer>h</HeadPointer><NextPointer>n</NextPointer>\n<Value/></LinkedListItems><Item Nme=\"a\">a</Item></Expand></Type>"
        ),
        ["4: <Value> is not supported in <LinkedListItems>", "4: <Item> has no attribute Nme that means anything"]
    );
    // What has no part in what is shown here.
    let inside = "<UIVisualizer/><Type Name=\"a\">\n<CustomVisualizer/>\n<Version/></Type>";
    assert_eq!(
        problems(inside),
        [
            "3: <UIVisualizer> has no effect: what extensions of other debuggers show is not shown here",
            "4: <CustomVisualizer> has no effect: what extensions of other debuggers show is not shown here",
            "5: <Version> has no effect: views hold for the types of all modules, of whatever version"
        ]
    );
    assert_eq!(problems("<Type xmlns:x=\"y\" x:note=\"z\" Name=\"a\"/>"), [""; 0]);
    assert_eq!(problems("<Type Name=\"a\" Priority=\"Highest\"/>"), ["3: 'Highest' is no priority"]);
    assert_eq!(
        problems("<Type Name=\"a\"><Expand><ArrayItems><Size>1</Size></ArrayItems></Expand></Type>"),
        ["3: <ArrayItems> has no <ValuePointer>"]
    );
    assert_eq!(
        problems("<Type Name=\"a\"><Expand><ArrayItems><Direction>Up</Direction></ArrayItems></Expand></Type>"),
        ["3: 'Up' is no direction"]
    );
    assert_eq!(
        problems("<Type Name=\"a\"><Expand><CustomListItems><Loop><Else/></Loop></CustomListItems></Expand></Type>"),
        ["3: <Else> without <If>"]
    );
    assert_eq!(
        problems("<Intrinsic Name=\"f\" SourceId=\"1\"/>"),
        ["3: the intrinsic f is not supported: an extension of another debugger has it"]
    );
    assert_eq!(problems("<Intrinsic Name=\"f\"/>"), ["3: <Intrinsic> has no attribute Expression"]);
    assert_eq!(problems("<Intrinsic Name=\"f\" SourceId=\"1\" Expression=\"2\"/>"), [""; 0]);
    let of_type = |inside: &str| problems(&format!("<Type Name=\"a\">{inside}</Type>"));
    assert_eq!(of_type("<SmartPointer>p</SmartPointer>"), ["3: <SmartPointer> has no attribute Usage"]);
    assert_eq!(of_type("<SmartPointer Usage=\"Any\">p</SmartPointer>"), ["3: 'Any' is no usage of a smart pointer"]);
    assert_eq!(
        of_type("<Expand><CustomListItems MaxItemsPerView=\"0\"/></Expand>"),
        ["3: '0' is no number of items from 1 to 50000"]
    );
    assert_eq!(of_type("<DisplayString>@5; a@b</DisplayString>"), ["3: there is no <LocalizedString> with the Id 5"]);
    let result = |value: &str| problems(&format!("<HResult Name=\"R\"><HRValue>{value}</HRValue></HResult>"));
    assert_eq!(result("0x80004005"), [""; 0]);
    assert_eq!(result("-1"), [""; 0]);
    assert_eq!(result("0x180004005"), ["3: '0x180004005' is no number of 32 bits"]);
    assert_eq!(problems("<HResult Name=\"R\"/>"), ["3: <HResult> has no <HRValue>"]);
}

#[test]
fn what_is_no_file_of_views_is_refused() {
    let refused = |text: &str| ViewFile::parse("a.natvis", text).unwrap_err();
    assert!(refused("").starts_with("it is no XML: "));
    assert!(refused("<a>").starts_with("it is no XML: "));
    assert_eq!(refused("<a/>"), "its root element is <a> and not <AutoVisualizer>");
    // Entities that grow are refused with the document type that declares them.
    let bomb = "<!DOCTYPE a [<!ENTITY b \"bb\"><!ENTITY c \"&b;&b;\">]><AutoVisualizer>&c;</AutoVisualizer>";
    assert!(refused(bomb).starts_with("it is no XML: "));
}

#[test]
fn nesting_is_bounded() {
    let deep = |count: usize| {
        format!(
            "<Type Name=\"a\"><Expand>{}{}</Expand></Type>",
            "<Synthetic Name=\"s\"><Expand>".repeat(count),
            "</Expand></Synthetic>".repeat(count)
        )
    };
    assert_eq!(problems(&deep(10)), [""; 0]);
    assert_eq!(problems(&deep(100)), ["3: it is nested too deeply"]);
    let text = format!("<AutoVisualizer>{}{}</AutoVisualizer>", "<a>".repeat(50_000), "</a>".repeat(50_000));
    // Whether it is refused is the reader's choice; that nothing overflows is not.
    drop(ViewFile::parse("a.natvis", &text));
}

#[test]
fn a_file_that_is_loaded_again_replaces_itself() {
    let mut engine = crate::Engine::new();
    let file = |path: &str| ViewFile { path: path.to_owned(), ..parse("<Type Name=\"a\"/>") };
    engine.load_views(file("/x/a.natvis"));
    engine.load_views(file("/x/b.natvis"));
    engine.load_views(file("/x/a.natvis"));
    let paths = |engine: &crate::Engine| engine.view_files().iter().map(|file| file.path.clone()).collect::<Vec<_>>();
    assert_eq!(paths(&engine), ["/x/b.natvis", "/x/a.natvis"]);
    assert_eq!((engine.unload_views("c.natvis"), engine.unload_views("a.natvis")), (0, 1));
    assert_eq!((engine.unload_all_views(), engine.view_files().len()), (1, 0));
}
