//! Finding the program's file.

use std::env;
use std::path::{Path, PathBuf};

use outpost_target::TargetError;
use rustix::fs::{Access, access};

/// The program's path: as it is if it has a slash, else the first match in the server's `PATH`.
///
/// A relative path counts from the server's directory, whatever directory the new process gets.
pub(super) fn find_program(program: &str) -> Result<PathBuf, TargetError> {
    let failed = |reason: &str| TargetError::File { path: program.to_owned(), reason: reason.to_owned() };
    if program.is_empty() {
        return Err(TargetError::Invalid { reason: "no program is named".into() });
    }
    if program.contains('/') {
        let path = std::path::absolute(program).map_err(|_| failed("its directory cannot be found"))?;
        return match path.is_dir() {
            true => Err(failed("is a directory")),
            // Whatever else is wrong with it the kernel says when it is executed.
            false => Ok(path),
        };
    }
    let path = env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let candidates: Vec<PathBuf> =
        env::split_paths(&path).map(|folder| folder.join(program)).filter(|path| path.is_file()).collect();
    let is_executable = |path: &&PathBuf| access(path.as_path(), Access::EXEC_OK).is_ok();
    match candidates.iter().find(is_executable).or(candidates.first()) {
        Some(found) => Ok(std::path::absolute(found).unwrap_or_else(|_| found.clone())),
        None => Err(failed(&format!("not found in the server's PATH ({})", Path::new(&path).display()))),
    }
}
