//! Backups in real object stores: versitygw speaks S3 over a folder, azurite speaks Azure's.
//!
//! The programs come from `tests/stores/build.sh` and are found through `KOH_STORES`; without them every test here says aloud that it
//! is skipped. Guards against: an object that is not whole under a name that says it is, a secret in a message, and a hub that is
//! stopped by a store that says no.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::backup_hub::{answers, fleet, metric};
use crate::hub::{TestHub, TestHubBuilder, commit, descriptor, koh, koh_with, said};

/// How long a condition may take to come true, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const KEY: &str = "AKIDOFTHETESTS";
const SECRET: &str = "s3cret-0f-the-tests-9f86d081884c";

/// The folder of the programs; none where there is none, said aloud.
pub(crate) fn tools() -> Option<PathBuf> {
    let tools = std::env::var_os("KOH_STORES").map(PathBuf::from);
    if tools.is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: no object store. To run this: export KOH_STORES=\"$(tests/stores/build.sh)\""
        );
    }
    tools
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
    }
}

/// A real S3 over a folder, with the bucket `fleet`; ends with the test.
struct S3 {
    child: Child,
    endpoint: String,
    folder: tempfile::TempDir,
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl S3 {
    fn spawn(tools: &Path) -> S3 {
        let folder = tempfile::tempdir().unwrap();
        let (data, sidecar) = (folder.path().join("data"), folder.path().join("sidecar"));
        std::fs::create_dir_all(data.join("fleet")).unwrap();
        std::fs::create_dir(&sidecar).unwrap();
        // It does not tell a port that it picked itself, so one is picked for it.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let child = Command::new(tools.join("versitygw"))
            .args(["--port", &address, "--access", KEY, "--secret", SECRET, "--quiet", "posix", "--default-etag", "e"])
            .arg("--sidecar")
            .args([&sidecar, &data])
            .env_clear()
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("versitygw does not listen", || TcpStream::connect(&address).is_ok());
        S3 { child, endpoint: format!("http://{address}"), folder }
    }

    /// What a client needs to be let in.
    fn environment(&self) -> [(&str, &str); 3] {
        [("AWS_ENDPOINT_URL", &self.endpoint), ("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET)]
    }

    fn koh(&self, args: &[&str]) -> Output {
        koh_with(args, &self.environment())
    }

    /// Where an object of the bucket is a file.
    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("data/fleet").join(name)
    }

    /// Names of objects with this prefix.
    fn names(&self, prefix: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.file(prefix)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Parts of uploads that became no object.
    fn parts(&self) -> usize {
        let parts = walkdir::WalkDir::new(self.file(".sgwtmp")).into_iter().flatten();
        parts.filter(|entry| entry.file_type().is_file()).count()
    }
}

#[test]
fn backups_go_to_a_bucket_by_themselves_and_the_newest_are_kept() {
    let Some(tools) = tools() else { return };
    let s3 = S3::spawn(&tools);
    std::fs::create_dir(s3.file("backups")).unwrap();
    std::fs::write(s3.file("backups/notes.txt"), "mine").unwrap();
    let hub = TestHubBuilder::new()
        .with_environment(&s3.environment())
        .with_arg("--backup-dir", "s3://fleet/backups/")
        .with_arg("--backup-every", "1ms")
        .with_arg("--backup-keep", "2")
        .spawn();
    let seq = hub.push(&descriptor("dev", "1.0", &commit('a')))["seq"].as_u64().unwrap();
    // The newest is replaced by newer ones for ever; whatever is seen under its name is whole.
    until("no backup holds what was pushed", || {
        let newest = s3.names("backups").into_iter().rfind(|name| name.starts_with("koh-"));
        let whole = newest.and_then(|name| koh::backup::verify_file(&s3.file("backups").join(name)).ok());
        whole.is_some_and(|whole| whole.head.seq >= seq && whole.end.blocks > 0)
    });
    let begun = metric(&hub, "koh_backup_duration_seconds_count").unwrap();
    until("no more backups", || metric(&hub, "koh_backup_duration_seconds_count").unwrap() > begun + 3.0);
    let newest = metric(&hub, "koh_backup_timestamp_seconds").unwrap();
    assert!(newest > 1.7e9 && metric(&hub, "koh_backup_size_bytes").unwrap() > 100.0);
    assert_eq!(metric(&hub, "koh_backup_failures_total"), Some(0.0));
    assert!(hub.stop().success());
    let kept = s3.names("backups");
    assert_eq!(kept.len(), 3, "{kept:?}");
    assert_eq!(kept[2], "notes.txt");
    assert_eq!(s3.parts(), 0, "a stop leaves no half of an upload");

    // The interval goes on over a restart, and its measure is known at once.
    let again =
        TestHubBuilder::new().with_environment(&s3.environment()).with_arg("--backup-dir", "s3://fleet/backups");
    let hub = again.spawn();
    // Its name tells milliseconds.
    let found = || metric(&hub, "koh_backup_timestamp_seconds").is_some_and(|at| at > newest - 0.001);
    until("the newest is not found", found);
    let size = std::fs::metadata(s3.file("backups").join(&kept[1])).unwrap().len();
    assert_eq!(metric(&hub, "koh_backup_size_bytes"), Some(size as f64));
    assert_eq!(metric(&hub, "koh_backup_duration_seconds_count"), Some(0.0));
    assert_eq!(s3.names("backups"), kept);
}

#[test]
fn a_hub_restored_from_an_object_answers_as_the_one_before() {
    let Some(tools) = tools() else { return };
    let s3 = S3::spawn(&tools);
    restored_from(&|args| s3.koh(args), "s3://fleet/by-hand/hub.backup");
    assert_eq!((s3.names("by-hand"), s3.parts()), (vec!["hub.backup".to_owned()], 0));
    // As a copy that broke off left it.
    let whole = std::fs::read(s3.file("by-hand/hub.backup")).unwrap();
    std::fs::write(s3.file("half.backup"), &whole[..whole.len() / 2]).unwrap();
    let checked = s3.koh(&["check", "--backup", "s3://fleet/half.backup"]);
    let out = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.code() == Some(1) && out.contains("FAILED  backup"), "{out}{}", said(&checked));
}

/// A real Azure storage account with the container `fleet`; ends with the test.
struct Azure {
    child: Child,
    endpoint: String,
    _folder: tempfile::TempDir,
}

impl Drop for Azure {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ACCOUNT: &str = "kohtests";
/// In base64, as keys of Azure are.
const ACCOUNT_KEY: &str = "czNjcmV0LTBmLXRoZS10ZXN0cy05Zjg2ZDA4MTg4NGM=";

impl Azure {
    fn spawn(tools: &Path) -> Option<Azure> {
        let azurite = tools.join("azurite");
        if !azurite.exists() {
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: no azurite. To run this: put node and npm on PATH, delete the folder that \
                KOH_STORES names, and run tests/stores/build.sh"
            );
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new("node")
            .arg(azurite.join("node_modules/.bin/azurite-blob"))
            .args(["--blobHost", "127.0.0.1", "--blobPort", &address.port().to_string(), "--location"])
            .arg(folder.path())
            .args(["--silent", "--disableTelemetry", "--skipApiVersionCheck"])
            .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{ACCOUNT_KEY}"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        until("azurite does not listen", || TcpStream::connect(address).is_ok());
        let endpoint = format!("http://{address}");
        let mut container = Command::new("node");
        container.arg(azurite.join("container.mjs")).args([&endpoint, ACCOUNT, "fleet"]);
        let made = container.env("AZURE_STORAGE_KEY", ACCOUNT_KEY).output().unwrap();
        assert!(made.status.success(), "{}", said(&made));
        Some(Azure { child, endpoint: format!("{endpoint}/{ACCOUNT}"), _folder: folder })
    }

    fn environment<'a>(&'a self, key: &'a str) -> [(&'a str, &'a str); 4] {
        [
            ("AZURE_STORAGE_ENDPOINT", &self.endpoint),
            ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT),
            ("AZURE_STORAGE_ACCOUNT_KEY", key),
            ("AZURE_ALLOW_HTTP", "true"),
        ]
    }
}

#[test]
fn backups_go_to_a_container_of_azure_and_come_back() {
    let Some(azure) = tools().and_then(|tools| Azure::spawn(&tools)) else { return };
    let environment = azure.environment(ACCOUNT_KEY);
    restored_from(&|args| koh_with(args, &environment), "az://fleet/by-hand/hub.backup");
    let hub = TestHubBuilder::new()
        .with_environment(&environment)
        .with_arg("--backup-dir", "az://fleet/backups")
        .with_arg("--backup-every", "1ms")
        .with_arg("--backup-keep", "2")
        .spawn();
    until("no backups", || metric(&hub, "koh_backup_duration_seconds_count").unwrap() > 4.0);
    assert_eq!(metric(&hub, "koh_backup_failures_total"), Some(0.0));
    let data = tempfile::tempdir().unwrap();
    let damaged = data.path().to_str().unwrap();
    assert!(hub.stop().success());
    std::fs::write(data.path().join("hub.redb"), "no store").unwrap();
    let check = |key: &str, place: &str| {
        let checked = koh_with(&["check", "--data", damaged, "--backup-dir", place], &azure.environment(key));
        format!("{}{}", String::from_utf8_lossy(&checked.stdout), said(&checked))
    };
    let named = check(ACCOUNT_KEY, "az://fleet/backups");
    assert!(named.contains("The newest good backup is az://fleet/backups/koh-"), "{named}");
    let nowhere = check(ACCOUNT_KEY, "az://none/backups");
    assert!(nowhere.contains("ContainerNotFound") && nowhere.contains("Make it, or correct the address"), "{nowhere}");
    let wrong = "d3JvbmctMGYtdGhlLXRlc3RzLTlmODZkMDgxODg0Yw==";
    let refused = check(wrong, "az://fleet/backups");
    assert!(refused.contains("AZURE_STORAGE_ACCOUNT_KEY") && !refused.contains(wrong), "{refused}");
}

/// Takes a backup of a hub to an address, and starts another hub from there.
#[track_caller]
fn restored_from(koh: &dyn Fn(&[&str]) -> Output, address: &str) {
    let dir = tempfile::tempdir().unwrap();
    let hub = TestHub::spawn();
    fleet(&hub);
    let before = answers(&hub);
    let url = format!("http://{}", hub.address);
    let made = koh(&["backup", address, "--url", &url]);
    assert!(made.status.success(), "{}", said(&made));
    assert!(said(&made).starts_with(&format!("{address}: ")), "{}", said(&made));
    let again = koh(&["backup", address, "--url", &url]);
    assert!(!again.status.success() && said(&again).contains("is not overwritten"), "{}", said(&again));
    let checked = koh(&["check", "--backup", address]);
    assert!(checked.status.success(), "{}", said(&checked));
    let to = dir.path().join("restored");
    let restored = koh(&["restore", address, "--data", to.to_str().unwrap()]);
    assert!(restored.status.success(), "{}", said(&restored));
    let other = TestHubBuilder::over(&to).spawn();
    for ((path, was), (_, is)) in before.iter().zip(answers(&other)) {
        assert_eq!(*was, is, "{path}");
    }
}

/// Gives the begin of an answer that promises more, and ends when `enough` holds.
fn breaks_off(listener: &TcpListener, enough: impl Fn() -> bool) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        asked.extend(byte);
    }
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 99000000\r\n\r\n").unwrap();
    let piece = vec![b'k'; 1 << 20];
    // More than two parts.
    for _ in 0..20 {
        stream.write_all(&piece).unwrap();
    }
    until("no part was sent", enough);
}

#[test]
fn an_upload_that_is_interrupted_leaves_no_object_and_no_parts() {
    let Some(tools) = tools() else { return };
    let s3 = S3::spawn(&tools);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let made = std::thread::scope(|scope| {
        let making = scope.spawn(|| s3.koh(&["backup", "s3://fleet/half.backup", "--url", &url]));
        breaks_off(&listener, || s3.parts() >= 2);
        making.join().unwrap()
    });
    assert!(!made.status.success() && said(&made).contains("nothing was kept of it"), "{}", said(&made));
    assert!(!s3.file("half.backup").exists());
    assert_eq!(s3.parts(), 0);
    // What is whole as an object, and no backup: it was read back, and is gone.
    let (ours, theirs) =
        (std::net::TcpListener::bind("127.0.0.1:0").unwrap(), "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnoto");
    let url = format!("http://{}", ours.local_addr().unwrap());
    let made = std::thread::scope(|scope| {
        let making = scope.spawn(|| s3.koh(&["backup", "s3://fleet/other.backup", "--url", &url]));
        let (mut stream, _) = ours.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(theirs.as_bytes()).unwrap();
        making.join().unwrap()
    });
    assert!(!made.status.success() && said(&made).contains("not a backup of koh"), "{}", said(&made));
    assert!(!s3.file("other.backup").exists());
}

#[test]
fn what_a_store_refuses_is_told_with_what_to_do_and_without_a_secret() {
    let Some(tools) = tools() else { return };
    let s3 = S3::spawn(&tools);
    let hub = TestHub::spawn();
    let url = format!("http://{}", hub.address);
    let nowhere = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let (endpoint, id, secret) = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY");
    let (here, wrong) = (s3.endpoint.as_str(), "wr0ng-4f-the-tests-9f86d081884c");
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a [&'a str]);
    let cases: [Case<'_>; 6] = [
        (&[(endpoint, here), (id, KEY), (secret, wrong)], "fleet", &["SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"]),
        (&[(endpoint, here), (id, "AKIDNOBODY"), (secret, wrong)], "fleet", &["access key ID"]),
        (
            &[(endpoint, here), (id, KEY), (secret, SECRET)],
            "none",
            &["NoSuchBucket", "Make it, or correct the address"],
        ),
        (
            &[(endpoint, &nowhere), (id, KEY), (secret, SECRET)],
            "fleet",
            &["is not reached", "refused", "AWS_ENDPOINT_URL"],
        ),
        (
            &[(endpoint, here), (id, KEY)],
            "fleet",
            &["credentials are taken from the environment", "AWS_SECRET_ACCESS_KEY"],
        ),
        (
            &[(endpoint, here), ("AWS_METADATA_ENDPOINT", &nowhere)],
            "fleet",
            &["there are no credentials in the environment", "AWS_WEB_IDENTITY_TOKEN_FILE"],
        ),
    ];
    for (environment, bucket, told) in cases {
        let (folder, object) = (format!("s3://{bucket}/b"), format!("s3://{bucket}/b/hub.backup"));
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join("hub.redb"), "no store").unwrap();
        let damaged = data.path().to_str().unwrap();
        let asked = [
            koh_with(&["backup", &object, "--url", &url], environment),
            koh_with(&["restore", &object, "--data", data.path().join("new").to_str().unwrap()], environment),
            koh_with(&["check", "--data", damaged, "--backup-dir", &folder], environment),
        ];
        for output in asked {
            let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), said(&output));
            assert!(!output.status.success(), "{text}");
            assert!(text.contains(&format!("s3://{bucket}/b")), "where: {text}");
            for words in told {
                assert!(text.to_lowercase().contains(&words.to_lowercase()), "{words}: {text}");
            }
            for hidden in [SECRET, wrong, "Signature="] {
                assert!(!text.contains(hidden), "{text}");
            }
        }
    }
}

#[test]
fn a_hub_that_a_store_refuses_goes_on_and_says_so_without_a_secret() {
    let Some(tools) = tools() else { return };
    let s3 = S3::spawn(&tools);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut hub = Command::new(env!("CARGO_BIN_EXE_koh"))
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--backup-dir",
            "s3://fleet/b",
            "--log",
            "info,object_store=debug",
            "--data",
        ])
        .arg(folder.path().join("data"))
        .env_clear()
        .envs(s3.environment())
        .env("AWS_SECRET_ACCESS_KEY", "wr0ng-4f-the-tests-9f86d081884c")
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let logged = || std::fs::read_to_string(&log).unwrap();
    until("it is not told", || logged().contains("could not make a backup; the hub is not affected"));
    assert!(logged().contains("SignatureDoesNotMatch") && logged().contains("s3://fleet/b"), "{}", logged());
    assert!(!logged().contains("wr0ng"), "{}", logged());
    hub.kill().unwrap();
    hub.wait().unwrap();
    let config = s3.koh(&["config", "--backup-dir", "s3://fleet/b"]);
    let shown = String::from_utf8_lossy(&config.stdout);
    assert!(config.status.success() && shown.contains("s3://fleet/b") && !shown.contains(SECRET), "{shown}");
}

#[test]
fn a_bucket_that_is_made_after_it_was_missed_gets_the_next_backup() {
    let Some(tools) = tools() else { return };
    let s3 = S3::spawn(&tools);
    let hub = TestHubBuilder::new()
        .with_environment(&s3.environment())
        .with_arg("--backup-dir", "s3://later/backups")
        .with_arg("--backup-every", "1ms")
        .spawn();
    until("it is not tried again", || metric(&hub, "koh_backup_failures_total") > Some(1.0));
    assert_eq!(metric(&hub, "koh_backup_timestamp_seconds"), None);
    std::fs::create_dir(s3.folder.path().join("data/later")).unwrap();
    until("no backup", || metric(&hub, "koh_backup_timestamp_seconds").is_some());
}

#[test]
fn a_hub_on_a_damaged_store_names_the_newest_good_object() {
    let Some(tools) = tools() else { return };
    let s3 = S3::spawn(&tools);
    let dir = tempfile::tempdir().unwrap();
    let hub = TestHub::spawn();
    fleet(&hub);
    let good = "s3://fleet/b/koh-20260101T000000.000Z.backup";
    let made = s3.koh(&["backup", good, "--url", &format!("http://{}", hub.address)]);
    assert!(made.status.success(), "{}", said(&made));
    let bytes = std::fs::read(s3.file("b/koh-20260101T000000.000Z.backup")).unwrap();
    std::fs::write(s3.file("b/koh-20260102T000000.000Z.backup"), &bytes[..bytes.len() / 2]).unwrap();
    let data = hub.keep_data_and_stop(dir.path());
    let path = data.join("hub.redb");
    let mut store = std::fs::read(&path).unwrap();
    // All pages but the first, which say that this is a store.
    store[8_192..].fill(0x5a);
    std::fs::write(&path, store).unwrap();
    let data = data.to_str().unwrap();
    for args in [
        &["check", "--data", data, "--backup-dir", "s3://fleet/b"][..],
        &["serve", "--data", data, "--listen", "127.0.0.1:0", "--backup-dir", "s3://fleet/b"],
    ] {
        let output = s3.koh(args);
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), said(&output));
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("(1 newer ones are damaged)") && text.contains(&format!("koh restore {good}")), "{text}");
    }
}

#[test]
fn an_address_that_is_none_or_holds_a_secret_is_refused_before_anybody_is_asked() {
    for (address, told) in [
        ("s3://key:pa55word@fleet/b", "credentials are taken from the environment"),
        ("s3://fleet/b?token=pa55word", "credentials are taken from the environment"),
        ("ftp://pa55word@fleet/b", "s3://, az://, abfss:// or gs://"),
        ("s3:///b", "it names no bucket"),
        ("az://container/b", "AZURE_STORAGE_ACCOUNT_NAME"),
    ] {
        let refused = [
            koh(&["serve", "--listen", "127.0.0.1:0", "--backup-dir", address]),
            koh(&["backup", address]),
            koh(&["check", "--backup", address]),
            koh(&["config", "--backup-dir", address]),
        ];
        for refused in refused {
            let shown = format!("{}{}", String::from_utf8_lossy(&refused.stdout), said(&refused));
            assert!(!refused.status.success() && shown.contains(told), "{address}: {shown}");
            assert!(!shown.contains("pa55word"), "{shown}");
        }
    }
    let bucket = koh_with(&["backup", "s3://fleet"], &[("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET)]);
    assert!(said(&bucket).contains("this is a bucket; name the object"), "{}", said(&bucket));
}
