//! Contexts (Part 3, 28).

mod context_load;
mod context_save;
mod evict_control;
mod flush_context;
