//! NV storage (Part 3, 31).

mod nv_certify;
mod nv_change_auth;
mod nv_define_space;
mod nv_define_space2;
mod nv_extend;
mod nv_global_write_lock;
mod nv_increment;
mod nv_read;
mod nv_read_lock;
mod nv_read_public;
mod nv_read_public2;
mod nv_set_bits;
mod nv_undefine_space;
mod nv_undefine_space_special;
mod nv_write;
mod nv_write_lock;
