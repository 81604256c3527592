//! Documented commands that do not apply here, each with its reason: they are never "unknown".

/// Why a documented command does nothing; `None` if it is not documented either.
pub(crate) fn reason(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    GROUPS.iter().find(|(_, names)| names.split_whitespace().any(|known| known == name)).map(|(reason, _)| *reason)
}

const GROUPS: &[(&str, &str)] = &[
    ("it needs port or BIOS access of a kernel target", "ib iw id ob ow od up ur ux dg .tss rdmsr wrmsr"),
    (
        "it is about Windows only",
        "ah .closehandle .fiber .fiximports .fpo .kdfiles .kdtargetmac .netuse .locale .cordll .enumtag .event_code \
         .force_tb .hideinjectedcode .ocommand .ofilter .pagein .record_branches .rrestart .urestart .wake .breakin .dbgdbg \
         .copysym .exdicmd",
    ),
    ("time travel needs a recording", "!tt g- p- t-"),
    (
        "it needs a kernel target",
        ".process .thread .context .trap .bugcheck .reboot .crash !process !thread !running !pte !vtop so sq",
    ),
    (
        "it is not in this release",
        "wt tb z j .call .step_filter .allow_exec_cmds .bpsync .apply_dbp br bs bsc bm .bpcmds a # .asm .fnent .fnret .inline \
         .dml_flow dtx dx ss .typeopt .enable_long_status .enable_unicode .force_radix_output !lmi !dh !chksym .srcfix .srcnoisy \
         .show_sym_failures !addsourcemap !sourcemaps !removesourcemaps .dvalloc .dvfree .holdmem .imgscan !vprot !heap !list \
         .cache !uniqstack !findstack !for_each_frame !for_each_local !for_each_module !for_each_thread !locks !cs !tls .push \
         .pop .pcmd .prompt_allow .outmask .echotime .echotimestamps .eventlog .idle_cmd .settings .effmach .load .unload \
         .loadby .chain .setdll .extpath .extmatch !version .scriptload .scriptunload .scriptlist .scriptrun .scriptproviders \
         .nvload .nvunload .nvlist .prefer_dml .browse .dumpcab .exptr .jdinfo .ignore_missing_pages .allow_image_mapping \
         !chkimg .opendump .dump .server .servers .endsrv .clients .remote_exit .quit_lock .noshell .send_file .secure .ttime \
         !runaway vercommand !analyze !peb !teb !proc !tcb !gle .printf .if .elsif .else .for .while .do .break .continue \
         .foreach .block .catch .leave as ad al .shell .readmem f m c .symopt .symfix .exepath lsp lsc lsf lse ld kd rm .ecxr \
         .cxr sx sxe sxd sxn sxi sxr .json .expr .createdir .childdbg .lsrcpath",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supported_command_is_not_listed() {
        for name in crate::registry::infos().flat_map(|info| info.names) {
            assert_eq!(reason(name), None, "{name}");
        }
        assert!(reason(".REBOOT").is_some() && reason("nonsense").is_none());
    }
}
