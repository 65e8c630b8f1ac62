//! The commit a checkout stands at, read from the files of git itself: no git is needed, and nothing is run.
//!
//! Invariant: read only. Whatever is not understood gives no commit rather than a wrong one.

use std::fs;
use std::path::{Path, PathBuf};

/// How long a chain of symbolic refs may be.
const MAX_HOPS: usize = 5;

/// The git directories of a working tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkout {
    /// Holds HEAD; of a linked worktree it is its own.
    pub(super) git_dir: PathBuf,
    /// Holds the refs.
    common_dir: PathBuf,
}

/// The checkout a folder is in: its own `.git` or that of the nearest folder above.
pub(super) fn checkout(folder: &Path) -> Option<Checkout> {
    let absolute = fs::canonicalize(folder).ok()?;
    absolute.ancestors().find_map(|above| open(&above.join(".git")))
}

fn open(dot_git: &Path) -> Option<Checkout> {
    let kind = fs::metadata(dot_git).ok()?;
    let git_dir = if kind.is_dir() {
        dot_git.to_owned()
    } else {
        // A linked worktree or submodule: a file that says where the git directory is.
        let text = fs::read_to_string(dot_git).ok()?;
        dot_git.parent()?.join(text.strip_prefix("gitdir:")?.trim())
    };
    if !git_dir.join("HEAD").is_file() {
        return None;
    }
    let common_dir = match fs::read_to_string(git_dir.join("commondir")) {
        Ok(text) => git_dir.join(text.trim()),
        Err(_) => git_dir.clone(),
    };
    Some(Checkout { git_dir, common_dir })
}

impl Checkout {
    /// `<branch>@sha1:<hex>`, or only `sha1:<hex>` of a detached HEAD; `None` before the first commit.
    pub(super) fn revision(&self) -> Option<String> {
        let mut text = fs::read_to_string(self.git_dir.join("HEAD")).ok()?;
        let mut branch = None;
        for _ in 0..MAX_HOPS {
            let Some(name) = text.strip_prefix("ref:").map(|name| name.trim().to_owned()) else {
                let hex = digest(text.trim())?;
                return Some(match branch {
                    Some(branch) => format!("{branch}@{hex}"),
                    None => hex,
                });
            };
            if branch.is_none() {
                branch = Some(name.strip_prefix("refs/heads/").unwrap_or(&name).to_owned());
            }
            text = self.read(&name)?;
        }
        None
    }

    /// Whether git is writing: what is on disk may be half of two commits.
    pub(super) fn busy(&self) -> bool {
        self.git_dir.join("index.lock").exists()
    }

    fn read(&self, name: &str) -> Option<String> {
        // A name is a path below the refs and nothing else.
        if !name.starts_with("refs/") || name.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
            return None;
        }
        let loose =
            [&self.git_dir, &self.common_dir].into_iter().find_map(|dir| fs::read_to_string(dir.join(name)).ok());
        if loose.is_some() {
            return loose;
        }
        let packed = fs::read_to_string(self.common_dir.join("packed-refs")).ok()?;
        let line = packed.lines().find(|line| line.split_once(' ').is_some_and(|(_, packed)| packed == name))?;
        line.split_once(' ').map(|(hex, _)| hex.to_owned())
    }
}

fn digest(hex: &str) -> Option<String> {
    let algorithm = match hex.len() {
        40 => "sha1",
        64 => "sha256",
        _ => return None,
    };
    hex.bytes().all(|b| b.is_ascii_hexdigit()).then(|| format!("{algorithm}:{hex}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "530af36eb38818ff7c4a8840f2068998ec8ec065";
    const B: &str = "158966cb50ef397ee70339624ede20e54ca071c7";

    fn write(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn head_is_read_through_loose_and_packed_refs_and_detached() {
        let dir = tempfile::tempdir().unwrap();
        let git = dir.path().join(".git");
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        assert_eq!(checkout(&dir.path().join("a")), checkout(dir.path().parent().unwrap()));
        write(git.join("HEAD"), "ref: refs/heads/feature/x\n");
        let found = checkout(&dir.path().join("a/b")).unwrap();
        assert_eq!(found.revision(), None);
        write(git.join("packed-refs"), &format!("# pack-refs with: peeled\n{B} refs/heads/feature/x\n^{A}\n"));
        assert_eq!(found.revision(), Some(format!("feature/x@sha1:{B}")));
        write(git.join("refs/heads/feature/x"), &format!("{A}\n"));
        assert_eq!(found.revision(), Some(format!("feature/x@sha1:{A}")));
        write(git.join("HEAD"), &format!("{B}\n"));
        assert_eq!(found.revision(), Some(format!("sha1:{B}")));
        write(git.join("HEAD"), "ref: ../../../etc/passwd\n");
        assert_eq!(found.revision(), None);
        write(git.join("HEAD"), "ref: refs/heads/.invalid\n");
        assert_eq!(found.revision(), None);
    }

    #[test]
    fn a_linked_worktree_has_its_own_head_and_shared_refs() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("main/.git");
        write(main.join("HEAD"), "ref: refs/heads/main\n");
        write(main.join("refs/heads/dev"), &format!("{A}\n"));
        let own = main.join("worktrees/w");
        write(own.join("HEAD"), "ref: refs/heads/dev\n");
        write(own.join("commondir"), "../..\n");
        let tree = dir.path().join("tree");
        write(tree.join(".git"), "gitdir: ../main/.git/worktrees/w\n");
        let found = checkout(&tree).unwrap();
        assert_eq!(found.revision(), Some(format!("dev@sha1:{A}")));
        assert!(!found.busy());
        write(own.join("index.lock"), "");
        assert!(found.busy());
    }
}
