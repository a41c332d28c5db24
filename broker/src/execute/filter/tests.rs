//! Filters against DataFusion's own evaluation.
