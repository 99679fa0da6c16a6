//! What a header list must and must not hold (RFC 9113 sections 8.1 to 8.3).

use crate::hpack::{Class, FieldList};

/// What a well-formed list says to this layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) content_length: Option<u64>,
    /// Of a response.
    pub(crate) status: u16,
}

/// The list is malformed (RFC 9113 section 8.1.1): a stream error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Request,
    Response,
    Trailers,
}

pub(crate) fn check(list: &FieldList, part: Part) -> Result<Summary, Malformed> {
    let mut summary = Summary::default();
    let mut seen = Pseudo::default();
    let mut regular = false;
    let mut host: Option<&[u8]> = None;
    for (class, value) in list.classes() {
        if class.has_bad_value() {
            return Err(Malformed);
        }
        if class.is_pseudo() {
            if regular {
                return Err(Malformed);
            }
            let allowed = match class {
                Class::STATUS => part == Part::Response,
                Class::METHOD | Class::SCHEME | Class::PATH | Class::AUTHORITY => {
                    part == Part::Request
                }
                _ => false,
            };
            if !allowed || !seen.set(class, value) {
                return Err(Malformed);
            }
            continue;
        }
        regular = true;
        match class {
            Class::BAD_NAME | Class::CONNECTION_SPECIFIC | Class::TRANSFER_ENCODING => {
                return Err(Malformed);
            }
            Class::TE if value != b"trailers" => return Err(Malformed),
            Class::CONTENT_LENGTH if part != Part::Trailers => {
                let length = parse_length(value).ok_or(Malformed)?;
                if summary.content_length.is_some_and(|other| other != length) {
                    return Err(Malformed);
                }
                summary.content_length = Some(length);
            }
            Class::HOST => host = Some(value),
            _ => {}
        }
    }
    match part {
        Part::Request => seen.check_request(host)?,
        Part::Response => summary.status = parse_status(seen.status).ok_or(Malformed)?,
        Part::Trailers => {}
    }
    Ok(summary)
}

/// The pseudo-header fields that have been seen; an absent one is `None`.
#[derive(Default)]
struct Pseudo<'a> {
    method: Option<&'a [u8]>,
    scheme: Option<&'a [u8]>,
    path: Option<&'a [u8]>,
    authority: Option<&'a [u8]>,
    status: Option<&'a [u8]>,
}

impl<'a> Pseudo<'a> {
    /// False: it had been seen.
    fn set(&mut self, class: Class, value: &'a [u8]) -> bool {
        let place = match class {
            Class::METHOD => &mut self.method,
            Class::SCHEME => &mut self.scheme,
            Class::PATH => &mut self.path,
            Class::AUTHORITY => &mut self.authority,
            _ => &mut self.status,
        };
        place.replace(value).is_none()
    }

    /// RFC 9113 sections 8.3.1 and 8.5.
    fn check_request(&self, host: Option<&[u8]>) -> Result<(), Malformed> {
        let present = |field: Option<&[u8]>| field.is_some_and(|value| !value.is_empty());
        let well_formed = if self.method == Some(b"CONNECT") {
            present(self.authority) && self.scheme.is_none() && self.path.is_none()
        } else {
            present(self.method) && present(self.scheme) && present(self.path)
        };
        let same_host = match (self.authority, host) {
            (Some(authority), Some(host)) => authority.eq_ignore_ascii_case(host),
            _ => true,
        };
        if well_formed && same_host {
            Ok(())
        } else {
            Err(Malformed)
        }
    }
}

fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 {
        return None;
    }
    value.iter().try_fold(0u64, |length, digit| {
        digit
            .is_ascii_digit()
            .then(|| length * 10 + u64::from(digit - b'0'))
    })
}

fn parse_status(value: Option<&[u8]>) -> Option<u16> {
    match value? {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
            let digit = |byte: u8| u16::from(byte - b'0');
            Some(digit(*a) * 100 + digit(*b) * 10 + digit(*c))
        }
        _ => None,
    }
}
