//! Dashboards of this node: where they are kept, and the one of the demo.

mod store;

pub(crate) use store::ObjectDashboards;
