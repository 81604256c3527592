//! Which container or unit a process belongs to, told by its control group.

/// Length of a container id as the engines write it.
const ID_LEN: usize = 64;
/// How much of an id is shown, as the engines' own listings do.
const SHORT_ID_LEN: usize = 12;

/// Short name of the container or unit: `docker:0123456789ab`, `lxc:web`, `nginx.service`; empty if none is told.
///
/// `cgroup` is the text of `/proc/PID/cgroup` (cgroups(7)); the unified hierarchy's line counts, else the longest path.
pub(crate) fn container_or_unit(cgroup: &str) -> String {
    let paths = cgroup.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        Some((fields.next()? == "0", fields.nth(1)?))
    });
    let Some((_, path)) = paths.max_by_key(|(unified, path)| (*unified && *path != "/", path.len())) else {
        return String::new();
    };
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    // The innermost container wins over units inside it; outside containers the innermost unit is the name.
    let container = parts.iter().enumerate().rev().find_map(|(at, part)| container(part, &parts[..at]));
    container
        .or_else(|| parts.iter().rev().find(|part| is_unit(part)).map(|unit| (*unit).to_owned()))
        .unwrap_or_default()
}

fn container(part: &str, outer: &[&str]) -> Option<String> {
    if let Some(name) = part.strip_prefix("lxc.payload.").or_else(|| part.strip_prefix("lxc.payload/")) {
        return Some(format!("lxc:{name}"));
    }
    if outer.last() == Some(&"lxc") {
        return Some(format!("lxc:{part}"));
    }
    if let Some(name) = part.strip_prefix("machine-").and_then(|part| part.strip_suffix(".scope")) {
        return Some(format!("machine:{}", name.replace("\\x2d", "-")));
    }
    // `docker-ID.scope`, `cri-containerd-ID.scope`, `libpod-ID.scope`, or the bare id below a folder of its engine.
    let stem = part.strip_suffix(".scope").unwrap_or(part);
    let id_at = stem.len().checked_sub(ID_LEN)?;
    let id = stem.get(id_at..).filter(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    let short = &id[..SHORT_ID_LEN];
    let engine = match stem[..id_at].trim_end_matches('-') {
        "" if outer.iter().any(|part| part.starts_with("kubepods")) => "kubepods",
        "" => outer.last().copied().unwrap_or("container"),
        "libpod" => "podman",
        "cri-containerd" => "containerd",
        engine => engine,
    };
    Some(format!("{engine}:{short}"))
}

fn is_unit(part: &str) -> bool {
    [".service", ".scope", ".socket", ".mount", ".slice"].iter().any(|kind| part.ends_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn check(path: &str, expected: &str) {
        let path = path.replace("ID", ID);
        assert_eq!(container_or_unit(&format!("0::{path}\n")), expected, "{path}");
    }

    #[test]
    fn engines_and_units_are_told_by_their_groups() {
        check("/system.slice/docker-ID.scope", "docker:0123456789ab");
        check("/docker/ID", "docker:0123456789ab");
        check("/docker/ID/system.slice/cron.service", "docker:0123456789ab");
        check("/machine.slice/libpod-ID.scope/container", "podman:0123456789ab");
        check("/kubepods.slice/kubepods-besteffort.slice/cri-containerd-ID.scope", "containerd:0123456789ab");
        check("/kubepods/burstable/pod1234/ID", "kubepods:0123456789ab");
        check("/lxc.payload.web/init.scope", "lxc:web");
        check("/machine.slice/machine-test\\x2dbox.scope", "machine:test-box");
        check("/system.slice/nginx.service", "nginx.service");
        check("/user.slice/user-1000.slice/user@1000.service/app.slice/term.scope", "term.scope");
        check("/user.slice/user-1000.slice/session-3.scope", "session-3.scope");
        check("/", "");
    }

    #[test]
    fn the_older_hierarchies_are_understood() {
        let text = format!("12:cpu:/\n3:memory:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/\n");
        assert_eq!(container_or_unit(&text), "docker:0123456789ab");
        assert_eq!(container_or_unit(""), "");
    }
}
