//! Self-test (Part 3, 10).

mod get_test_result;
mod incremental_self_test;
mod self_test;
