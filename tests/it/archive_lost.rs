//! Archives that are gone, come back, end too early or belong elsewhere: told, and never taken for what they are not.
//!
//! Guards against: days that vanish without a word, the history of one hub shown by another, and backups that no longer hold it all.

use std::path::{Path, PathBuf};

use crate::archive::{answers, metric, told, wait_for};
use crate::hub::{TestHub, TestHubBuilder, commit, koh, report, said};

/// A data directory whose hub was told of eighty days, and has archived what is older than a window.
fn archived(data: &Path, window: &str) {
    let hub = TestHubBuilder::over(data).spawn();
    told(&hub);
    assert!(hub.stop().success());
    let hub = started(data, &["--hot-window", window]);
    assert!(metric(&hub, "koh_archive_rows").unwrap() > 0.0);
    assert!(hub.stop().success());
}

/// A hub after its first round.
fn started(data: &Path, args: &[&str]) -> TestHub {
    let pairs = args.chunks(2).fold(TestHubBuilder::over(data), |hub, pair| hub.with_arg(pair[0], pair[1]));
    let hub = pairs.spawn();
    wait_for("a round", || metric(&hub, "koh_retention_duration_seconds_count").is_some_and(|n| n >= 1.0));
    hub
}

fn checked(data: &Path) -> (bool, String) {
    let checked = koh(&["check", "--data", data.to_str().unwrap()]);
    (checked.status.success(), String::from_utf8_lossy(&checked.stdout).into_owned() + &said(&checked))
}

fn copied(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let place = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(place).unwrap();
        } else {
            std::fs::copy(entry.path(), place).unwrap();
        }
    }
}

#[test]
fn an_archive_that_was_brought_back_is_shown_again_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (data, aside) = (dir.path().join("data"), dir.path().join("aside"));
    archived(&data, "30d");
    let hub = started(&data, &[]);
    let whole = answers(&hub);
    assert!(hub.stop().success());
    std::fs::rename(data.join("archive"), &aside).unwrap();
    let hub = started(&data, &[]);
    assert_eq!(
        (metric(&hub, "koh_archive_lost"), metric(&hub, "koh_retention_failures_total")),
        (Some(1.0), Some(1.0))
    );
    assert!(answers(&hub)["transitions"].len() < whole["transitions"].len());
    let url = format!("http://{}", hub.address);
    let backup = dir.path().join("hub.backup");
    let make = || koh(&["backup", backup.to_str().unwrap(), "--url", &url]);
    let refused = make();
    assert!(!refused.status.success() && said(&refused).contains("the archive is not whole"), "{}", said(&refused));
    std::fs::rename(&aside, data.join("archive")).unwrap();
    let found = koh(&["check", "--url", &url]);
    let told = String::from_utf8_lossy(&found.stdout);
    assert!(!found.status.success() && told.contains("is there again, and not shown yet"), "{told}");
    let made = make();
    assert!(made.status.success(), "{}", said(&made));
    assert_eq!(answers(&hub), whole);
    assert_eq!(metric(&hub, "koh_archive_lost"), Some(0.0));
    assert!(koh(&["check", "--url", &url]).status.success());
}

#[test]
fn an_archive_that_ends_before_what_the_ledger_has_is_told_until_the_gap_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let (data, older) = (dir.path().join("data"), dir.path().join("older"));
    archived(&data, "60d");
    copied(&data.join("archive"), &older);
    let hub = started(&data, &["--hot-window", "50d"]);
    let whole = answers(&hub);
    assert!(hub.stop().success());
    std::fs::remove_dir_all(data.join("archive")).unwrap();
    copied(&older, &data.join("archive"));

    let (well, found) = checked(&data);
    assert!(!well && found.contains("archive ends at") && found.contains("is nowhere else"), "{found}");
    let hub = started(&data, &["--hot-window", "50d"]);
    assert_eq!(
        (metric(&hub, "koh_archive_lost"), metric(&hub, "koh_retention_failures_total")),
        (Some(1.0), Some(1.0))
    );
    let less = answers(&hub)["transitions"].len();
    assert!(less > 0 && less < whole["transitions"].len(), "{less} of {}", whole["transitions"].len());
    assert!(hub.stop().success());
    let backup = koh(&["backup", dir.path().join("b").to_str().unwrap(), "--data", data.to_str().unwrap()]);
    assert!(!backup.status.success() && said(&backup).contains("not all of it"), "{}", said(&backup));

    std::fs::write(data.join("archive/gap"), "").unwrap();
    let hub = started(&data, &["--hot-window", "50d"]);
    assert_eq!(
        (metric(&hub, "koh_archive_lost"), metric(&hub, "koh_retention_failures_total")),
        (Some(0.0), Some(0.0))
    );
    // What the ledger has kept of those days, for the present hangs on it, is archived.
    assert!((less..whole["transitions"].len()).contains(&answers(&hub)["transitions"].len()));
    assert!(hub.stop().success());
    assert!(!data.join("archive/gap").exists());
    let (well, found) = checked(&data);
    assert!(well, "{found}");
}

#[test]
fn the_archive_of_another_ledger_or_of_a_later_state_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { dir.path().join(name) };
    let (data, early, late) = (path("data"), path("early.backup"), path("late.backup"));
    let copy = |backup: &Path| {
        let made = koh(&["backup", backup.to_str().unwrap(), "--data", data.to_str().unwrap()]);
        assert!(made.status.success(), "{}", said(&made));
    };
    let restored = |backup: &Path, to: &Path| {
        let made = koh(&["restore", backup.to_str().unwrap(), "--data", to.to_str().unwrap()]);
        assert!(made.status.success(), "{}", said(&made));
    };
    archived(&data, "60d");
    copy(&early);
    let hub = started(&data, &[]);
    let again = report("h0", "prod", &commit('8'), "failure");
    assert_eq!(hub.post("/api/v1/ingest/reconcilers", "application/json", again).status, 200);
    assert!(hub.stop().success());
    let hub = started(&data, &["--hot-window", "50d"]);
    let whole = answers(&hub);
    assert!(hub.stop().success());
    copy(&late);

    // Of a later state: rows that this ledger knows nothing of, and numbers that mean something else here.
    let other = path("other");
    restored(&early, &other);
    std::fs::remove_dir_all(other.join("archive")).unwrap();
    copied(&data.join("archive"), &other.join("archive"));
    // Of another ledger, that knows nothing yet.
    let empty = path("empty");
    copied(&data.join("archive"), &empty.join("archive"));
    for (data, rows) in [(&other, whole["transitions"].len() - 1), (&empty, 0)] {
        let hub = started(data, &[]);
        assert_eq!(metric(&hub, "koh_archive_lost"), Some(1.0));
        let shown = answers(&hub)["transitions"].len();
        assert!(shown <= rows, "{shown}");
        assert!(hub.stop().success());
        let (well, found) = checked(data);
        assert!(!well && found.contains("is the archive of another ledger"), "{found}");
    }

    // What a restore brought belongs to what it restored, and to the one before it.
    let restored_late = path("restored");
    restored(&late, &restored_late);
    let hub = started(&restored_late, &["--hot-window", "50d"]);
    assert_eq!((metric(&hub, "koh_archive_lost"), answers(&hub)), (Some(0.0), whole.clone()));
    assert!(hub.stop().success());
    let second = path("second");
    restored(&late, &second);
    std::fs::remove_dir_all(data.join("archive")).unwrap();
    copied(&second.join("archive"), &data.join("archive"));
    let hub = started(&data, &[]);
    assert_eq!(answers(&hub), whole);
    assert!(hub.stop().success());
}

#[test]
fn an_empty_folder_begins_anew_and_what_is_forgotten_is_forgotten_whatever_is_archived() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    archived(&data, "60d");
    let hub = started(&data, &["--keep-history", "30d"]);
    let left = answers(&hub)["transitions"].len();
    assert!(hub.stop().success());
    let fresh = dir.path().join("fresh");
    let hub = TestHubBuilder::over(&fresh).spawn();
    told(&hub);
    assert!(hub.stop().success());
    let hub = started(&fresh, &["--keep-history", "30d"]);
    assert_eq!(answers(&hub)["transitions"].len(), left, "as where nothing was archived before");
    assert!(hub.stop().success());
    let (well, found) = checked(&data);
    assert!(well, "{found}");

    let lost = dir.path().join("lost");
    archived(&lost, "30d");
    std::fs::remove_dir_all(lost.join("archive")).unwrap();
    std::fs::create_dir(lost.join("archive")).unwrap();
    let hub = started(&lost, &[]);
    assert_eq!(
        (metric(&hub, "koh_archive_lost"), metric(&hub, "koh_retention_failures_total")),
        (Some(0.0), Some(0.0))
    );
    let backup = dir.path().join("all.backup");
    let made = koh(&["backup", backup.to_str().unwrap(), "--url", &format!("http://{}", hub.address)]);
    assert!(made.status.success(), "{}", said(&made));
    assert!(hub.stop().success());
    let (well, found) = checked(&lost);
    assert!(well, "{found}");
}
