//! Every layout of a body, cut anywhere, and what is wrong with one item staying with that item.

use super::*;
use proptest::prelude::*;

fn reconciler(name: &str) -> String {
    format!(
        r#"{{"apiVersion":"hub.kalypso.io/v1alpha1","kind":"Reconciler","metadata":{{"name":"{name}"}},"spec":{{"hostName":"h","reconcilerName":"f","reconcilerType":"flux","manifestsEndpoint":"https://h.x/o/r/dev/t","deployment":{{"gitOpsCommitId":"c","status":"success","statusMessage":"a \"quoted\" {{[ \\"}}}}}}"#
    )
}

fn pretty(name: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(&reconciler(name)).unwrap();
    serde_json::to_string_pretty(&value).unwrap()
}

fn host(name: &str) -> String {
    format!(r#"{{"name":"{name}"}}"#)
}

/// What came of a body: the index and the name, or the title of the rejection.
fn read_in(form: Form, body: &[u8], piece: usize) -> Vec<(usize, Result<String, String>)> {
    let mut decoder = Decoder::new(form, "push".into(), None);
    let mut items = Vec::new();
    for chunk in body.chunks(piece) {
        items.extend(decoder.push(chunk));
    }
    items.extend(decoder.finish());
    let name = |observation: Observation| match (observation.carrier, observation.said) {
        (crate::model::Carrier::Resource { name, .. }, _) => name,
        (_, crate::model::Said::Host(host)) => host.name,
        (_, other) => format!("{other:?}"),
    };
    items.into_iter().map(|i| (i.index, i.observation.map(name).map_err(|r| r.title))).collect()
}

/// Reads a body in pieces of several sizes, which must not matter.
fn read(form: Form, body: &str) -> Vec<(usize, Result<String, String>)> {
    let whole = read_in(form, body.as_bytes(), body.len().max(1));
    for piece in [1, 2, 3, 7, 64] {
        assert_eq!(read_in(form, body.as_bytes(), piece), whole, "in pieces of {piece}");
    }
    whole
}

fn good(names: &[&str]) -> Vec<(usize, Result<String, String>)> {
    names.iter().enumerate().map(|(n, name)| (n, Ok((*name).to_owned()))).collect()
}

#[test]
fn every_layout_of_a_body_is_read() {
    let (a, b) = (reconciler("a"), reconciler("b"));
    for body in [
        format!("{a}\n{b}\n"),
        format!("{a}\r\n\r\n{b}"),
        format!("\u{feff}{a}\n{b}"),
        format!("[{a},{b}]"),
        format!(" [\n {a} ,\n{b}\n]\n"),
        format!("[{},{}]", pretty("a"), pretty("b")),
        format!("{}\n{}\n", pretty("a"), pretty("b")),
        format!("{}{}", pretty("a"), pretty("b")),
        format!("{a}{b}"),
        format!("{a} {b}"),
        format!("{a}\n{}", pretty("b")),
        format!("{}\n{b}", pretty("a")),
        format!("[{a}]\n[{b}]"),
        format!("[]\n{a}\n{b}"),
        format!(r#"{{"apiVersion":"v1","kind":"List","items":[{a},{b}]}}"#),
    ] {
        assert_eq!(read(Form::Resources, &body), good(&["a", "b"]), "{body}");
    }
    assert_eq!(read(Form::Resources, &pretty("a")), good(&["a"]));
    for nothing in ["", " \n ", "[]", " [ ] "] {
        assert_eq!(read(Form::Resources, nothing), [], "{nothing:?}");
    }
}

#[test]
fn flat_shapes_are_read_the_same_way() {
    assert_eq!(read(Form::Hosts, &format!("{}\n{}", host("a"), host("b"))), good(&["a", "b"]));
    assert_eq!(read(Form::Hosts, &format!("[{},{}]", host("a"), host("b"))), good(&["a", "b"]));
    assert_eq!(read(Form::Hosts, "[\n{\n\"name\":\n\"a\"\n}\n]"), good(&["a"]));
}

#[test]
fn an_array_is_not_an_item_whatever_stands_in_it() {
    let found = read(Form::Hosts, &format!("[[\"poshost\"],{}]", host("a")));
    assert_eq!(found, [(0, Err("the item is an array".to_owned())), (1, Ok("a".to_owned()))]);
}

#[test]
fn a_bad_line_spoils_only_itself() {
    for bad in [
        "{\"name\":",
        "garbage",
        "{\"name\":\"x\"}}",
        "{\"name\":\"x",
        "7",
        "[{\"name\":\"x\"}]",
        "\"text\"",
        "null",
        "{\"name\":7}",
    ] {
        let found = read(Form::Hosts, &format!("{}\n{bad}\n{}\n", host("a"), host("b")));
        let shape: Vec<_> = found.iter().map(|(n, r)| (*n, r.is_ok())).collect();
        assert!(shape.len() >= 3 && shape[0] == (0, true) && shape.last().unwrap().1, "{bad}: {found:?}");
        assert!(shape[1..shape.len() - 1].iter().any(|(_, ok)| !ok), "{bad}: {found:?}");
    }
}

#[test]
fn a_bad_first_line_spoils_only_itself() {
    for bad in ["{\"name\":\"x\"", "{\"name\":\"x\",", "garbage", "{\"name\":\"x", "{\"name\":[1"] {
        let found = read(Form::Hosts, &format!("{bad}\n{}\n{}\n", host("a"), host("b")));
        assert_eq!(found.len(), 3, "{bad}: {found:?}");
        assert!(found[0].1.is_err());
        assert_eq!(found[1..], [(1, Ok("a".to_owned())), (2, Ok("b".to_owned()))], "{bad}");
    }
}

#[test]
fn a_bad_pretty_printed_item_spoils_only_itself() {
    let broken = pretty("x").replace("\"spec\": {", "\"spec\": }");
    let found = read(Form::Resources, &format!("{}\n{broken}\n{}\n", pretty("a"), pretty("b")));
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!((found[0].1.as_deref(), found[2].1.as_deref()), (Ok("a"), Ok("b")));
    assert!(found[1].1.is_err());
}

#[test]
fn a_bad_element_of_an_array_spoils_only_itself_and_a_broken_array_ends_the_body() {
    for bad in ["7", "\"a,b]\"", "null", "[1]", "{\"name\":7}", "{\"nome\":\"x\"}", "[[[]]]"] {
        let found = read(Form::Hosts, &format!("[{},{bad},{}]", host("a"), host("b")));
        assert_eq!(
            found.iter().map(|(n, r)| (*n, r.is_ok())).collect::<Vec<_>>(),
            [(0, true), (1, false), (2, true)],
            "{bad}"
        );
    }
    for broken in ["[{A} {B}]", "[{A},,{B}]", "[{A},{]", "[{A}", "[{A},"] {
        let body = broken.replace("{A}", &host("a")).replace("{B}", &host("b"));
        let found = read(Form::Hosts, &body);
        assert_eq!(found.iter().map(|(n, r)| (*n, r.is_ok())).collect::<Vec<_>>(), [(0, true), (1, false)], "{body}");
    }
}

#[test]
fn wrong_bytes_are_said_of_their_item() {
    let body =
        [host("a").as_bytes(), b"\n{\"name\":\"\xff\xfe\"}\n{\"name\":\"a\0b\"}\n{\"\xc3\":1}\n", host("b").as_bytes()]
            .concat();
    let found = read_in(Form::Hosts, &body, 5);
    assert_eq!(found.len(), 5);
    assert_eq!(found[1].1, Err("invalid UTF-8 at byte 9".to_owned()));
    assert!(found[2].1.is_err() && found[3].1.is_err());
    assert_eq!(found[4], (4, Ok("b".to_owned())));
}

#[test]
fn a_nul_written_as_an_escape_is_refused_with_the_name() {
    let mut decoder = Decoder::new(Form::Hosts, "push".into(), None);
    let mut items = decoder.push(b"{\"name\":\"a\\u0000\"}\n");
    let observation = items.remove(0).observation.unwrap();
    assert!(crate::normalize::fact(observation, crate::model::Micros(0)).unwrap_err().title.contains("U+0000"));
}

#[test]
fn an_item_longer_than_the_limit_is_refused_and_not_buffered() {
    let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(3 * MAX_ITEM));
    for body in [format!("{}\n{long}\n{}\n", host("a"), host("b")), format!("[{},{long},{}]", host("a"), host("b"))] {
        let mut decoder = Decoder::new(Form::Hosts, "push".into(), None);
        let mut items = Vec::new();
        for chunk in body.as_bytes().chunks(50_000) {
            items.extend(decoder.push(chunk));
            assert!(decoder.buffer.capacity() <= 2 * MAX_ITEM);
        }
        items.extend(decoder.finish());
        let found: Vec<_> = items.iter().map(|i| (i.index, i.observation.is_ok())).collect();
        assert_eq!(found, [(0, true), (1, false), (2, true)]);
        assert_eq!(items[1].observation.as_ref().unwrap_err().title, "the item is longer than 1 MiB");
    }
}

#[test]
fn deep_nesting_is_refused_and_what_follows_is_read() {
    let deep = format!(r#"{{"name":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    for body in [format!("{}\n{deep}\n{}\n", host("a"), host("b")), format!("[{},{deep},{}]", host("a"), host("b"))] {
        let found = read_in(Form::Hosts, body.as_bytes(), 1000);
        assert_eq!(found.iter().map(|(n, r)| (*n, r.is_ok())).collect::<Vec<_>>(), [(0, true), (1, false), (2, true)]);
    }
}

#[test]
fn items_are_known_again_by_the_key_and_their_number() {
    let mut decoder = Decoder::new(Form::Hosts, "push".into(), Some("k".into()));
    let mut items = decoder.push(format!("{}\nbad\n{}\n", host("a"), host("b")).as_bytes());
    let key = |item: Item| item.observation.unwrap().when.idempotency.unwrap();
    assert_eq!(key(items.remove(2)), "k/2");
    assert_eq!(key(items.remove(0)), "k/0");
}

#[test]
fn watch_events_are_read_in_order_and_bookmarks_keep_their_number() {
    let a = reconciler("a");
    let body = format!(
        "{{\"type\":\"ADDED\",\"object\":{a}}}\n{{\"type\":\"BOOKMARK\",\"object\":{{\"kind\":\"Reconciler\"}}}}\n{{\"type\":\"DELETED\",\"object\":{a}}}\n"
    );
    assert_eq!(read(Form::Resources, &body), [(0, Ok("a".to_owned())), (2, Ok("a".to_owned()))]);
}

proptest! {
    #[test]
    fn no_body_is_too_strange_and_cuts_do_not_matter(
        parts in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\n", " ", "{\"name\":\"a\"}", "{\"name\":\"b\"}\n", "null", "7", "\"x\"", "\u{e9}", "\n{",
        ]), 0..30),
        piece in 1usize..9,
    ) {
        let body = parts.concat();
        let whole = read_in(Form::Hosts, body.as_bytes(), body.len().max(1));
        prop_assert_eq!(read_in(Form::Hosts, body.as_bytes(), piece), whole);
    }

    #[test]
    fn no_bytes_are_too_strange(body in prop::collection::vec(any::<u8>(), 0..200), piece in 1usize..50) {
        let _ = read_in(Form::Resources, &body, piece);
    }
}
