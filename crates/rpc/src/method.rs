//! The methods there are, and how large their messages may be.

/// One method of one service.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) service: &'static str,
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
}

/// Bytes of the messages of one service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageLimits {
    /// What the server reads.
    pub(crate) request_len_max: usize,
    /// What the server writes and the client reads.
    pub(crate) response_len_max: usize,
}

const MIB: usize = 1 << 20;

/// Requests are a number; an answer is at most 65,536 ids of 8 bytes.
pub(crate) const IDS: MessageLimits = MessageLimits { request_len_max: 64 << 10, response_len_max: MIB };
/// A thousand links of a bulk; a list of a thousand.
pub(crate) const LINKS: MessageLimits = MessageLimits { request_len_max: 16 * MIB, response_len_max: 32 * MIB };
/// Batches: see [`crate::resolver`] for what keeps them below.
pub(crate) const RESOLVER: MessageLimits = MessageLimits { request_len_max: MIB, response_len_max: 4 * MIB };
pub(crate) const STATS: MessageLimits = MessageLimits { request_len_max: MIB, response_len_max: MIB };

macro_rules! methods {
    ($service:literal: $($constant:ident = $name:literal;)*) => {
        $(pub(crate) const $constant: Method =
            Method { service: $service, name: $name, path: concat!("/terse.v1.", $service, "/", $name) };)*
    };
}

pub(crate) mod ids {
    use super::Method;
    methods! { "Ids": NEXT_IDS = "NextIds"; LEASE_CODES = "LeaseCodes"; }
}

pub(crate) mod links {
    use super::Method;
    methods! { "Links":
        CREATE = "Create"; BULK_CREATE = "BulkCreate"; GET = "Get"; LOOKUP = "Lookup"; LIST = "List"; UPDATE = "Update";
        DELETE = "Delete"; RESTORE = "Restore"; BLOCK = "Block"; BULK_DELETE = "BulkDelete"; GET_JOB = "GetJob"; TAGS = "Tags";
        ANY_IN_DOMAIN = "AnyInDomain";
    }
}

pub(crate) mod resolver {
    use super::Method;
    methods! { "Resolver": RESOLVE = "Resolve"; RESOLVE_ONE = "ResolveOne"; }
}

pub(crate) mod stats {
    use super::Method;
    methods! { "Stats":
        LINK_STATS = "LinkStats"; TOTALS = "Totals"; BREAKDOWN = "Breakdown"; TOP_LINKS = "TopLinks"; IMPORT_HISTORY = "ImportHistory";
    }
}
