//! `s` and `!address`.

use crate::common::*;

/// Lines that begin with an address.
fn hits(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.as_bytes().get(8) == Some(&b'`')).collect()
}

#[test]
fn search_by_type_and_flags() {
    let script = "bp main; g; \
        .echo [all]; s -[s]a needles L40 needle; .echo [among]; s -[r]a 0 L1 \"needle b\"; \
        .echo [again]; s -[r1]b 0 L1 6e 65; .echo [limit]; s -[n 2]a needles L40 needle; \
        .echo [writable]; s -[w]a fixed L20 needle; .echo [fixed]; s -a fixed L20 needle; \
        .echo [wide]; s -u wide L10 wide; .echo [words]; s -[1]w wide L6 64 65; \
        .echo [texts]; s -[l 4]sa needles L40; .echo [short]; s -sa needles+7 L2; .echo [wtexts]; s -su wide L6; \
        .echo [wfixed]; s -[w]sa fixed L20; .echo [wrong]; s -[x]b needles L40 1";
    let output = cdb(lists(), script);
    let count = |name: &str| hits(part(&output, name)).len();
    assert_eq!(count("all"), 3, "{output}");
    assert_eq!(count("among"), 1, "{output}");
    assert!(hits(part(&output, "among"))[0].ends_with("needle b needle "), "{output}");
    let again = hits(part(&output, "again"));
    assert!(
        again.len() == 3 && again.iter().all(|line| line.len() == 17),
        "addresses only, of what was saved:\n{output}"
    );
    assert_eq!(count("limit"), 2, "{output}");
    assert!(part(&output, "limit").contains("limit of hits"), "{output}");
    assert_eq!((count("writable"), count("fixed")), (0, 1), "{output}");
    assert_eq!(count("wide"), 1, "{output}");
    assert_eq!(count("words"), 1, "{output}");
    assert!(part(&output, "texts").contains("\"needle a needle b needle c\""), "{output}");
    assert_eq!(count("short"), 0, "{output}");
    assert!(part(&output, "wtexts").contains("\"wider\""), "{output}");
    assert_eq!(count("wfixed"), 0, "{output}");
    assert!(part(&output, "wrong").contains("nknown flag 'x'"), "{output}");
}

/// The whole of an address space has holes of many gigabytes.
#[test]
fn search_of_everything_ends() {
    let output = cdb(
        lists(),
        "bp main; g; .echo [a]; s -[1]a 0 L?7fffffffffff \"needle a needle\"; .echo [sa]; s -[wl 19]sa 0 L?7fffffffffff",
    );
    assert_eq!(hits(part(&output, "a")).len(), 1, "{output}");
    assert!(part(&output, "sa").contains("\"needle a needle b needle c\""), "{output}");
}

#[test]
fn address_runs_commands_for_each_region() {
    let script = "bp main; g; .echo [list]; !address -f:Stack; .echo [stack]; !address -f:Stack -c:\".echo <%1 %2 %3 %4 %6 %7 100%>\"; \
        .echo [rx]; !address -f:Image,r-x -c:\".echo %6 %7; .echo ;\"; .echo [search]; !address -f:rw-,Image -c:\"s -[1]a %1 L?%3 needle a\"; \
        .echo [go]; !address -f:Stack -c:\"~*g\"; .echo [deep]; !address -c:\"!address -f:Stack -c:.echo x\"; .echo [wrong]; !address -f:Nonsense";
    let output = cdb(lists(), script);
    let list = part(&output, "list").lines().nth(1).unwrap_or_default().split_whitespace().collect::<Vec<_>>();
    let shown = part(&output, "stack").trim();
    assert_eq!(
        shown,
        format!("<{} {} {} {} {} {} 100%>", list[0], list[1], list[2], list[3], list[4], list[5]),
        "{output}"
    );
    let code: Vec<&str> = part(&output, "rx").lines().filter(|line| !line.trim().is_empty()).collect();
    assert!(code.len() >= 3 && code.iter().all(|line| *line == "r-x Image"), "{output}");
    assert_eq!(hits(part(&output, "search")).len(), 1, "{output}");
    assert!(part(&output, "go").contains("cannot resume"), "{output}");
    assert!(part(&output, "deep").lines().filter(|line| *line == "x").count() > 10, "{output}");
    assert!(part(&output, "wrong").contains("'Nonsense' is no usage"), "{output}");
}

#[test]
fn symbols_of_one_size() {
    let output = cdb(lists(), "bp main; g; .echo [x]; x /d /s 40 lists!*; .echo [end]");
    let found = hits(part(&output, "x"));
    assert!(found.iter().any(|row| row.contains("lists!needles")), "{output}");
    assert!(!found.iter().any(|row| row.contains("lists!head") || row.contains("lists!fixed")), "{output}");
}

#[test]
fn the_auxiliary_vector_is_the_kernels_and_images_are_the_linkers() {
    let output = cdb(
        lists(),
        "g down; .echo [auxv]; !ntauxv; .echo [entry]; ? $exentry; .echo [images]; .imgscan; .echo [end]; q",
    );
    let value = |name: &str| part(&output, "auxv").lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let entry = part(&output, "entry").trim().rsplit(' ').next();
    assert!(entry.is_some() && value("AT_ENTRY") == entry, "{output}");
    assert_eq!(value("AT_PAGESZ"), Some("00000000`00001000"), "{output}");
    // Every image that is mapped is a module here, and the vdso is where the kernel says.
    let images = part(&output, "images");
    assert!(images.lines().count() >= 3 && !images.contains("no module"), "{images}");
    let vdso = value("AT_SYSINFO_EHDR").map(|at| format!("ELF at {at}"));
    assert!(vdso.is_none_or(|vdso| images.contains(&vdso)), "{output}");
}

#[test]
fn the_end_of_input_answers_nothing_and_ends_the_session() {
    for asking in ["a main", "eb table", "r rax ="] {
        let said = cdb(lists(), asking);
        assert!(said.ends_with("Input> \n0:000> q\n"), "{said}");
        assert!(!said.contains("rror") && !said.contains("No such instruction"), "{said}");
    }
}
