//! Connections: what is no HTTP, clients that are slow, silent or many, and a hub that stops.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::hub::{Answer, TestHub, TestHubBuilder, commit, descriptor, report};

#[test]
fn what_is_no_readable_request_gets_a_problem_document_too() {
    let hub = TestHub::spawn();
    let said = |bytes: &str, status: u16| {
        let mut stream = hub.connect();
        // The hub answers as soon as it has seen enough; what it does not read any more is no concern of the test.
        let _ = stream.write_all(bytes.as_bytes());
        let answer = Answer::read(&mut stream);
        assert_eq!(answer.header("connection"), Some("close"));
        answer.problem(status)
    };
    assert_eq!(said("HELO hub\r\n\r\n", 400), "this is no readable HTTP/1.1 request");
    said("GET /api/v1/hosts?host=a b HTTP/1.1\r\nhost: h\r\n\r\n", 400);
    said("GET / HTTP/1.1\r\nno header\r\n\r\n", 400);
    said("POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400);
    said("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}\r\n\r\n", 400);
    let headers: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
    assert!(said(&format!("GET / HTTP/1.1\r\n{headers}\r\n"), 431).contains("too many headers"));
    let long = "a".repeat(70_000);
    assert!(said(&format!("GET /{long} HTTP/1.1\r\nhost: h\r\n\r\n"), 414).contains("request target"));
    said(&format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", long.repeat(10)), 431);
    // After a good request on the same connection, too.
    let mut stream = hub.connect();
    stream.write_all(b"HEAD /livez HTTP/1.1\r\nhost: h\r\n\r\n").unwrap();
    read_head(&mut stream);
    stream.write_all(b"nonsense\r\n\r\n").unwrap();
    Answer::read(&mut stream).problem(400);
}

#[test]
fn a_client_that_sends_half_a_head_or_reads_nothing_holds_up_nobody() {
    let hub = TestHubBuilder::new().with_arg("--max-connections", "64").spawn();
    let mut rude: Vec<_> = (0..32).map(|_| hub.connect()).collect();
    for stream in &mut rude {
        stream.write_all(b"GET /api/v1/hosts HTTP/1.1\r\nhost: h").unwrap();
    }
    assert_eq!(hub.get("/livez").status, 200);
    drop(rude);
    let mut silent = hub.connect();
    silent.write_all(b"POST /api/v1/ingest HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\n{").unwrap();
    assert_eq!(hub.get("/api/v1/hosts").status, 200);
}

#[test]
fn when_all_connections_are_taken_the_longest_silent_one_makes_room() {
    let hub = TestHubBuilder::new().with_arg("--max-connections", "4").spawn();
    let mut kept_alive = hub.connect();
    kept_alive.write_all(b"HEAD /livez HTTP/1.1\r\nhost: h\r\n\r\n").unwrap();
    read_head(&mut kept_alive);
    let mut silent: Vec<TcpStream> = (0..3).map(|_| hub.connect()).collect();
    assert_eq!(hub.get("/livez").status, 200);
    assert_eq!(silent[0].read(&mut [0u8; 16]).unwrap_or(0), 0, "the first of those that said nothing was closed");
    for stream in silent.iter_mut().skip(1).chain([&mut kept_alive]) {
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").unwrap();
        assert_eq!(Answer::read(stream).status, 200, "the others were left alone");
    }
}

#[test]
fn one_address_cannot_take_all_connections_with_requests_that_never_end() {
    let hub = TestHubBuilder::new().with_arg("--max-connections-per-peer", "2").spawn();
    let mut streams = [endless_push(&hub), endless_push(&hub)];
    let refused = Answer::read(&mut hub.connect());
    assert_eq!(refused.problem(429), "this address has 2 connections at work");
    streams[0].write_all(b"0\r\n\r\n").unwrap();
    Answer::read(&mut streams[0]).problem(400);
    while TcpStream::connect(&hub.address).and_then(|mut s| ask_livez(&mut s)).is_err() {}
}

#[test]
fn a_client_that_does_not_read_its_rows_is_cut_off_and_its_slot_comes_back() {
    let hub = TestHubBuilder::new().with_arg("--reader-idle", "300ms").spawn();
    let lines: Vec<String> =
        (0..200).map(|n| report(&format!("host-{n:03}"), "dev", &commit('a'), "success")).collect();
    assert_eq!(hub.post("/api/v1/ingest/reconcilers", "application/x-ndjson", lines.join("\n")).status, 200);
    let path =
        "/api/v1/sql?fresh=true&format=csv&q=SELECT+a.host+AS+x,b.host+AS+y,c.host+AS+z+FROM+hosts+a,hosts+b,hosts+c";
    // As many as there are slots.
    let mut slow: Vec<TcpStream> = (0..4).map(|_| hub.connect()).collect();
    for stream in &mut slow {
        write!(stream, "GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").unwrap();
        let mut begun = [0u8; 12];
        stream.read_exact(&mut begun).unwrap();
        assert_eq!(&begun, b"HTTP/1.1 200");
    }
    let how = "/api/v1/sql?q=SELECT+DISTINCT+status+FROM+system.queries+WHERE+sql+LIKE+'SELECT+a.host%25'";
    let rows = loop {
        let rows = hub.get(how).rows();
        if rows.iter().all(|row| row["status"] != "running") {
            break rows;
        }
    };
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["status"], "cancelled", "by the reader's limit, not by the statement's");
}

#[test]
fn stopping_finishes_what_was_acknowledged_and_ends_streams_that_go_on() {
    let hub = TestHubBuilder::new().with_arg("--drain", "4s").spawn();
    let mut stream = endless_push(&hub);
    push_chunk(&mut stream, &format!("{}\n", descriptor("dev", "1.0.0", &commit('a'))));
    // The line is shown before the body has ended: streams are stored as they come.
    while hub.get("/api/v1/workloads?fresh=true").rows().is_empty() {}
    let mut connection = hub.connect();
    let status = hub.stop();
    assert!(status.success(), "{status}");
    let answer = Answer::read(&mut stream);
    assert_eq!(answer.problem(503), "the hub is shutting down");
    assert_eq!(answer.json()["accepted"], 1);
    assert_eq!(connection.read(&mut [0u8; 16]).unwrap_or(0), 0);
}

#[test]
fn a_stream_that_is_open_when_the_hub_stops_may_send_the_rest_and_is_answered() {
    let hub = TestHubBuilder::new().with_arg("--drain", "160s").spawn();
    let mut stream = endless_push(&hub);
    push_chunk(&mut stream, &format!("{}\n", descriptor("dev", "1.0.0", &commit('a'))));
    hub.stop_listening();
    push_chunk(&mut stream, &format!("{}\n", descriptor("prod", "1.0.0", &commit('b'))));
    stream.write_all(b"0\r\n\r\n").unwrap();
    let answer = Answer::read(&mut stream);
    assert_eq!((answer.status, answer.json()["accepted"].as_u64()), (200, Some(2)), "{}", answer.text());
    let hub = hub.crash_and_restart();
    assert_eq!(hub.get("/api/v1/environments?fresh=true").rows().len(), 2);
}

/// A push whose body has begun to be read and does not end.
fn endless_push(hub: &TestHub) -> TcpStream {
    let mut stream = hub.connect();
    stream
        .write_all(
            b"POST /api/v1/ingest HTTP/1.1\r\nhost: h\r\nconnection: close\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 100 "));
    stream
}

fn push_chunk(stream: &mut TcpStream, text: &str) {
    write!(stream, "{:x}\r\n{text}\r\n", text.len()).unwrap();
}

fn ask_livez(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HEAD /livez HTTP/1.1\r\nhost: h\r\n\r\n")?;
    stream.read_exact(&mut [0u8; 12])
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0u8];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}
