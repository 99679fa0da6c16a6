//! From the options object of JavaScript's to the engine's.

use millrace_engine::{Http2Limits, Options, Role, Target, TlsClientOptions, TlsIdentity};
use napi::bindgen_prelude::{FromNapiValue, Object};

use crate::error::{self, Result};

/// Reads the limits by their camelCase names, and `driver`; what is absent or undefined keeps its
/// default.
///
/// # Errors
/// `MILLRACE_OPTION_INVALID` naming the option that is unknown or not of its type. Whether the
/// limits work together is for the engine to say.
pub(crate) fn read(object: &Object<'_>) -> Result<Options> {
    let mut options = Options::default();
    for name in Object::keys(object).map_err(|failure| invalid(failure.reason.clone()))? {
        set(&mut options, object, &name)?;
    }
    Ok(options)
}

macro_rules! limits {
    ($($limit:ident),* $(,)?) => {
        fn set(options: &mut Options, object: &Object<'_>, name: &str) -> Result<()> {
            // A limit that the engine gains and that is missing below does not compile.
            let Options { driver, role, http2, keepalive_permit_without_calls, $($limit),* } = options;
            if name == "driver" {
                if let Some(choice) = value::<String>(object, name, "a string")? {
                    *driver = choice.parse().map_err(invalid)?;
                }
                return Ok(());
            }
            if name == "role" {
                match value::<String>(object, name, "a string")?.as_deref() {
                    None => {}
                    Some("server") => *role = Role::Server,
                    Some("client") => *role = Role::Client,
                    Some(other) => {
                        return Err(invalid(format!(
                            "role is {other}, but has to be server or client"
                        )));
                    }
                }
                return Ok(());
            }
            if name == "keepalivePermitWithoutCalls" {
                set_some(keepalive_permit_without_calls, value(object, name, "a boolean")?);
                return Ok(());
            }
            if let Some(limit) = name.strip_prefix("http2.") {
                return set_http2(http2, object, name, limit);
            }
            $(
                if name == camel_case(stringify!($limit)) {
                    if let Some(number) = value::<f64>(object, name, "a number")? {
                        *$limit = whole(name, number)?;
                    }
                    return Ok(());
                }
            )*
            Err(invalid(format!("there is no option {name}")))
        }
    };
}

limits! {
    ring_buffers, ring_buffer_bytes, submission_entries, completion_entries, send_ring_entries,
    send_rings, stream_window_bytes, stream_window_bytes_max, connection_window_bytes,
    connection_budget_bytes, buffered_bytes_max, stream_unsent_bytes, connection_unsent_bytes,
    unsent_bytes_max, concurrent_streams, concurrent_calls, receive_message_bytes,
    send_message_bytes, header_list_bytes, stalled_stream_timeout_ms, send_progress_timeout_ms,
    connections, handshake_timeout_ms, max_connection_idle_ms, max_connection_age_ms,
    max_connection_age_grace_ms, keepalive_time_ms, keepalive_timeout_ms, keepalive_min_time_ms,
    keepalive_ping_strikes, reply_encoding,
}

macro_rules! http2_limits {
    ($($limit:ident),* $(,)?) => {
        /// Reads `http2.resetBurst` and its like.
        fn set_http2(
            limits: &mut Http2Limits,
            object: &Object<'_>,
            name: &str,
            limit: &str,
        ) -> Result<()> {
            $(
                if limit == camel_case(stringify!($limit)) {
                    if let Some(number) = value::<f64>(object, name, "a number")? {
                        limits.$limit = whole(name, number)?;
                    }
                    return Ok(());
                }
            )*
            Err(invalid(format!("there is no option {name}")))
        }
    };
}

// The others have names of their own above.
http2_limits! {
    header_fields, header_block_bytes, header_table_bytes, continuation_frames, settings_entries,
    reset_burst, reset_refill_per_second, reset_refill_streams, settings_per_second,
    pings_per_second, empty_data_per_second, tiny_data_per_second, window_updates_base,
    ignored_frames_per_second, control_bytes,
}

/// Reads what `open()` is given; what is absent or undefined has its default.
///
/// # Errors
/// `MILLRACE_OPTION_INVALID` naming the field that is missing, unknown or not of its type.
pub(crate) fn target(object: &Object<'_>) -> Result<Target> {
    let text = |name: &str| value::<String>(object, name, "a string");
    let milliseconds = |name: &str| match value::<f64>(object, name, "a number")? {
        Some(number) => whole::<u64>(name, number).map(Some),
        None => Ok(None),
    };
    let address = text("address")?.ok_or_else(|| invalid("address is missing".to_owned()))?;
    let mut target = Target::new(&address);
    for name in Object::keys(object).map_err(|failure| invalid(failure.reason.clone()))? {
        match name.as_str() {
            "address" => {}
            "authority" => set_some(&mut target.authority, text(&name)?),
            "userAgent" => target.user_agent = text(&name)?,
            "keepaliveTimeMs" => set_some(&mut target.keepalive_time_ms, milliseconds(&name)?),
            "keepaliveTimeoutMs" => {
                set_some(&mut target.keepalive_timeout_ms, milliseconds(&name)?);
            }
            "keepaliveWithoutCalls" => set_some(
                &mut target.keepalive_without_calls,
                value(object, &name, "a boolean")?,
            ),
            "connectTimeoutMs" => set_some(&mut target.connect_timeout_ms, milliseconds(&name)?),
            "tls" => {
                if let Some(tls) = value::<Object<'_>>(object, &name, "an object")? {
                    read_tls(&tls, &mut target)?;
                }
            }
            _ => return Err(invalid(format!("there is no field {name} in a target"))),
        }
    }
    Ok(target)
}

fn read_tls(object: &Object<'_>, target: &mut Target) -> Result<()> {
    let text = |name: &str| value::<String>(object, name, "a string");
    target.server_name = text("serverName")?;
    let identity = match (text("cert")?, text("key")?) {
        (Some(certificate), Some(key)) => Some(TlsIdentity {
            certificate: certificate.into_bytes(),
            key: key.into_bytes(),
        }),
        (None, None) => None,
        _ => return Err(invalid("cert and key go together".to_owned())),
    };
    target.tls = Some(TlsClientOptions {
        authorities: text("ca")?.map(String::into_bytes),
        identity,
    });
    Ok(())
}

fn set_some<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn value<T: FromNapiValue>(object: &Object<'_>, name: &str, wanted: &str) -> Result<Option<T>> {
    object
        .get::<T>(name)
        .map_err(|_| invalid(format!("{name} has to be {wanted}")))
}

/// The number as the limit's own type, where it is whole and fits.
fn whole<T: TryFrom<u64>>(name: &str, number: f64) -> Result<T> {
    // Up to here every whole number has a double of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let fits = (0.0..=EXACT).contains(&number) && number.fract() == 0.0;
    fits.then_some(number as u64)
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| {
            let most = match size_of::<T>() {
                2 => u64::from(u16::MAX),
                4 => u64::from(u32::MAX),
                _ => EXACT as u64,
            };
            invalid(format!(
                "{name} is {number}, but has to be a whole number from 0 to {most}"
            ))
        })
}

/// `ring_buffer_bytes` as `ringBufferBytes`.
fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        camel.push_str(&word[..1].to_ascii_uppercase());
        camel.push_str(&word[1..]);
    }
    camel
}

fn invalid(message: String) -> napi::Error<error::Code> {
    error::error(error::OPTION, message)
}
