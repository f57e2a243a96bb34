//! What a process is: everything, or one service.

use crate::config::Listen;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// All services in one process.
    Serve,
    Gateway,
    Ids,
    Links,
    Redirect,
    Analytics,
}

/// The door that a process opens besides its admin port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Public,
    Grpc { usual_port: u16 },
}

impl Role {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Gateway => "gateway",
            Self::Ids => "ids",
            Self::Links => "links",
            Self::Redirect => "redirect",
            Self::Analytics => "analytics",
        }
    }

    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::Serve => "everything in one process",
            Self::Gateway => "gateway: the public port",
            Self::Ids => "ids: ids and blocks of codes",
            Self::Links => "links: creates and changes links",
            Self::Redirect => "redirect: resolves codes",
            Self::Analytics => "analytics: counts clicks",
        }
    }

    pub(crate) const fn door(self) -> Door {
        match self {
            Self::Serve | Self::Gateway => Door::Public,
            Self::Ids => Door::Grpc { usual_port: 7001 },
            Self::Links => Door::Grpc { usual_port: 7002 },
            Self::Redirect => Door::Grpc { usual_port: 7003 },
            Self::Analytics => Door::Grpc { usual_port: 7004 },
        }
    }

    /// Where the admin port is when nothing was said.
    pub(crate) const fn usual_admin(self) -> Listen {
        Listen::local(match self {
            Self::Serve | Self::Gateway => 8081,
            Self::Ids => 8091,
            Self::Links => 8092,
            Self::Redirect => 8093,
            Self::Analytics => 8094,
        })
    }
}
