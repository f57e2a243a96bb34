//! What the product is about. Each type is valid by construction.

mod click;
mod domain;
mod draft;
mod key;
mod link;
mod stats;
mod text;

pub use click::*;
pub use domain::*;
pub use draft::*;
pub use key::*;
pub use link::*;
pub use stats::*;
pub use text::*;

pub use crate::code::{Code, CodeKind, Slug};
pub use crate::target::Target;
