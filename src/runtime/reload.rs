//! Files that are read at the start and again whenever they change: named policies, tokens.
//!
//! Invariant: a file that is not sound is refused at the start; later it changes nothing, and the log says why once.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::hub::Hub;

/// How often a file is looked at: as often as kubelet renews a ConfigMap or a Secret, and oftener.
const LOOK: Duration = Duration::from_secs(5);
/// No such file is larger.
const FILE_MAX: u64 = 1024 * 1024;

/// What a file holds, and what becomes of it.
pub(super) struct Kind<T> {
    /// For the log: `policies`.
    pub(super) what: &'static str,
    /// Reads it; the error says what is wrong.
    pub(super) parse: fn(&str) -> Result<T, String>,
    /// Puts it in force.
    pub(super) set: fn(&Hub, T),
}

/// A file that was read.
#[derive(Debug)]
pub(super) struct Loaded<T> {
    path: PathBuf,
    text: String,
    content: T,
}

impl<T: Send + 'static> Kind<T> {
    /// Reads a file for the first time.
    pub(super) fn load(&self, path: PathBuf) -> Result<Loaded<T>, String> {
        let (text, content) = read(&path, self.parse)?;
        Ok(Loaded { path, text, content })
    }

    /// Puts it in force, and follows the file.
    pub(super) fn follow(self, hub: &Arc<Hub>, loaded: Loaded<T>, tasks: &TaskTracker) {
        let Loaded { path, text, content } = loaded;
        (self.set)(hub, content);
        tasks.spawn(follow(Arc::clone(hub), self, path, text));
    }
}

fn read<T>(path: &Path, parse: fn(&str) -> Result<T, String>) -> Result<(String, T), String> {
    let of_file = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes));
    if read.map_err(|e| of_file(&e))? as u64 > FILE_MAX {
        return Err(of_file(&format_args!("such a file has at most {FILE_MAX} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|e| of_file(&e.utf8_error()))?;
    let content = parse(&text).map_err(|e| of_file(&e))?;
    Ok((text, content))
}

async fn follow<T: Send + 'static>(hub: Arc<Hub>, kind: Kind<T>, path: PathBuf, mut known: String) {
    let (what, mut complained) = (kind.what, String::new());
    loop {
        tokio::select! {
            () = hub.stopping().cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let (from, parse) = (path.clone(), kind.parse);
        let Ok(read) = tokio::task::spawn_blocking(move || read(&from, parse)).await else { continue };
        match read {
            Ok((text, _)) if text == known => complained.clear(),
            Ok((text, content)) => {
                tracing::info!(file = %path.display(), "the {what} changed");
                (kind.set)(&hub, content);
                known = text;
                complained.clear();
            }
            Err(why) if why == complained => {}
            Err(why) => {
                tracing::error!("the {what} stay what they were: {why}");
                complained = why;
            }
        }
    }
}
