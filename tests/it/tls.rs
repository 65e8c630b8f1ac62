//! TLS: what the hub shows, and to whom it speaks.

use std::fs;
use std::path::Path;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::hub::TestHubBuilder;

/// Writes an authority, and a certificate that it gave to the loopback address.
fn issue(folder: &Path, name: &str) {
    let write = |what: &str, text: String| fs::write(folder.join(format!("{name}.{what}")), text).unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    write("ca", params.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    write("crt", leaf.signed_by(&key, &issuer).unwrap().pem());
    write("key", key.serialize_pem());
}

/// Asks the hub at the address, trusting one authority.
fn ask(address: &str, authority: &Path) -> Result<String, String> {
    let url = format!("https://{address}");
    let asked = Command::new(env!("CARGO_BIN_EXE_koh"))
        .args(["sql", "--output", "json", "--url", &url, "--ca-file", authority.to_str().unwrap(), "SELECT 7 AS n"])
        .env_clear()
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if asked.status.success() { Ok(text(asked.stdout)) } else { Err(text(asked.stderr)) }
}

#[test]
fn a_hub_with_a_certificate_speaks_tls_and_takes_a_renewed_certificate_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    issue(folder.path(), "first");
    issue(folder.path(), "second");
    fs::copy(at("first.crt"), at("tls.crt")).unwrap();
    fs::copy(at("first.key"), at("tls.key")).unwrap();
    let hub = TestHubBuilder::new()
        .with_arg("--tls-cert", at("tls.crt").to_str().unwrap())
        .with_arg("--tls-key", at("tls.key").to_str().unwrap())
        .spawn();
    assert!(ask(&hub.address, &at("first.ca")).unwrap().contains('7'));
    let stranger = ask(&hub.address, &at("second.ca")).unwrap_err();
    assert!(stranger.contains("cannot reach the hub at https://"), "{stranger}");
    assert_eq!(hub.get("/livez").problem(400), "this port speaks TLS: use https://");

    // The key first: for a moment the two do not belong together, and the hub goes on with what it has.
    fs::copy(at("second.key"), at("tls.key")).unwrap();
    assert!(ask(&hub.address, &at("first.ca")).is_ok());
    fs::copy(at("second.crt"), at("tls.crt")).unwrap();
    while ask(&hub.address, &at("second.ca")).is_err() {}
    assert!(ask(&hub.address, &at("first.ca")).is_err());
    assert!(hub.stop().success());
}

#[test]
fn a_certificate_that_cannot_be_used_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    issue(folder.path(), "first");
    issue(folder.path(), "second");
    let serve = |args: &[&str]| {
        let data = at("data");
        let ended = Command::new(env!("CARGO_BIN_EXE_koh"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data", &data])
            .args(args)
            .env_clear()
            .output()
            .unwrap();
        assert!(!ended.status.success());
        String::from_utf8(ended.stderr).unwrap()
    };
    let mixed = serve(&["--tls-cert", &at("first.crt"), "--tls-key", &at("second.key")]);
    assert!(mixed.contains("first.crt") && mixed.contains("not that of the first certificate"), "{mixed}");
    assert!(serve(&["--tls-cert", &at("first.crt")]).contains("no private key"));
    assert!(serve(&["--tls-cert", &at("nowhere.crt")]).contains("nowhere.crt"));
    assert!(serve(&["--tls-key", &at("first.key")]).contains("--tls-cert"));
}
