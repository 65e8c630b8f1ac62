//! The names a statement can see: tables, views, and the schema `system`.
//!
//! Invariant: a view is planned only when a statement (or another view) names it, once per catalog; a catalog is
//! immutable, so a plan stays right for as long as the catalog lives.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Debug};
use std::pin::Pin;
use std::sync::Arc;

use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::config::Dialect;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::ViewTable;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{ScalarUDF, TableType};
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::error::QueryError;
use super::table::{Scannable, Table};

/// The catalog's name in SQL.
pub(super) const CATALOG: &str = "koh";
/// The schema of tables and views.
pub(super) const PUBLIC: &str = "public";
/// The schema about the hub itself.
pub(super) const SYSTEM: &str = "system";
/// Views may name views this deep; more is a cycle.
const VIEW_DEPTH: usize = 16;

/// Everything statements may read, of one generation.
#[derive(Default)]
pub struct Catalog {
    tables: BTreeMap<String, Arc<dyn Table>>,
    system: BTreeMap<String, Arc<dyn Table>>,
    views: BTreeMap<String, String>,
    functions: Vec<Arc<ScalarUDF>>,
    /// Nothing is told of the hub itself.
    closed: bool,
    /// Bytes that statements need together, where that is more than is usual.
    pub(super) memory: usize,
    planned: Mutex<HashMap<String, Arc<dyn TableProvider>>>,
}

impl Catalog {
    /// Tables and views (name and SQL text) of the default schema.
    pub fn new(tables: Vec<Arc<dyn Table>>, views: Vec<(String, String)>) -> Catalog {
        Catalog { tables: by_name(tables), views: views.into_iter().collect(), ..Catalog::default() }
    }

    /// Adds tables to the schema `system`.
    pub fn with_system_tables(mut self, tables: Vec<Arc<dyn Table>>) -> Catalog {
        self.system.extend(by_name(tables));
        self
    }

    /// Without the schema `system`, the engine's own tables included.
    pub fn closed(mut self) -> Catalog {
        self.closed = true;
        self
    }

    /// Lets statements reserve so many bytes together, where that is more than is usual: rows of a large fleet take more.
    pub fn with_memory(mut self, bytes: usize) -> Catalog {
        self.memory = bytes;
        self
    }

    /// Adds scalar functions of the hub's own; they must bound their own memory.
    pub fn with_functions(mut self, functions: Vec<Arc<ScalarUDF>>) -> Catalog {
        self.functions.extend(functions);
        self
    }

    /// Names of tables and views, those of `system` with their schema.
    pub fn names(&self) -> Vec<String> {
        let system = self.system.keys().map(|name| format!("{SYSTEM}.{name}"));
        self.tables.keys().chain(self.views.keys()).cloned().chain(system).collect()
    }

    /// The tables of the default schema.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<dyn Table>> {
        self.tables.values()
    }

    /// The tables of the default schema, with the number of their rows where it is known without reading them.
    pub fn counts(&self) -> impl Iterator<Item = (&str, Option<usize>)> {
        self.tables.iter().map(|(name, table)| (name.as_str(), table.rows()))
    }

    pub(super) fn functions(&self) -> &[Arc<ScalarUDF>] {
        &self.functions
    }
}

fn by_name(tables: Vec<Arc<dyn Table>>) -> BTreeMap<String, Arc<dyn Table>> {
    tables.into_iter().map(|table| (table.name().to_string(), table)).collect()
}

impl Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog").field("names", &self.names()).finish_non_exhaustive()
    }
}

/// A catalog as one statement sees it.
#[derive(Clone)]
pub(super) struct Visible {
    catalog: Arc<Catalog>,
    /// Tables of the engine itself, in `system`.
    engine: Arc<dyn Table>,
    /// Functions and rules to plan views with; it has no catalog of its own, so that no cycle keeps it alive.
    base: Arc<SessionState>,
    depth: usize,
}

impl Visible {
    pub(super) fn new(catalog: Arc<Catalog>, engine: Arc<dyn Table>, base: Arc<SessionState>) -> Visible {
        Visible { catalog, engine, base, depth: 0 }
    }

    /// A session in which statements see this catalog.
    pub(super) fn session(&self) -> SessionState {
        let mut state = SessionState::clone(&self.base);
        state.register_catalog_list(Arc::new(self.clone()));
        state.mark_start_execution();
        state
    }

    fn view<'a>(&'a self, name: &'a str, sql: &'a str) -> BoxFuture<'a, Result<Option<Arc<dyn TableProvider>>>> {
        Box::pin(async move {
            if let Some(planned) = self.catalog.planned.lock().get(name) {
                return Ok(Some(Arc::clone(planned)));
            }
            if self.depth >= VIEW_DEPTH {
                let detail = "A view may build on other views, never on itself.";
                return Err(QueryError::invalid(format!("The view {name} refers to itself"), detail).into_engine());
            }
            let state = Visible { depth: self.depth + 1, ..self.clone() }.session();
            let statement = state.sql_to_statement(sql, &Dialect::Generic)?;
            let plan = state.statement_to_plan(statement).await?;
            let view: Arc<dyn TableProvider> = Arc::new(ViewTable::new(plan, Some(sql.to_string())));
            self.catalog.planned.lock().insert(name.to_string(), Arc::clone(&view));
            Ok(Some(view))
        })
    }
}

impl Debug for Visible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(&self.catalog, f)
    }
}

impl CatalogProviderList for Visible {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.to_string()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == CATALOG).then(|| Arc::new(self.clone()) as Arc<dyn CatalogProvider>)
    }
}

impl CatalogProvider for Visible {
    fn schema_names(&self) -> Vec<String> {
        if self.catalog.closed { vec![PUBLIC.to_string()] } else { vec![PUBLIC.to_string(), SYSTEM.to_string()] }
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        match name {
            PUBLIC => Some(Arc::new(Schema { system: false, visible: self.clone() })),
            SYSTEM if !self.catalog.closed => Some(Arc::new(Schema { system: true, visible: self.clone() })),
            _ => None,
        }
    }
}

/// One schema of the catalog; makes tables and views only when asked for them.
#[derive(Debug)]
struct Schema {
    system: bool,
    visible: Visible,
}

impl Schema {
    fn table_of(&self, name: &str) -> Option<Arc<dyn Table>> {
        let catalog = &self.visible.catalog;
        match self.system {
            true if name == self.visible.engine.name() => Some(Arc::clone(&self.visible.engine)),
            true => catalog.system.get(name).cloned(),
            false => catalog.tables.get(name).cloned(),
        }
    }

    fn view_of(&self, name: &str) -> Option<&String> {
        if self.system { None } else { self.visible.catalog.views.get(name) }
    }

    fn find<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Arc<dyn TableProvider>>>> {
        Box::pin(async move {
            if let Some(table) = self.table_of(name) {
                return Ok(Some(Arc::new(Scannable(table)) as Arc<dyn TableProvider>));
            }
            match self.view_of(name) {
                Some(sql) => self.visible.view(name, sql).await,
                None => Ok(None),
            }
        })
    }
}

// By hand for the reason given at `Scannable`.
impl SchemaProvider for Schema {
    fn table_names(&self) -> Vec<String> {
        let catalog = &self.visible.catalog;
        match self.system {
            true => catalog.system.keys().cloned().chain([self.visible.engine.name().to_string()]).collect(),
            false => catalog.tables.keys().chain(catalog.views.keys()).cloned().collect(),
        }
    }

    fn table<'life0, 'life1, 'async_trait>(
        &'life0 self,
        name: &'life1 str,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Arc<dyn TableProvider>>, DataFusionError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        self.find(name)
    }

    fn table_type<'life0, 'life1, 'async_trait>(
        &'life0 self,
        name: &'life1 str,
    ) -> Pin<Box<dyn Future<Output = Result<Option<TableType>>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        let kind = match (self.table_of(name), self.view_of(name)) {
            (Some(_), _) => Some(TableType::Base),
            (None, Some(_)) => Some(TableType::View),
            (None, None) => None,
        };
        Box::pin(std::future::ready(Ok(kind)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_of(name).is_some() || self.view_of(name).is_some()
    }
}
