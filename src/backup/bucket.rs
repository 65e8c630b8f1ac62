//! Objects of a store: S3 and what speaks like it, Azure, Google.
//!
//! Invariant: an object has its name only when all of it was sent; it goes up in parts that become an object at once, at the end, or
//! are thrown away. One part is held at a time, both ways. Who may do it is said by the environment, under the names that the
//! clouds' own tools use; nothing made here - an address, an error, a line of a log - holds any of that.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientConfigKey, Error, GetOptions, MultipartUpload, ObjectStore, ObjectStoreExt, ObjectStoreScheme,
    RetryConfig,
};
use reqwest::Url;
use tokio::runtime::Runtime;

use super::refusal::{self, Cloud};

/// What goes over the wire at once. A store takes ten thousand parts of an object, all but the last of one size.
pub(super) const PART: usize = 8 << 20;
/// One part goes over a slow line within this.
const REQUEST: &str = "2 minutes";

/// A name in a bucket, under which an object may be, or under which others are as in a folder.
#[derive(Clone)]
pub struct Object {
    store: Arc<dyn ObjectStore>,
    cloud: Cloud,
    path: Path,
    shown: String,
}

impl Object {
    /// Reads an address whose scheme is one of [`Cloud`]; the error says what is wrong with it.
    pub(super) fn parse(text: &str, cloud: Cloud) -> Result<Object, String> {
        let url = Url::parse(text).map_err(|error| format!("it is no address: {error}"))?;
        // The file system of abfss://file-system@account.dfs.core.windows.net stands where other addresses name a user.
        let user = !url.username().is_empty() && cloud != Cloud::Azure;
        if user || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(format!(
                "it holds more than a bucket and a name, and an address is for everybody to see: credentials are taken from the \
                 environment ({})",
                cloud.variables()
            ));
        }
        let (_, path) = ObjectStoreScheme::parse(&url).map_err(|error| format!("it names no bucket: {error}"))?;
        let store = open(cloud, text).map_err(|error| refusal::explained(cloud, &error))?;
        Ok(Object { store, cloud, path, shown: text.trim_end_matches('/').to_owned() })
    }

    /// Whether this is the bucket itself, which can be no object.
    pub(super) fn is_bucket(&self) -> bool {
        self.path.as_ref().is_empty()
    }

    pub(super) fn child(&self, name: &str) -> Object {
        let path = self.path.clone().join(name);
        Object { path, shown: format!("{}/{name}", self.shown), ..self.clone() }
    }

    /// Names and sizes of what is directly under this.
    pub(super) fn children(&self) -> io::Result<Vec<(String, u64)>> {
        let (store, path) = (Arc::clone(&self.store), self.path.clone());
        let listed = self.ask(async move { store.list_with_delimiter(Some(&path)).await })?;
        let named = |meta: object_store::ObjectMeta| Some((meta.location.filename()?.to_owned(), meta.size));
        Ok(listed.objects.into_iter().filter_map(named).collect())
    }

    /// Its size. Its first byte is asked for, as an answer to a question for the size alone says nothing of why it is refused.
    fn look(&self) -> io::Result<u64> {
        let (store, path) = (Arc::clone(&self.store), self.path.clone());
        let first = GetOptions::new().with_range(Some(0..1));
        self.ask(async move { store.get_opts(&path, first).await }).map(|found| found.meta.size)
    }

    pub(super) fn exists(&self) -> io::Result<bool> {
        match self.look() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            found => found.map(|_| true),
        }
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        let (store, path) = (Arc::clone(&self.store), self.path.clone());
        self.ask(async move { store.delete(&path).await })
    }

    pub(super) fn write(&self) -> io::Result<Upload> {
        let (store, path) = (Arc::clone(&self.store), self.path.clone());
        let parts = self.ask(async move { store.put_multipart(&path).await })?;
        Ok(Upload { object: self.clone(), parts: Some(parts), part: Vec::new(), bytes: 0 })
    }

    pub(super) fn read(&self) -> io::Result<Download> {
        Ok(Download { object: self.clone(), size: self.look()?, next: 0, part: Bytes::new() })
    }

    fn ask<T: Send + 'static>(&self, work: impl Future<Output = Result<T, Error>> + Send + 'static) -> io::Result<T> {
        wait(work)?.map_err(|error| self.refused(&error))
    }

    fn refused(&self, error: &Error) -> io::Error {
        let absent = refusal::is_absent(error);
        io::Error::new(
            if absent { io::ErrorKind::NotFound } else { io::ErrorKind::Other },
            refusal::explained(self.cloud, error),
        )
    }

    /// For those who read and write without knowing where.
    fn at(&self, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{self}: {error}"))
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The client knows credentials.
impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({})", self.shown)
    }
}

/// An object that is being sent. One that is dropped before its end leaves nothing.
pub(super) struct Upload {
    object: Object,
    parts: Option<Box<dyn MultipartUpload>>,
    part: Vec<u8>,
    bytes: u64,
}

impl Upload {
    /// Gives the object its name; tells its size.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.send()?;
        let Some(mut parts) = self.parts.take() else { return Ok(self.bytes) };
        let (parts, finished) = wait(async move {
            let finished = parts.complete().await;
            (parts, finished)
        })?;
        if let Err(error) = finished {
            self.parts = Some(parts);
            return Err(self.object.refused(&error));
        }
        Ok(self.bytes)
    }

    fn send(&mut self) -> io::Result<()> {
        let Some(parts) = &mut self.parts else { return Ok(()) };
        let part = std::mem::take(&mut self.part);
        self.object.ask(parts.put_part(part.into()))
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.part.len() == PART {
            self.send().map_err(|error| self.object.at(error))?;
        }
        if self.part.capacity() == 0 {
            self.part.reserve_exact(PART);
        }
        let taken = &bytes[..bytes.len().min(PART - self.part.len())];
        self.part.extend_from_slice(taken);
        self.bytes += taken.len() as u64;
        Ok(taken.len())
    }

    /// A part is sent when it is full, or the last one.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut parts) = self.parts.take() else { return };
        if let Err(error) = self.object.ask(async move { parts.abort().await }) {
            tracing::warn!(object = %self.object, %error, "parts of an unfinished upload are left in the store");
        }
    }
}

/// An object that is being read, a piece at a time, so that a connection that breaks costs a piece.
pub(super) struct Download {
    object: Object,
    size: u64,
    next: u64,
    part: Bytes,
}

impl Download {
    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

impl Read for Download {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.part.is_empty() && self.next < self.size {
            let (store, path) = (Arc::clone(&self.object.store), self.object.path.clone());
            let range = self.next..self.size.min(self.next + PART as u64);
            self.next = range.end;
            let got = self.object.ask(async move { store.get_range(&path, range).await });
            self.part = got.map_err(|error| self.object.at(error))?;
        }
        let taken = self.part.split_to(self.part.len().min(out.len()));
        out[..taken.len()].copy_from_slice(&taken);
        Ok(taken.len())
    }
}

/// A client for the bucket of an address, as the environment says.
fn open(cloud: Cloud, address: &str) -> Result<Arc<dyn ObjectStore>, Error> {
    let retry = RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: 4,
        retry_timeout: std::time::Duration::from_secs(60),
    };
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    Ok(match cloud {
        Cloud::Amazon => {
            use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key};
            let builder = AmazonS3Builder::from_env().with_url(address).with_retry(retry);
            let builder = builder.with_config(Key::Client(ClientConfigKey::Timeout), REQUEST);
            // Amazon's own tools take such an endpoint at its word, too.
            let endpoint = [Key::S3Endpoint, Key::Endpoint].iter().find_map(|key| builder.get_config_value(key));
            let clear = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
            Arc::new(if clear { builder.with_allow_http(true) } else { builder }.build()?)
        }
        Cloud::Azure => {
            use object_store::azure::{AzureConfigKey as Key, MicrosoftAzureBuilder};
            let mut builder = MicrosoftAzureBuilder::from_env().with_url(address).with_retry(retry);
            builder = builder.with_config(Key::Client(ClientConfigKey::Timeout), REQUEST);
            // The names that az has for them.
            for (key, name) in [(Key::AccountName, "AZURE_STORAGE_ACCOUNT"), (Key::AccessKey, "AZURE_STORAGE_KEY")] {
                if let (None, Some(value)) = (builder.get_config_value(&key), variable(name)) {
                    builder = builder.with_config(key, value);
                }
            }
            Arc::new(builder.build()?)
        }
        Cloud::Google => {
            use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey as Key};
            let mut builder = GoogleCloudStorageBuilder::from_env().with_url(address).with_retry(retry);
            builder = builder.with_config(Key::Client(ClientConfigKey::Timeout), REQUEST);
            if let Some(file) = variable("GOOGLE_APPLICATION_CREDENTIALS") {
                builder = builder.with_application_credentials(file);
            }
            Arc::new(builder.build()?)
        }
    })
}

/// Does what the client does on a thread of its own, and waits for it: whoever reads and writes backups may block, and may be asked to
/// from within a conversation of another runtime.
fn wait<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> io::Result<T> {
    static THREAD: OnceLock<Runtime> = OnceLock::new();
    let runtime = match THREAD.get() {
        Some(runtime) => runtime,
        None => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            let made = builder.worker_threads(1).thread_name("object-store").enable_all().build()?;
            THREAD.get_or_init(|| made)
        }
    };
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    runtime.spawn(async move { tell.send(work.await) });
    told.recv().map_err(|_| io::Error::other("the conversation with the object store ended in a panic"))
}
