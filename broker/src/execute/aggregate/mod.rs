//! Filter, GROUP BY and aggregate functions fused, on the codes of a table's segments.
//!
//! ```text
//! AggregateExec(Partial) ─ ProjectionExec* ─ SegmentScanExec   becomes   SegmentAggregateExec
//!
//! per query      plan       expressions over the table's columns              → Fragment
//! per segment    fragment   filter, keys and arguments compiled to its codes  → Prepared
//! per block      state      filter → selection → groups of its rows → accumulators
//! distinct       distinct   (group, value) of the rows → a set of pairs
//! many groups    spread     rows put aside by the hash of their keys, each partition grouped by itself in the end
//! few groups     counting   the values of all partitions, share by share, by whoever asks next
//! at the end     state      groups with rows → keys and states, as DataFusion's partial aggregate has them
//!                merge      or the groups of all partitions put together → keys and values
//! ```
//!
//! Each partition has groups of its own and pulls morsels until there are none. What a number of a key means is the same
//! for all, so in the end they merge their groups themselves ([`SegmentMergeExec`]), each hash partition by whoever is
//! free. Groups may be handed out before the end (a segment's columns have another form, memory is short): then a group may
//! come twice, and DataFusion's final aggregate merges the states.
//!
//! **Architecture Invariant:** what a row contributes is decided by expressions as SQL defines them; whether it is found
//! by code, by arithmetic on whole blocks or by DataFusion's evaluation changes the speed only. No expression is
//! evaluated for a row that the filter does not select, except by code, where an error falls back to the rows.

mod accumulator;
mod argument;
mod counting;
mod distinct;
mod exec;
mod fragment;
mod grouping;
mod key_values;
mod keys;
mod merge;
mod merge_exec;
mod merging;
mod numbers;
mod outcome;
mod packed;
mod pairs;
mod plan;
mod program;
mod reader;
mod results;
mod spread;
mod state;
mod stock;
mod table;
#[cfg(test)]
mod tests;
mod value_list;
mod values;
mod worker;

pub(crate) use exec::SegmentAggregateExec;
pub(crate) use key_values::KeptKeyValues;
pub(crate) use merge_exec::SegmentMergeExec;
pub(crate) use results::ResultCache;
