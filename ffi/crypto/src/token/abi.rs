//! What `openssl-sys` lacks for writing a provider: the tables of openssl/core.h, and three setters of parameters.

use std::ffi::{CStr, c_char, c_int, c_uchar, c_uint, c_void};
use std::ptr;

use openssl_sys::{self as ffi, OSSL_PARAM};

#[repr(C)]
pub(super) struct Dispatch {
    pub(super) id: c_int,
    pub(super) function: Function,
}

/// One function of a table. A union, since C casts between the types of functions, and Rust need not.
#[repr(C)]
pub(super) union Function {
    pub(super) end: usize,
    pub(super) query: extern "C" fn(*mut c_void, c_int, *mut c_int) -> *const Algorithm,
    pub(super) make: extern "C" fn(*mut c_void) -> *mut c_void,
    pub(super) make_for: extern "C" fn(*mut c_void, *const c_char) -> *mut c_void,
    pub(super) free: unsafe extern "C" fn(*mut c_void),
    pub(super) has: unsafe extern "C" fn(*const c_void, c_int) -> c_int,
    pub(super) matches: unsafe extern "C" fn(*const c_void, *const c_void, c_int) -> c_int,
    pub(super) import: unsafe extern "C" fn(*mut c_void, c_int, *const OSSL_PARAM) -> c_int,
    pub(super) export: unsafe extern "C" fn(*mut c_void, c_int, Take, *mut c_void) -> c_int,
    pub(super) types: extern "C" fn(c_int) -> *const OSSL_PARAM,
    pub(super) get: unsafe extern "C" fn(*mut c_void, *mut OSSL_PARAM) -> c_int,
    pub(super) gettable: extern "C" fn(*mut c_void) -> *const OSSL_PARAM,
    pub(super) name: extern "C" fn(c_int) -> *const c_char,
    pub(super) sign_init:
        unsafe extern "C" fn(*mut c_void, *const c_char, *mut c_void, *const OSSL_PARAM) -> c_int,
    pub(super) sign: unsafe extern "C" fn(
        *mut c_void,
        *mut c_uchar,
        *mut usize,
        usize,
        *const c_uchar,
        usize,
    ) -> c_int,
}

pub(super) type Take = unsafe extern "C" fn(*const OSSL_PARAM, *mut c_void) -> c_int;

#[repr(C)]
pub(super) struct Algorithm {
    pub(super) names: *const c_char,
    pub(super) properties: *const c_char,
    pub(super) functions: *const Dispatch,
    pub(super) description: *const c_char,
}

pub(super) type Start = unsafe extern "C" fn(
    *const c_void,
    *const Dispatch,
    *mut *const Dispatch,
    *mut *mut c_void,
) -> c_int;

unsafe extern "C" {
    pub(super) fn OSSL_PROVIDER_add_builtin(
        context: *mut ffi::OSSL_LIB_CTX,
        name: *const c_char,
        start: Start,
    ) -> c_int;
    pub(super) fn OSSL_PARAM_set_int(param: *mut OSSL_PARAM, value: c_int) -> c_int;
    pub(super) fn OSSL_PARAM_set_utf8_string(param: *mut OSSL_PARAM, value: *const c_char)
    -> c_int;
    pub(super) fn OSSL_PARAM_set_octet_string(
        param: *mut OSSL_PARAM,
        value: *const c_void,
        length: usize,
    ) -> c_int;
}

/// A table that is never written.
pub(super) struct Table<T, const N: usize>(pub(super) [T; N]);

// SAFETY: what the pointers in it lead to is static and never written.
unsafe impl<T, const N: usize> Sync for Table<T, N> {}

pub(super) enum Kind {
    Integer,
    Utf8,
    Octets,
}

pub(super) const fn described(key: &'static CStr, kind: &Kind) -> OSSL_PARAM {
    let data_type: c_uint = match kind {
        Kind::Integer => 1,
        Kind::Utf8 => 4,
        Kind::Octets => 5,
    };
    OSSL_PARAM {
        key: key.as_ptr(),
        data_type,
        data: ptr::null_mut(),
        data_size: 0,
        return_size: usize::MAX,
    }
}

/// Data for OpenSSL to read; it must outlive the parameter.
pub(super) fn param(key: &'static CStr, kind: &Kind, data: &[u8]) -> OSSL_PARAM {
    OSSL_PARAM {
        data: data.as_ptr().cast_mut().cast(),
        data_size: data.len(),
        ..described(key, kind)
    }
}

pub(super) const END: OSSL_PARAM = OSSL_PARAM {
    key: ptr::null(),
    data_type: 0,
    data: ptr::null_mut(),
    data_size: 0,
    return_size: 0,
};

pub(super) const LAST: Dispatch = Dispatch {
    id: 0,
    function: Function { end: 0 },
};

pub(super) const fn algorithms(
    names: &'static CStr,
    properties: &'static CStr,
    functions: *const Dispatch,
) -> Table<Algorithm, 2> {
    let none = ptr::null();
    Table([
        Algorithm {
            names: names.as_ptr(),
            properties: properties.as_ptr(),
            functions,
            description: none,
        },
        Algorithm {
            names: none,
            properties: none,
            functions: ptr::null(),
            description: none,
        },
    ])
}

macro_rules! table {
    ($($id:literal => $kind:ident: $function:expr,)*) => {
        $crate::token::abi::Table([
            $($crate::token::abi::Dispatch {
                id: $id,
                function: $crate::token::abi::Function { $kind: $function },
            },)*
            $crate::token::abi::LAST,
        ])
    };
}

pub(super) use table;
