//! The class that JavaScript sees.

use std::rc::Rc;

use millrace_engine::{ClientCertificate, Engine, Method, MethodKind, TlsServerOptions};
use napi::bindgen_prelude::{BufferSlice, Env, JsValue, Object};
use napi_derive::napi;

use crate::allocator;
use crate::callbacks::Callbacks;
use crate::cleanup;
use crate::descriptors;
use crate::error::{self, Result, from_engine, guard};
use crate::host::Host;
use crate::options;
use crate::topics::{self, NativeSubscription, NativeTopics};

/// A method that the server knows; its number is its position in the list.
#[napi(object)]
pub struct NativeMethod {
    /// `/package.Service/Method`.
    pub path: String,
    /// 0 unary, 1 client-streaming, 2 server-streaming, 3 bidirectional.
    pub kind: u32,
}

/// What a server with TLS needs; the texts are PEM.
#[napi(object)]
pub struct NativeTls {
    /// The chain, the server's own certificate first.
    pub cert: String,
    /// Its private key.
    pub key: String,
    /// The authorities that sign clients' certificates.
    pub ca: Option<String>,
    /// `request` or `require`; absent: clients are not asked.
    pub client_certificate: Option<String>,
}

/// One engine of this JavaScript thread: its sockets, its ring and its tables.
///
/// The garbage collector does not end it: `close()` does, or the end of the thread. It keeps the
/// process alive while it listens or a call is active. Every method may be called inside a
/// callback. What fails throws an `Error` with a `code`.
#[napi]
pub struct NativeEngine {
    host: Rc<Host>,
    driver: &'static str,
    driver_reason: String,
}

#[napi]
impl NativeEngine {
    /// Chooses a driver, allocates the ring and the tables and joins the event loop.
    ///
    /// `options` are the engine's limits by their camelCase names, and `driver`. Throws
    /// `MILLRACE_OPTION_INVALID`, or the code of what the engine could not get.
    #[napi(constructor)]
    pub fn new(
        env: Env,
        #[napi(ts_arg_type = "import('./index.js').NativeOptions")] options: Object<'_>,
        #[napi(ts_arg_type = "import('./index.js').NativeCallbacks")] callbacks: Object<'_>,
    ) -> Result<Self> {
        guard(|| {
            let options = options::read(&options)?;
            let callbacks = Callbacks::new(env.raw(), callbacks.raw())?;
            allocator::keep_what_comes_back();
            let engine = Engine::new(options).map_err(from_engine)?;
            let driver = engine.driver_name();
            let driver_reason = engine.driver_reason().to_owned();
            let host = Host::new(env.raw(), engine, callbacks)?;
            Ok(NativeEngine {
                host,
                driver,
                driver_reason,
            })
        })
    }

    /// The driver that runs: `bundle`, `ring`, `classic` or `portable`.
    #[napi(getter)]
    pub fn driver(&self) -> &'static str {
        self.driver
    }

    /// One sentence for the log: why this driver, and what would lift it.
    #[napi(getter)]
    pub fn driver_reason(&self) -> String {
        self.driver_reason.clone()
    }

    /// The tables, the arena and the receive ring (region 0); the same object at every call.
    #[napi(ts_return_type = "import('./index.js').NativeViews")]
    pub fn views(&self, env: Env) -> Result<Object<'static>> {
        guard(|| Ok(Object::from_raw(env.raw(), self.host.views()?)))
    }

    /// A server: names the methods that are served; paths not in the list are answered with
    /// UNIMPLEMENTED. A client: adds methods to be called, and answers the number of the first.
    #[napi]
    pub fn register(&self, methods: Vec<NativeMethod>) -> Result<u32> {
        guard(|| {
            let methods = methods
                .into_iter()
                .map(method)
                .collect::<Result<Vec<_>>>()?;
            self.host.command(|engine| Ok(engine.register(methods)))
        })
    }

    /// A client begins to connect and answers the connection's number; what becomes of it is said
    /// by the notices `connection_state`. Throws for an address that cannot be read, never for what
    /// the network says.
    #[napi]
    pub fn open(
        &self,
        #[napi(ts_arg_type = "import('./index.js').NativeTarget")] target: Object<'_>,
    ) -> Result<u32> {
        guard(|| {
            let target = options::target(&target)?;
            self.host
                .command(|engine| engine.open(&target).map_err(from_engine))
        })
    }

    /// A connection takes no new calls, and closes when those under way are over.
    #[napi]
    pub fn shut(&self, connection: u32) -> Result<()> {
        guard(|| {
            unless_closed(self.host.command(|engine| {
                engine.shut(connection);
                Ok(())
            }))
        })
    }

    /// Closes a connection at once; its calls end with UNAVAILABLE.
    #[napi]
    pub fn abort(&self, connection: u32) -> Result<()> {
        guard(|| {
            unless_closed(self.host.command(|engine| {
                engine.abort(connection);
                Ok(())
            }))
        })
    }

    /// How a client's call ended: u32 message length, message, metadata block of the trailers; null
    /// when there is neither, or the call is not over.
    #[napi(ts_return_type = "Buffer | null")]
    pub fn status<'env>(&self, env: &'env Env, call: u32) -> Result<Option<BufferSlice<'env>>> {
        guard(|| {
            let details = self.host.read(|engine| engine.status_details(call))?;
            buffer(env, details.flatten())
        })
    }

    /// Speaks TLS with everybody who connects from now on; again, to replace the certificates.
    /// Throws `MILLRACE_TLS_*` for those that cannot be used, and keeps what it had.
    #[napi]
    pub fn secure(&self, tls: NativeTls) -> Result<()> {
        guard(|| {
            let options = tls_options(tls)?;
            self.host
                .command(|engine| engine.set_tls(&options).map_err(from_engine))
        })
    }

    /// Listens on an address and answers its port, which is the system's choice for 0.
    #[napi]
    pub fn listen(&self, host: String, port: u32, reuse_port: bool, backlog: i32) -> Result<u32> {
        guard(|| {
            let port = descriptors::port_number(port)?;
            self.host.command(|engine| {
                engine
                    .listen(&host, port, reuse_port, backlog)
                    .map(u32::from)
                    .map_err(from_engine)
            })
        })
    }

    /// Listens on a Unix socket, `unix:/path` or `unix-abstract:name`; `mode` is the permission of
    /// the file. With `shared`, other engines of this process may accept from the same socket.
    #[napi]
    pub fn listen_unix(
        &self,
        address: String,
        mode: Option<u32>,
        shared: bool,
        backlog: i32,
    ) -> Result<()> {
        guard(|| {
            self.host.command(|engine| {
                engine
                    .listen_unix(&address, mode, shared, backlog)
                    .map_err(from_engine)
            })
        })
    }

    /// Listens on a socket that this process was given, which stays the caller's: the engine accepts
    /// from a duplicate. Throws `MILLRACE_DESCRIPTOR_INVALID` for what is no stream socket that
    /// listens.
    #[napi]
    pub fn listen_descriptor(&self, descriptor: i32) -> Result<()> {
        guard(|| {
            let descriptor = descriptors::duplicate(descriptor)?;
            self.host
                .command(|engine| engine.listen_adopted(descriptor).map_err(from_engine))
        })
    }

    /// Drains the operation table and the arena; for when one of them is full. Nothing happens
    /// once the engine is closed.
    #[napi]
    pub fn flush(&self) -> Result<()> {
        guard(|| unless_closed(self.host.flush()))
    }

    /// Sends a message that is larger than the arena, behind the operations queued so far; its
    /// bytes are copied. With `ends` it is the call's only message and the status is OK (a client's:
    /// the last of its request). Nothing happens once the engine is closed.
    #[napi]
    pub fn send_large(&self, call: u32, bytes: &[u8], ends: Option<bool>) -> Result<()> {
        guard(|| {
            unless_closed(self.host.command(|engine| {
                engine.send_large(call, bytes, ends.unwrap_or(false));
                Ok(())
            }))
        })
    }

    /// Has a call get the events of a pattern's topics, behind what was queued for it so far, until it
    /// ends; its response headers leave. Throws `MILLRACE_PATTERN_ILLEGAL`, `MILLRACE_GROUP_ILLEGAL`,
    /// `MILLRACE_TOPICS_NOT_RETAINED`, `MILLRACE_START_OUT_OF_RANGE` or
    /// `MILLRACE_SUBSCRIPTIONS_FULL`. Nothing happens if the call is over.
    #[napi]
    pub fn subscribe(
        &self,
        call: u32,
        topics: &NativeTopics,
        subscription: NativeSubscription,
    ) -> Result<()> {
        guard(|| unless_closed(topics::subscribe(&self.host, call, topics, &subscription)))
    }

    /// The metadata block of a call's request headers (a client's: of its response headers); null
    /// when it has none or is over.
    #[napi(ts_return_type = "Buffer | null")]
    pub fn metadata<'env>(&self, env: &'env Env, call: u32) -> Result<Option<BufferSlice<'env>>> {
        guard(|| {
            let block = self.host.read(|engine| engine.metadata(call))?.flatten();
            buffer(env, block)
        })
    }

    /// The peer's address and port; null when the call is over.
    #[napi(ts_return_type = "string | null")]
    pub fn peer(&self, call: u32) -> Result<Option<String>> {
        guard(|| Ok(self.host.read(|engine| engine.peer(call))?.flatten()))
    }

    /// Who the peer is by its certificate, as JSON; null without one, or when the call is over.
    #[napi(ts_return_type = "string | null")]
    pub fn peer_identity(&self, call: u32) -> Result<Option<String>> {
        guard(|| {
            Ok(self
                .host
                .read(|engine| engine.peer_identity(call))?
                .flatten())
        })
    }

    /// Statistics as JSON; after `close()` those of the end.
    #[napi]
    pub fn stats(&self) -> Result<String> {
        guard(|| self.host.stats())
    }

    /// Stops listening and tells every peer to go; the notice `drained` says when they have.
    /// Nothing happens once the engine is closed.
    #[napi]
    pub fn drain(&self) -> Result<()> {
        guard(|| {
            unless_closed(self.host.command(|engine| {
                engine.drain();
                Ok(())
            }))
        })
    }

    /// Moves the engine's clock ahead: what it times comes due as if that much time had passed.
    /// For tests. Nothing happens once the engine is closed.
    #[napi]
    pub fn advance(&self, milliseconds: u32) -> Result<()> {
        guard(|| {
            unless_closed(self.host.command(|engine| {
                engine.advance(u64::from(milliseconds));
                Ok(())
            }))
        })
    }

    /// Ends every call and connection and detaches the views; inside `onBatch` when it is over.
    /// Again is nothing.
    #[napi]
    pub fn close(&self) -> Result<()> {
        guard(|| {
            self.host.close();
            Ok(())
        })
    }
}

/// How many engines of this process were leaked on purpose, because the kernel would not give
/// their memory back within a second or because of a defect.
#[napi]
pub fn leaked_engines() -> u32 {
    cleanup::leaked()
}

fn tls_options(tls: NativeTls) -> Result<TlsServerOptions> {
    let client_certificate = match tls.client_certificate.as_deref() {
        None => ClientCertificate::None,
        Some("request") => ClientCertificate::Request,
        Some("require") => ClientCertificate::Require,
        Some(other) => {
            return Err(error::error(
                error::OPTION,
                format!("clientCertificate is {other:?}, but has to be request or require"),
            ));
        }
    };
    Ok(TlsServerOptions {
        certificate: tls.cert.into_bytes(),
        key: tls.key.into_bytes(),
        authorities: tls.ca.map(String::into_bytes),
        client_certificate,
    })
}

fn method(method: NativeMethod) -> Result<Method> {
    let kind = match method.kind {
        0 => MethodKind::Unary,
        1 => MethodKind::ClientStreaming,
        2 => MethodKind::ServerStreaming,
        3 => MethodKind::Bidi,
        other => {
            let path = method.path;
            return Err(error::error(
                error::OPTION,
                format!("kind of {path} is {other}, but has to be from 0 to 3"),
            ));
        }
    };
    Ok(Method {
        path: method.path,
        kind,
    })
}

fn buffer(env: &Env, bytes: Option<Vec<u8>>) -> Result<Option<BufferSlice<'_>>> {
    bytes
        .map(|bytes| BufferSlice::copy_from(env, bytes))
        .transpose()
        .map_err(|failure| error::error(error::CALL, failure.reason.clone()))
}

/// A handler that outlives its server is no error.
fn unless_closed(result: Result<()>) -> Result<()> {
    match result {
        Err(failure) if failure.status.as_ref() == error::CLOSED.as_ref() => Ok(()),
        result => result,
    }
}
