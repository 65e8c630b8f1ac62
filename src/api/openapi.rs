//! The OpenAPI description: from the handlers' own annotations, and for rows from the declarations of the tables.
//!
//! Invariant: an operation and its route are made by one call, so none exists without the other. `schema/openapi.json` is this
//! document; a test compares them.

use axum::routing::MethodRouter;
use utoipa::openapi::content::Content;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, Paths};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{ContentBuilder, HeaderBuilder, KnownFormat, Ref, RefOr, Required, Response, ResponseBuilder};
use utoipa::{OpenApi, PartialSchema, ToSchema};
use utoipa_axum::router::UtoipaMethodRouter;

use super::App;
use super::ingest::{Push, Taken};
use super::problem::ProblemBody;
use super::resource::{Kind, Resource, Span};
use super::rows::{PAGE, PAGE_MAX, VIEW, VIEW_MAX};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use crate::snapshot::schema::{Kind as ColumnKind, TableSchema};

/// The frame of the document; paths come from the routes.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Kalypso Observability Hub",
        description = "What should run where, what does run where, and is my commit live. Times are RFC 3339 in UTC with \
milliseconds; absence is null; every error is a problem document (RFC 9457) whose title is also the HTTP/1.1 reason phrase.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(ProblemBody)),
    // A hub without tokens asks for none.
    security((), ("bearer" = [])),
    modifiers(&Bearer),
    tags(
        (name = "ingest", description = "Push: what should run, what does run, who exists."),
        (name = "rollouts", description = "The gate: is my commit live everywhere?"),
        (name = "changes", description = "What changed, as it changes: for systems that decide."),
        (name = "views", description = "Rows for dashboards."),
        (name = "lists", description = "Every kind of thing the hub knows, page by page."),
        (name = "sql", description = "Read-only SQL over all tables and views."),
        (name = "operations", description = "Health and documentation."),
    )
)]
pub(super) struct Frame;

/// Says how a token is presented.
struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "A token of koh token create. Pushes and verifications need the scope report, everything else read.",
        ));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme.build()));
    }
}

/// How a resource is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Page by page.
    Page,
    /// One row by its id.
    One,
    /// All rows at once.
    Whole,
    /// The newest rows.
    Newest,
}

/// A route and its description.
pub(super) fn described(
    resource: &'static Resource,
    shape: Shape,
    route: MethodRouter<App>,
) -> UtoipaMethodRouter<App> {
    let (tag, base) = match (resource.id.is_empty(), resource.name) {
        (_, "rollouts" | "rollouts/verifications" | "promotions") => ("rollouts", format!("/{}", resource.name)),
        (_, "annotations") => ("views", "/annotations".to_owned()),
        (true, _) => ("views", format!("/views/{}", resource.name)),
        (false, _) => ("lists", format!("/{}", resource.name)),
    };
    let path = if shape == Shape::One { format!("{base}/{{id}}") } else { base };
    let table = resource.schema();
    let row = row_name(table);
    let operation = OperationBuilder::new()
        .operation_id(Some(format!("{}_{}", if shape == Shape::One { "get" } else { "list" }, resource.table)))
        .tag(tag)
        .summary(Some(match shape {
            Shape::One => format!("One row of `{}` by its id", resource.table),
            Shape::Page | Shape::Whole | Shape::Newest => table.doc.replace("\n", " "),
        }))
        .parameters(Some(parameters(resource, shape)))
        .response("200", answer(shape, &row))
        .response("304", ResponseBuilder::new().description("Nothing changed since the ETag the client named."))
        .response("4XX", problem("The question is malformed, or the thing does not exist."))
        .response("5XX", problem("The hub cannot answer now."));
    let mut paths = Paths::new();
    paths.add_path_operation(&path, vec![HttpMethod::Get], operation);
    (vec![(row, RefOr::T(row_schema(table)))], paths, route)
}

/// A route that answers rows of its own making, and its description: filters by equality, and other parameters with what they mean.
pub(super) fn made(
    path: &str,
    table: &'static TableSchema,
    filters: impl Iterator<Item = &'static str>,
    more: &[(&str, String)],
    route: MethodRouter<App>,
) -> UtoipaMethodRouter<App> {
    let row = row_name(table);
    let mut operation = OperationBuilder::new()
        .operation_id(Some(format!("list_{}", table.name)))
        .tag("views")
        .summary(Some(table.doc))
        .response("200", answer(Shape::Whole, &row))
        .response("304", ResponseBuilder::new().description("Nothing changed since the ETag the client named."))
        .response("4XX", problem("The question is malformed."))
        .response("5XX", problem("The hub cannot answer now."));
    for filter in filters {
        operation = operation.parameter(text_parameter(filter, ParameterIn::Query, ANY_OF));
    }
    for (name, said) in more {
        operation = operation.parameter(text_parameter(name, ParameterIn::Query, said));
    }
    for (name, said) in [("fresh", FRESH), ("min_seq", MIN_SEQ)] {
        operation = operation.parameter(text_parameter(name, ParameterIn::Query, said));
    }
    let mut paths = Paths::new();
    paths.add_path_operation(path, vec![HttpMethod::Get], operation);
    (vec![(row, RefOr::T(row_schema(table)))], paths, route)
}

const ANY_OF: &str = "Any of these values: repeated, a JSON array, or comma-separated; `null` for absence; `*` or nothing for no filter.";
const FRESH: &str = "true: everything acknowledged before this question is in the answer.";
const MIN_SEQ: &str = "Everything up to this sequence number (the `seq` of an ingest answer) is in the answer.";

/// A way of pushing and its description: POST, and PUT, which is what `curl -T` sends and does the same.
pub(super) fn pushed(push: &Push, route: MethodRouter<App>) -> UtoipaMethodRouter<App> {
    let operation = |id: String, summary: String| {
        let mut operation = OperationBuilder::new()
            .operation_id(Some(id))
            .tag(if push.path.starts_with("/rollouts/") { "rollouts" } else { "ingest" })
            .summary(Some(summary))
            .parameter(text_parameter(
                "source",
                ParameterIn::Query,
                "Names the source; `push` when absent. What a restricted token tells is filed under `token/NAME` or \
                 `token/NAME/SOURCE`.",
            ))
            .parameter(text_parameter(
                "Idempotency-Key",
                ParameterIn::Header,
                "Makes a resent batch known again; 1 to 200 ASCII characters.",
            ))
            .request_body(Some(
                RequestBodyBuilder::new()
                    .description(Some(
                        "One object, an array, or NDJSON; streamed. `Content-Encoding: gzip` is taken. At most 1 MiB per item, \
                         after decompression.",
                    ))
                    .required(Some(Required::True))
                    .content("application/json", Content::new::<RefOr<Schema>>(None))
                    .content("application/x-ndjson", Content::new::<RefOr<Schema>>(None))
                    .build(),
            ));
        for (status, description) in
            [("200", "Every item was taken."), ("207", "Some items were taken, some not; `items` says which and why.")]
        {
            let taken = RefOr::<Schema>::Ref(Ref::from_schema_name(Taken::name()));
            let content = ContentBuilder::new().schema(Some(taken)).build();
            let response = ResponseBuilder::new().description(description).content("application/json", content).build();
            operation = operation.response(status, response);
        }
        for (status, description) in [
            ("400", "No item was taken; the counters and `items` stand beside the problem's fields."),
            (
                "401",
                "No token that is known; also when it was revoked while the body came, and then with the counters.",
            ),
            (
                "403",
                "The token may not report, or was changed while the body came, and then with the counters. An item that is not \
                 of a restricted token's part is rejected by itself.",
            ),
            ("408", "The body stopped coming; what was read before is kept and counted."),
            ("429", "Too many streams; nothing was read. See Retry-After."),
            ("503", "The hub cannot store now, or shuts down; what was acknowledged before is counted."),
        ] {
            operation = operation.response(status, problem(description));
        }
        operation
    };
    let mut paths = Paths::new();
    paths.add_path_operation(push.path, vec![HttpMethod::Post], operation(push.id.to_owned(), push.summary.to_owned()));
    let same = operation(format!("put_{}", push.id), format!("The same as POST, for `curl -T`. {}", push.summary));
    paths.add_path_operation(push.path, vec![HttpMethod::Put], same);
    let mut schemas = vec![(Taken::name().into_owned(), Taken::schema())];
    Taken::schemas(&mut schemas);
    (schemas, paths, route)
}

fn text_parameter(name: &str, place: ParameterIn, said: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(Required::False)
        .description(Some(said))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

fn answer(shape: Shape, row: &str) -> Response {
    let one = RefOr::Ref(Ref::from_schema_name(row));
    let (schema, description) = match shape {
        Shape::One => (one, "The row."),
        Shape::Page => {
            (RefOr::T(Schema::Array(ArrayBuilder::new().items(one).build())), "One page; `[]` when there is none.")
        }
        Shape::Whole | Shape::Newest => {
            (RefOr::T(Schema::Array(ArrayBuilder::new().items(one).build())), "The rows; `[]` when there are none.")
        }
    };
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let mut response = ResponseBuilder::new()
        .description(description)
        .content("application/json", ContentBuilder::new().schema(Some(schema)).build())
        .header(
            "ETag",
            HeaderBuilder::new().schema(Some(text())).description(Some("Weak; names the generation.")).build(),
        );
    if shape == Shape::Page {
        let link = "`rel=\"next\"` leads to the next page, where there is one.";
        response = response.header("Link", HeaderBuilder::new().schema(Some(text())).description(Some(link)).build());
    }
    response.build()
}

fn problem(description: &str) -> Response {
    let schema = RefOr::<Schema>::Ref(Ref::from_schema_name("Problem"));
    ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", ContentBuilder::new().schema(Some(schema)).build())
        .build()
}

fn parameters(resource: &Resource, shape: Shape) -> Vec<Parameter> {
    let mut all = Vec::new();
    let mut query = |name: &str, kind: Type, said: String| {
        all.push(
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Query)
                .required(Required::False)
                .description(Some(said))
                .schema(Some(ObjectBuilder::new().schema_type(kind)))
                .build(),
        );
    };
    if shape != Shape::One {
        for filter in resource.filters() {
            let said = match filter.kind {
                Kind::Text => ANY_OF,
                Kind::Commit => "As the other filters; commits in any spelling.",
                Kind::Flag => "true or false.",
            };
            query(filter.name, Type::String, said.to_owned());
        }
        let said = match resource.span {
            Span::At(at) => {
                format!("RFC 3339 or epoch milliseconds; compared with `{at}`; `from` is included, `to` is not.")
            }
            Span::During(start, end) => {
                format!("RFC 3339 or epoch milliseconds; rows whose time from `{start}` to `{end}` touches the range.")
            }
            Span::Mark(start, end) => {
                format!(
                    "RFC 3339 or epoch milliseconds; rows whose time from `{start}` to `{end}` (or the instant `{start}`) touches the range."
                )
            }
            Span::Now => "Taken and without effect: the rows are the state of now.".to_owned(),
        };
        query("from", Type::String, said.clone());
        query("to", Type::String, said);
    }
    match shape {
        Shape::Page => {
            let order = if resource.newest_first { " The newest come first." } else { "" };
            query("limit", Type::Integer, format!("Rows per page, 1 to {PAGE_MAX}; {PAGE} when absent.{order}"));
            query("cursor", Type::String, "Where to go on; taken from the Link header.".to_owned());
        }
        Shape::Whole => query(
            "limit",
            Type::Integer,
            format!(
                "The first so many rows, 1 to {VIEW_MAX}; X-Kalypso-Truncated tells when there were more. Without it, more \
                 than {VIEW} rows are an error (422) that asks for a filter."
            ),
        ),
        Shape::Newest => query(
            "limit",
            Type::Integer,
            format!(
                "The newest so many rows, 1 to {PAGE_MAX}; {PAGE} when absent; X-Kalypso-Truncated tells when there were more."
            ),
        ),
        Shape::One => all.push(
            ParameterBuilder::new()
                .name("id")
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .description(Some(format!("The value of {}.", resource.id.join(" or "))))
                .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
                .build(),
        ),
    }
    let mut query = |name: &str, kind: Type, said: &str| {
        all.push(
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Query)
                .required(Required::False)
                .description(Some(said))
                .schema(Some(ObjectBuilder::new().schema_type(kind)))
                .build(),
        );
    };
    query("fresh", Type::Boolean, FRESH);
    query("min_seq", Type::String, MIN_SEQ);
    all
}

/// The name of a row's schema: `environment_state` gives `EnvironmentStateRow`.
fn row_name(table: &TableSchema) -> String {
    let camel = table.name.split('_').flat_map(|word| {
        let mut letters = word.chars();
        letters.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(letters.collect::<Vec<_>>())
    });
    camel.chain("Row".chars()).collect()
}

fn row_schema(table: &TableSchema) -> Schema {
    let mut row = ObjectBuilder::new().description(Some(table.doc));
    for column in table.columns {
        let (kind, format) = match column.kind {
            ColumnKind::Text => (Type::String, None),
            ColumnKind::Time => (Type::String, Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))),
            ColumnKind::Count => (Type::Integer, Some(SchemaFormat::KnownFormat(KnownFormat::Int64))),
            ColumnKind::Flag => (Type::Boolean, None),
            ColumnKind::Share => (Type::Number, None),
        };
        let kind = if column.nullable { SchemaType::from_iter([kind, Type::Null]) } else { SchemaType::new(kind) };
        let property = ObjectBuilder::new().schema_type(kind).format(format).description(Some(column.doc)).build();
        row = row.property(column.name, property).required(column.name);
    }
    Schema::Object(row.build())
}

/// The committed document, as text.
pub fn document() -> String {
    let mut text = super::described_routes().1.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_is_what_the_code_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/openapi.json");
        let wanted = document();
        if std::env::var_os("KOH_BLESS").is_some() {
            std::fs::write(path, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(found == wanted, "schema/openapi.json is stale: run `koh openapi > schema/openapi.json` and commit it");
    }

    #[test]
    fn rows_are_named_after_their_table() {
        assert_eq!(row_name(super::super::resource::VIEWS[0].schema()), "EnvironmentStateRow");
    }

    #[test]
    fn operation_ids_do_not_repeat() {
        let document: serde_json::Value = serde_json::from_str(&document()).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for (_, item) in document["paths"].as_object().unwrap() {
            for (_, operation) in item.as_object().unwrap() {
                assert!(seen.insert(operation["operationId"].as_str().unwrap().to_owned()), "{operation}");
            }
        }
    }
}
