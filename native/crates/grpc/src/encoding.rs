//! Message encodings (compression.md of the gRPC project; the names are those of PROTOCOL-HTTP2).

/// How a message's bytes are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    #[default]
    Identity = 0,
    /// RFC 1952.
    Gzip = 1,
    /// The zlib format, RFC 1950, which is what gRPC calls deflate.
    Deflate = 2,
}

/// All of them, as `grpc-accept-encoding` lists them.
pub const ENCODINGS: &[u8] = b"identity,deflate,gzip";

impl Encoding {
    /// The encoding that a `grpc-encoding` field names, if it is built in.
    pub fn parse(name: &[u8]) -> Option<Self> {
        match name {
            b"identity" => Some(Self::Identity),
            b"gzip" => Some(Self::Gzip),
            b"deflate" => Some(Self::Deflate),
            _ => None,
        }
    }

    /// The encoding with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::Identity, Self::Gzip, Self::Deflate]
            .into_iter()
            .find(|encoding| *encoding as u32 == number)
    }

    /// As it stands on the wire.
    pub fn name(self) -> &'static [u8] {
        match self {
            Self::Identity => b"identity",
            Self::Gzip => b"gzip",
            Self::Deflate => b"deflate",
        }
    }
}

/// The encodings that a peer takes. Everybody takes identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted(u8);

impl Accepted {
    /// Reads a `grpc-accept-encoding` list; names that are unknown here are passed over.
    pub fn read(list: &[u8]) -> Self {
        let mut accepted = 0;
        for name in list.split(|&byte| byte == b',') {
            if let Some(encoding) = Encoding::parse(name.trim_ascii()) {
                accepted |= 1 << encoding as u8;
            }
        }
        Self(accepted)
    }

    /// Whether the peer takes it.
    pub fn contains(self, encoding: Encoding) -> bool {
        encoding == Encoding::Identity || self.0 & 1 << encoding as u8 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_is_listed_and_has_its_name_and_number() {
        let listed = Accepted::read(ENCODINGS);
        for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Deflate] {
            assert!(listed.contains(encoding));
            assert_eq!(Encoding::parse(encoding.name()), Some(encoding));
            assert_eq!(Encoding::from_number(encoding as u32), Some(encoding));
        }
        assert_eq!(Encoding::from_number(3), None);
        assert_eq!(Encoding::parse(b"snappy"), None);
    }

    #[test]
    fn a_list_may_have_spaces_and_unknown_names() {
        let accepted = Accepted::read(b"br, gzip ,,zstd");
        assert!(accepted.contains(Encoding::Gzip));
        assert!(accepted.contains(Encoding::Identity));
        assert!(!accepted.contains(Encoding::Deflate));
        assert!(!Accepted::default().contains(Encoding::Gzip));
    }
}
