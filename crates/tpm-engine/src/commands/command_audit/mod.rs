//! Command audit (Part 3, 21).

mod set_command_code_audit_status;
