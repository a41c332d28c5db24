//! One query on several nodes: what of it goes over the wire, and which node reads what.

pub(crate) mod assignment;
pub(crate) mod codec;
