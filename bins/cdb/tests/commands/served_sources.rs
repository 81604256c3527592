//! Sources that are not on this machine: from a real debuginfod, which has them in an archive.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = "#include <stdio.h>\nint main(int argc, char **argv) {\n  puts(\"served\");\n  return argc;\n}\n";

/// Ends the server with its test.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn done(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[test]
fn a_source_comes_from_a_real_debuginfod() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path();
    let archive = folder.join("archive/nowhere-at-all");
    fs::create_dir_all(&archive).unwrap();
    fs::create_dir(folder.join("served")).unwrap();
    fs::write(archive.join("served.c"), PROGRAM).unwrap();
    let program = folder.join("archive/program");
    let mut gcc = Command::new("gcc");
    gcc.args(["-g", "-O0", "-Wl,--build-id=sha1"]).arg(archive.join("served.c")).arg("-o").arg(&program);
    assert!(done(gcc.arg(format!("-ffile-prefix-map={}=/nowhere-at-all", archive.display()))));
    let mut tar = Command::new("tar");
    assert!(done(tar.arg("-C").arg(folder.join("archive")).arg("-cf").arg(folder.join("served/all.tar")).arg(".")));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Command::new("debuginfod");
    server.args(["-p", &port.to_string(), "-d", ":memory:", "-Z", ".tar"]).arg(folder.join("served"));
    let Ok(server) = server.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        return outpost_testkit::skip("debuginfod is not installed");
    };
    let _served = Served(server);
    // A line each: what comes behind a stop on one line takes what is at hand.
    fs::write(folder.join("script"), "bp main\ng\nlsa .\nlsf /nowhere-at-all/served.c\nq\n").unwrap();
    let ask = |number: usize| {
        let cache = folder.join(format!("cache{number}"));
        let path = format!("cache*{};DebugInfoD*http://127.0.0.1:{port}", cache.display());
        let mut cdb = Command::new("timeout");
        cdb.args(["30", env!("CARGO_BIN_EXE_cdb"), "-y", &path]).arg(&program);
        let output = cdb.stdin(fs::File::open(folder.join("script")).unwrap()).output().unwrap();
        (String::from_utf8_lossy(&output.stdout).into_owned(), cache)
    };
    // It knows its files a while after it began; each try has a cache of its own, which remembers what was not there.
    let deadline = Instant::now() + Duration::from_secs(40);
    let (output, cache) =
        (0..).map(ask).find(|(output, _)| output.contains("puts") || Instant::now() > deadline).unwrap();
    let place = |cache: &Path| {
        // Other modules of the process have folders there, too.
        let folders = fs::read_dir(cache).unwrap().flatten().map(|entry| entry.path());
        let mut kept = folders.map(|folder| folder.join("source##nowhere-at-all##served.c"));
        kept.find(|path| path.exists()).unwrap_or_default().display().to_string()
    };
    let said = format!("{} (from a server, by build-id)", place(&cache));
    assert!(output.contains(&format!("{said}\n")) && output.contains(">    3:   puts(\"served\");"), "{output}");
    assert!(output.contains(&format!("Current: {said}\n")), "{output}");
}
