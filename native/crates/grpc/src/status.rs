//! The 17 status codes (statuscodes.md).

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Code {
    /// Success.
    Ok = 0,
    /// The caller gave the call up.
    Cancelled = 1,
    /// An error of a foreign or unnamed kind.
    Unknown = 2,
    /// The request is wrong whatever the state of the system.
    InvalidArgument = 3,
    /// The time for the call is over.
    DeadlineExceeded = 4,
    /// What was asked for does not exist.
    NotFound = 5,
    /// What should be created exists.
    AlreadyExists = 6,
    /// The caller is known and may not do this.
    PermissionDenied = 7,
    /// A quota, limit or budget is used up.
    ResourceExhausted = 8,
    /// The system is not in the state that the call needs.
    FailedPrecondition = 9,
    /// A conflict with another call; try again from the top.
    Aborted = 10,
    /// Past the end of something.
    OutOfRange = 11,
    /// The method does not exist or is not built.
    Unimplemented = 12,
    /// A broken invariant, in the service or in the protocol.
    Internal = 13,
    /// The service cannot be reached now; try again.
    Unavailable = 14,
    /// Data was lost or corrupted for good.
    DataLoss = 15,
    /// The caller is not known.
    Unauthenticated = 16,
}

const CODES: [(Code, &str, &str); 17] = [
    (Code::Ok, "0", "OK"),
    (Code::Cancelled, "1", "CANCELLED"),
    (Code::Unknown, "2", "UNKNOWN"),
    (Code::InvalidArgument, "3", "INVALID_ARGUMENT"),
    (Code::DeadlineExceeded, "4", "DEADLINE_EXCEEDED"),
    (Code::NotFound, "5", "NOT_FOUND"),
    (Code::AlreadyExists, "6", "ALREADY_EXISTS"),
    (Code::PermissionDenied, "7", "PERMISSION_DENIED"),
    (Code::ResourceExhausted, "8", "RESOURCE_EXHAUSTED"),
    (Code::FailedPrecondition, "9", "FAILED_PRECONDITION"),
    (Code::Aborted, "10", "ABORTED"),
    (Code::OutOfRange, "11", "OUT_OF_RANGE"),
    (Code::Unimplemented, "12", "UNIMPLEMENTED"),
    (Code::Internal, "13", "INTERNAL"),
    (Code::Unavailable, "14", "UNAVAILABLE"),
    (Code::DataLoss, "15", "DATA_LOSS"),
    (Code::Unauthenticated, "16", "UNAUTHENTICATED"),
];

impl Code {
    /// The code with this number; a number that is no code is [`Code::Unknown`].
    #[inline]
    pub fn from_number(number: u32) -> Code {
        CODES
            .get(number as usize)
            .map_or(Code::Unknown, |entry| entry.0)
    }

    /// Reads a `grpc-status` value: a decimal number without leading zeros. Anything else is
    /// [`Code::Unknown`], since a status that cannot be read still ends the call.
    pub fn from_bytes(value: &[u8]) -> Code {
        CODES
            .iter()
            .find(|entry| entry.1.as_bytes() == value)
            .map_or(Code::Unknown, |entry| entry.0)
    }

    /// The number as it stands in `grpc-status`.
    #[inline]
    pub fn as_bytes(self) -> &'static [u8] {
        CODES[self as usize].1.as_bytes()
    }

    /// The number.
    #[inline]
    pub fn number(self) -> u32 {
        self as u32
    }

    /// The name as people write it, such as `RESOURCE_EXHAUSTED`.
    pub fn name(self) -> &'static str {
        CODES[self as usize].2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_reads_back() {
        for (index, (code, text, _)) in CODES.iter().enumerate() {
            assert_eq!(*code as usize, index);
            assert_eq!(text.parse::<usize>().unwrap(), index);
            assert_eq!(Code::from_number(index as u32), *code);
            assert_eq!(Code::from_bytes(code.as_bytes()), *code);
        }
    }

    #[test]
    fn what_is_no_code_is_unknown() {
        assert_eq!(Code::from_number(17), Code::Unknown);
        for value in [
            "",
            "00",
            "01",
            "17",
            "-1",
            "+3",
            "3 ",
            "x",
            "99999999999999",
        ] {
            assert_eq!(Code::from_bytes(value.as_bytes()), Code::Unknown, "{value}");
        }
    }
}
