//! Files that are read at the start and again whenever they change: named policies, host classes, tokens, the certificate.
//!
//! Invariant: a file that is not sound is refused at the start; later it changes nothing, and the log says why once. Nor does one that
//! is only half written: the first half of a restriction is a restriction as well, and shows more.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use super::hub::Hub;
use crate::plain_file;

/// How often a file is looked at: as often as kubelet renews a ConfigMap or a Secret, and oftener.
const LOOK: Duration = Duration::from_secs(5);
/// What changed is taken when it is read alike again after this long: not everybody replaces a file in one go.
const SETTLES: Duration = Duration::from_secs(1);
/// No such file is larger.
const FILE_MAX: u64 = 1024 * 1024;

/// The files that are followed, by what they are, and whether what they hold now is refused.
#[derive(Debug, Default)]
pub struct RefusedFiles(Mutex<BTreeMap<&'static str, bool>>);

impl RefusedFiles {
    fn set(&self, what: &'static str, refused: bool) {
        self.0.lock().insert(what, refused);
    }

    /// All files that are followed.
    pub fn all(&self) -> Vec<(&'static str, bool)> {
        self.0.lock().iter().map(|(what, refused)| (*what, *refused)).collect()
    }
}

/// What one or several files hold, as it was read.
#[derive(Debug)]
pub struct Loaded<T> {
    /// For the log: `policies`.
    what: &'static str,
    paths: Vec<PathBuf>,
    parse: fn(&str) -> Result<T, String>,
    text: String,
    content: T,
}

/// Reads files for the first time, one after the other as one text; `parse` says what is wrong with it.
pub fn load<T>(
    what: &'static str,
    paths: Vec<PathBuf>,
    parse: fn(&str) -> Result<T, String>,
) -> Result<Loaded<T>, String> {
    let text = texts(&paths)?;
    let content = read(&paths, &text, parse)?;
    Ok(Loaded { what, paths, parse, text, content })
}

impl<T: Send + 'static> Loaded<T> {
    /// What was read.
    pub(super) fn content(&self) -> &T {
        &self.content
    }

    /// Puts it in force in a hub, and what the files say later.
    pub(super) fn follow(self, set: impl Fn(T) + Send + 'static, hub: &Hub, tasks: &TaskTracker) {
        let Loaded { what, paths, parse, text, content } = self;
        let (refused, stop) = (Arc::clone(hub.refused_files()), hub.stopping().clone());
        set(content);
        refused.set(what, false);
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = follow(what, paths, parse, text, set, &refused) => {}
            }
        });
    }
}

/// The text of one such file.
pub fn text(path: &Path) -> Result<String, String> {
    let of_file = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let mut bytes = Vec::new();
    let read = plain_file::open(path).and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes));
    if read.map_err(|e| of_file(&e))? as u64 > FILE_MAX {
        return Err(of_file(&format_args!("such a file has at most {FILE_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|e| of_file(&e.utf8_error()))
}

/// The texts of all of them, one after the other.
fn texts(paths: &[PathBuf]) -> Result<String, String> {
    let mut all = String::new();
    for path in paths {
        all.push_str(&text(path)?);
        all.push('\n');
    }
    Ok(all)
}

fn read<T>(paths: &[PathBuf], text: &str, parse: fn(&str) -> Result<T, String>) -> Result<T, String> {
    let names = || paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
    parse(text).map_err(|why| format!("{}: {why}", names()))
}

async fn follow<T: Send + 'static>(
    what: &'static str,
    paths: Vec<PathBuf>,
    parse: fn(&str) -> Result<T, String>,
    mut known: String,
    set: impl Fn(T),
    refused: &RefusedFiles,
) {
    let mut complained = String::new();
    let mut unsettled = None;
    loop {
        tokio::time::sleep(if unsettled.is_some() { SETTLES } else { LOOK }).await;
        let from = paths.clone();
        let Ok(text) = tokio::task::spawn_blocking(move || texts(&from)).await else { continue };
        if text.as_ref() == Ok(&known) {
            (complained, unsettled) = (String::new(), None);
            refused.set(what, false);
            continue;
        }
        let Some(text) = settled(&mut unsettled, text) else { continue };
        match text.and_then(|text| Ok((read(&paths, &text, parse)?, text))) {
            Ok((content, text)) => {
                tracing::info!(files = ?paths, "the {what} changed");
                set(content);
                known = text;
                complained.clear();
                refused.set(what, false);
            }
            Err(why) if why == complained => {}
            Err(why) => {
                tracing::error!("the {what} stay what they were, and a restart would not take them: {why}");
                refused.set(what, true);
                complained = why;
            }
        }
    }
}

/// What was read, if it is what was read before.
fn settled<T: PartialEq>(before: &mut Option<T>, now: T) -> Option<T> {
    if before.take().is_some_and(|before| before == now) {
        return Some(now);
    }
    *before = Some(now);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_still_being_written_is_not_taken() {
        let mut before = None;
        let taken: Vec<Option<&str>> =
            ["", "half", "whole", "whole", "other"].into_iter().map(|now| settled(&mut before, now)).collect();
        assert_eq!(taken, [None, None, None, Some("whole"), None]);
    }
}
