//! A program in a container of its own, made of what the kernel has: for tests of debuggees in others' containers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::{Build, Compiler, Running, fixture, skip, wait_until};

/// No container takes longer to start.
const LIMIT: Duration = Duration::from_secs(60);

/// A program that is process 1 of a container: its pids, mounts and host name are its own, and so is its root, in which its
/// libraries lie. Its C library has another build-id than this machine's, and at the path of the program and of its source
/// this machine has others. Ends with the value.
#[derive(Debug)]
pub struct Container {
    /// Outside, parent of process 1.
    running: Running,
    pid: u32,
    /// Holds `root`, and what stands on this machine at the paths of the container.
    folder: TempDir,
}

impl Container {
    /// Starts `source`, a C program named `prog.c`, once `outside` stands in its place on this machine. With
    /// `user_namespace` it is root in there and somebody else's user outside. `None`, and a skip, if none can be made.
    pub fn start(source: &str, outside: &str, user_namespace: bool) -> Option<Container> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let mut container = Container::prepared(folder, source, outside, user_namespace)?;
        let child = || {
            let pid = container.running.pid();
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
            let child: u32 = children.split_whitespace().next()?.parse().ok()?;
            let program = fs::read_link(format!("/proc/{child}/exe")).ok()?;
            (program == container.program()).then_some(child)
        };
        let mut pid = None;
        wait_until("the container's program runs", LIMIT, || {
            pid = child();
            pid.is_some()
        });
        container.pid = pid.expect("it was waited for");
        Some(container)
    }

    fn prepared(folder: TempDir, source: &str, outside: &str, user_namespace: bool) -> Option<Container> {
        let place = folder.path().join("place");
        let root = folder.path().join("root");
        let inside = root.join(place.strip_prefix("/").expect("an absolute path"));
        for directory in [&place, &inside, &root.join("proc"), &root.join("tmp")] {
            fs::create_dir_all(directory).expect("the folder is ours");
        }
        compile(&place, outside, &[]);
        compile(&inside, source, &[&format!("-ffile-prefix-map={}=", root.display())]);
        for library in libraries(&inside.join("prog")) {
            let library = bring(&root, &library);
            if library.ends_with("libc.so.6") {
                change_build_id(&library);
            }
        }
        let init = Build::source(
            Compiler::Gcc,
            "container",
            &fs::read_to_string(fixture("container.c")).expect("it is there"),
        )
        .flags("-static")
        .path();
        let mut command = Command::new(init);
        command.args(user_namespace.then_some("-U")).arg(&root);
        let mut probe = Command::new(command.get_program());
        let tried = probe.args(command.get_args()).arg(place.join("prog")).arg("probe").output().expect("it starts");
        if !tried.status.success() {
            skip(&format!("no container can be made here: {}", String::from_utf8_lossy(&tried.stderr).trim()));
            return None;
        }
        let running = Running::command(command.arg(place.join("prog")));
        Some(Container { running, pid: 0, folder })
    }

    /// Process 1, as this machine knows it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Path of the program, in there as out here.
    pub fn program(&self) -> PathBuf {
        self.folder.path().join("place/prog")
    }

    /// What is at an absolute path of the container.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join("root").join(inside.trim_start_matches('/'))
    }

    /// The next line that the program prints.
    pub fn line(&mut self) -> String {
        self.running.line()
    }

    /// Copies a program of this machine into the container's root, with the libraries it needs that are not there.
    pub fn bring(&self, program: &Path) {
        let root = self.folder.path().join("root");
        for library in libraries(program) {
            if !root.join(library.strip_prefix("/").expect("an absolute path")).exists() {
                bring(&root, &library);
            }
        }
        fs::copy(program, root.join(program.file_name().expect("a file"))).expect("the folder is ours");
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Process 1 takes all others of its namespace with it; from within, no signal would end it.
        let _ = Command::new("kill").args(["-s", "KILL", &self.pid.to_string()]).status();
    }
}

fn compile(folder: &Path, source: &str, flags: &[&str]) {
    // The probe of a container is answered by every program alike.
    let source = format!(
        "{source}\nint main(int argc, char **argv) {{ return argc == 2 && argv[1][0] == 'p' ? 0 : program(argv); }}\n"
    );
    fs::write(folder.join("prog.c"), source).expect("the folder is ours");
    let command =
        Command::new("gcc").current_dir(folder).args(["-g", "-O0", "prog.c", "-o", "prog"]).args(flags).output();
    let output = command.expect("gcc is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The shared objects that a program loads, by ldd(1).
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().expect("ldd is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

/// Copies a file to its own path below `root`; gives that.
fn bring(root: &Path, file: &Path) -> PathBuf {
    let to = root.join(file.strip_prefix("/").expect("an absolute path"));
    fs::create_dir_all(to.parent().expect("it is below the root")).expect("the folder is ours");
    fs::copy(file, &to).expect("a library can be read");
    to
}

/// Makes a library another build of itself: the note with the build-id (ELF gABI, "Note Section"; name `GNU`, type 3).
fn change_build_id(library: &Path) {
    let mut bytes = fs::read(library).expect("it was copied");
    let header = [&4_u32.to_le_bytes()[..], &20_u32.to_le_bytes(), &3_u32.to_le_bytes(), b"GNU\0"].concat();
    let at = bytes.windows(header.len()).position(|window| window == header).expect("it has a build-id");
    bytes[at + header.len()..][..20].iter_mut().for_each(|byte| *byte ^= 0xff);
    fs::write(library, bytes).expect("it was copied");
}
