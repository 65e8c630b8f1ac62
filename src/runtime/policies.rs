//! The file of named policies: read at the start, and again whenever it changes.
//!
//! Invariant: a file that is not sound is refused at the start; later it changes nothing, and the log says why once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::hub::Hub;
use crate::rollout::Policies;

/// How often the file is looked at: as often as kubelet renews a ConfigMap, and oftener.
const LOOK: Duration = Duration::from_secs(5);
/// No policy file is larger.
const FILE_MAX: u64 = 1024 * 1024;

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<(String, Policies), String> {
    let length = std::fs::metadata(path).map_err(|e| format!("{}: {e}", path.display()))?.len();
    if length > FILE_MAX {
        return Err(format!("{}: {length} bytes; a policy file has at most {FILE_MAX}", path.display()));
    }
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let policies = Policies::parse(&text).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok((text, policies))
}

/// Follows the file until the hub stops. `known` is its text.
pub(super) async fn follow(hub: Arc<Hub>, path: PathBuf, mut known: String) {
    let mut complained = String::new();
    loop {
        tokio::select! {
            () = hub.stopping().cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let from = path.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || read(&from)).await else { continue };
        match read {
            Ok((text, _)) if text == known => complained.clear(),
            Ok((text, policies)) => {
                tracing::info!(file = %path.display(), policies = policies.iter().count(), "the policies changed");
                hub.set_policies(policies);
                known = text;
                complained.clear();
            }
            Err(why) if why == complained => {}
            Err(why) => {
                tracing::error!(why, "the policies stay what they were: {why}");
                complained = why;
            }
        }
    }
}
