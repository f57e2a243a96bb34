//! What an examination found, as `doctor` prints it and the admin port answers it.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    Warn,
    Fail,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

/// One line: what was looked at, how it is, and the command or change that mends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub name: String,
    pub status: Status,
    pub detail: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mend: Option<String>,
}

impl Finding {
    pub fn ok(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Ok, detail: detail.into(), mend: None }
    }

    pub fn warn(name: impl Into<String>, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Warn, detail: detail.into(), mend: Some(mend.into()) }
    }

    pub fn fail(name: impl Into<String>, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Fail, detail: detail.into(), mend: Some(mend.into()) }
    }
}

/// Examines the running process, on request.
pub type Check = Arc<dyn Fn() -> BoxFuture<'static, Finding> + Send + Sync>;
