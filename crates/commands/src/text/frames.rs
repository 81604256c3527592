//! Rows of `k`.

use outpost_engine::{FrameKind, StackFrame};

use super::symbols::line_suffix;

/// What of a frame is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FrameColumns {
    /// `c`: nothing but the call site.
    pub(crate) names_only: bool,
    /// `L`: no source lines.
    pub(crate) hide_lines: bool,
    /// `f`: bytes between this frame and the next.
    pub(crate) sizes: bool,
    /// `v`: how the frame was found.
    pub(crate) unwind: bool,
    /// `b`: the first three arguments.
    pub(crate) arguments: bool,
}

/// The head of the table.
pub(crate) fn head(columns: FrameColumns) -> String {
    if columns.names_only {
        return " # Call Site".to_owned();
    }
    let mut text = String::from(" #");
    if columns.sizes {
        text.push_str("   Memory");
    }
    text.push_str(" Child-SP          RetAddr               ");
    if columns.arguments {
        text.push_str(": Args to Child                                         : ");
    }
    text.push_str("Call Site");
    text
}

/// `svc!main+0x1f`; the address where nothing is known.
pub(crate) fn call_site(frame: &StackFrame) -> String {
    call_site_with(frame, "")
}

/// `svc!main(int argc = 0n1)+0x1f`, the parameters being text with its parentheses.
fn call_site_with(frame: &StackFrame, parameters: &str) -> String {
    let plus = |name: String| match frame.displacement {
        0 => name + parameters,
        more => format!("{name}{parameters}+{more:#x}"),
    };
    match (frame.module.as_str(), frame.function.as_str()) {
        ("", "") => frame.instruction.to_string(),
        (module, "") => plus(module.to_owned()),
        ("", function) => plus(function.to_owned()),
        (module, function) => plus(format!("{module}!{function}")),
    }
}

/// A frame's stack pointer; why it has none of its own.
pub(crate) fn child_sp(frame: &StackFrame) -> String {
    match frame.kind {
        FrameKind::Inline => "(Inline Function)".to_owned(),
        FrameKind::TailCall => "(Tail Call)      ".to_owned(),
        FrameKind::Physical => frame.sp.to_string(),
    }
}

/// One row without notes behind the call site; `parameters` are text with its parentheses.
pub(crate) fn row(
    frame: &StackFrame,
    columns: FrameColumns,
    previous_sp: Option<u64>,
    arguments: &str,
    parameters: &str,
) -> String {
    let site = call_site_with(frame, parameters);
    let mut text = format!("{:02x} ", frame.index);
    if columns.names_only {
        // Names alone, so that stacks of two runs can be compared.
        let (module, function) = (frame.module.as_str(), frame.function.as_str());
        match (module, function) {
            (_, "") => text.push_str(&site),
            ("", function) => text.push_str(&format!("{function}{parameters}")),
            (module, function) => text.push_str(&format!("{module}!{function}{parameters}")),
        }
        return text;
    } else {
        if columns.sizes {
            let size = previous_sp.and_then(|sp| frame.sp.0.checked_sub(sp)).filter(|size| *size != 0);
            text.push_str(&size.map_or_else(|| " ".repeat(9), |size| format!("{size:8x} ")));
        }
        let returns = match frame.is_physical() {
            true => frame.return_address.unwrap_or_default().to_string(),
            false => "--------`--------".to_owned(),
        };
        text.push_str(&format!("{} {returns}     ", child_sp(frame)));
        if columns.arguments {
            text.push_str(&format!(": {arguments} : "));
        }
        text.push_str(&site);
    }
    if !columns.hide_lines {
        text.push_str(&line_suffix(frame.source.as_ref()));
    }
    text
}

#[cfg(test)]
mod tests {
    use outpost_base::Va;
    use outpost_engine::{FrameTrust, SourceLocation};

    use super::*;

    fn frame(kind: FrameKind) -> StackFrame {
        StackFrame {
            index: 1,
            kind,
            physical: 1,
            instruction: Va(0x5555_5555_b0c7),
            lookup_address: Va(0x5555_5555_b0c6),
            sp: Va(0x7fff_ffff_da10),
            cfa: None,
            return_address: Some(Va(0x7fff_f7c2_9d90)),
            module: "svc".into(),
            function: "main".into(),
            displacement: 0x2f7,
            source: Some(SourceLocation { file: "/src/svc/main.c".into(), line: 140, column: 0, is_statement: true }),
            trust: FrameTrust::Cfi,
            is_signal_frame: false,
            is_tail_call: false,
        }
    }

    #[test]
    fn rows_as_scripts_expect_them() {
        assert_eq!(head(FrameColumns::default()), " # Child-SP          RetAddr               Call Site");
        let expected = "01 00007fff`ffffda10 00007fff`f7c29d90     svc!main+0x2f7 [/src/svc/main.c @ 140]";
        assert_eq!(row(&frame(FrameKind::Physical), FrameColumns::default(), None, "", ""), expected);
        let inline = "01 (Inline Function) --------`--------     svc!main+0x2f7 [/src/svc/main.c @ 140]";
        assert_eq!(row(&frame(FrameKind::Inline), FrameColumns::default(), None, "", ""), inline);
        let tail = "01 (Tail Call)       --------`--------     svc!main+0x2f7 [/src/svc/main.c @ 140]";
        assert_eq!(row(&frame(FrameKind::TailCall), FrameColumns::default(), None, "", ""), tail);
        let columns = FrameColumns { names_only: true, hide_lines: true, ..FrameColumns::default() };
        assert_eq!(row(&frame(FrameKind::Physical), columns, None, "", ""), "01 svc!main");
        assert_eq!(row(&frame(FrameKind::Physical), columns, None, "", "(int n = 0n1)"), "01 svc!main(int n = 0n1)");
        let site = call_site_with(&frame(FrameKind::Physical), "(int n = 0n1)");
        assert_eq!(site, "svc!main(int n = 0n1)+0x2f7");
    }
}
