//! Traces: a collector that is a server of the test, and what it is sent.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::hub::{TestHubBuilder, commit, descriptor};

/// What a collector was sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

impl Collector {
    /// Listens as a collector does; gives its address.
    fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let taken = Arc::clone(&self.0);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                while let Some(body) = request(&mut stream) {
                    taken.lock().unwrap().push(ExportTraceServiceRequest::decode(&body[..]).unwrap());
                    stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
                }
            }
        });
        address
    }

    fn spans(&self) -> Vec<Span> {
        let taken = self.0.lock().unwrap();
        let resources = taken.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }
}

/// The body of a request to the one path there is.
fn request(stream: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut length = 0;
    let mut first = String::new();
    stream.read_line(&mut first).ok()?;
    if first.is_empty() {
        return None;
    }
    assert!(first.starts_with("POST /v1/traces "), "{first}");
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) =
            line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        {
            length = value.trim().parse().unwrap_or_else(|_| panic!("{name}: {value}"));
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

#[test]
fn a_push_is_followed_into_the_journal_and_a_question_into_the_engine() {
    let collector = Collector::default();
    let hub = TestHubBuilder::new().with_arg("--trace-endpoint", collector.listen()).spawn();
    let caller = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let body = descriptor("dev", "1.0", &commit('a'));
    let headers = [caller, ("content-type", "application/json"), ("authorization", "Bearer s3cr3t-token")];
    assert_eq!(hub.ask("POST", "/api/v1/ingest?source=team", &headers, body.as_bytes()).status, 200);
    assert_eq!(hub.get("/api/v1/sql?fresh=true&q=SELECT%20%27s3cr3t-value%27").status, 200);
    assert_eq!(hub.get("/api/v1/nothing?token=s3cr3t").status, 404);
    assert!(hub.stop().success());

    // What was under way at the end is sent before the hub is gone.
    let spans = collector.spans();
    let named = |name: &str| spans.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("no {name} in {spans:#?}"));
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let push = named("POST /api/v1/ingest");
    assert_eq!(hex(&push.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&push.parent_span_id), "b7ad6b7169203331");
    let mut above = push;
    for below in ["ingest", "store", "journal"] {
        let span = named(below);
        assert_eq!((&span.trace_id, &span.parent_span_id), (&push.trace_id, &above.span_id), "{below}");
        above = span;
    }
    let question = named("GET /api/v1/sql");
    for below in ["snapshot", "sql"] {
        let below = |span: &&Span| span.name == below && span.trace_id == question.trace_id;
        assert!(spans.iter().any(|span| below(&span)), "{spans:#?}");
    }
    assert_ne!(question.trace_id, push.trace_id);
    named("export");
    let all = format!("{spans:?}");
    assert!(!all.contains("s3cr3t"), "{all}");
    let resource = format!("{:?}", collector.0.lock().unwrap()[0].resource_spans[0].resource);
    assert!(resource.contains("service.name") && resource.contains("koh"), "{resource}");
}

#[test]
fn a_collector_that_is_not_there_costs_nothing_but_spans() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hub = TestHubBuilder::new().with_arg("--trace-endpoint", format!("http://{nobody}")).spawn();
    hub.push(&descriptor("dev", "1.0", &commit('a')));
    assert_eq!(hub.get("/api/v1/hosts").status, 200);
    assert!(hub.stop().success());
}
