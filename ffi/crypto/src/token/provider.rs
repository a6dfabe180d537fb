//! OpenSSL's view of a key that is elsewhere: a provider, built in, that has EC keys without a private part and signs by
//! asking. It is no file that is loaded, so it works in a static OpenSSL with hidden symbols as in a shared one.
//!
//! The names and numbers are those of `openssl/core_dispatch.h` and `core_names.h`, which do not change within the ABI.
//! OpenSSL hands the pointers that `key_new` and `context_new` gave back to the functions below, and to nobody else.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_uchar, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use foreign_types::ForeignType as _;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::provider::Provider;
use openssl_sys::{self as ffi, OSSL_PARAM};

use super::abi::{
    Algorithm, Dispatch, END, Kind, OSSL_PARAM_set_int, OSSL_PARAM_set_octet_string,
    OSSL_PARAM_set_utf8_string, OSSL_PROVIDER_add_builtin, Table, Take, algorithms, described,
    param, table,
};
use super::public::{Curve, Public};

/// Who makes signatures.
pub(crate) trait Sign: Send + Sync {
    /// The signature of a digest, as DER; `None` where there is none to be had. May block.
    fn sign(&self, digest: &[u8]) -> Option<Vec<u8>>;
}

/// Name of the provider. It must sort behind "default": of two that have EC, OpenSSL takes the first where it has the
/// choice, and this one cannot make keys or judge signatures.
const NAME: &CStr = c"dunlin-token";
const PROPERTIES: &CStr = c"provider=dunlin-token";
const GROUP: &CStr = c"group";
const POINT: &CStr = c"pub";
const SIGNER: &CStr = c"dunlin-signer";

/// Signers on their way into a key: OpenSSL carries a number.
static SIGNERS: Mutex<BTreeMap<u64, Arc<dyn Sign>>> = Mutex::new(BTreeMap::new());
static NEXT_SIGNER: AtomicU64 = AtomicU64::new(1);

fn signers() -> std::sync::MutexGuard<'static, BTreeMap<u64, Arc<dyn Sign>>> {
    SIGNERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A private key that signs by `signer`.
pub(super) fn private_key(
    public: &Public,
    signer: Arc<dyn Sign>,
) -> Result<PKey<Private>, ErrorStack> {
    load()?;
    let number = NEXT_SIGNER.fetch_add(1, Ordering::Relaxed);
    signers().insert(number, signer);
    let made = from_data(public, number);
    signers().remove(&number);
    made
}

fn from_data(public: &Public, signer: u64) -> Result<PKey<Private>, ErrorStack> {
    let signer = signer.to_ne_bytes();
    let mut params = [
        param(GROUP, &Kind::Utf8, public.curve.group().to_bytes()),
        param(POINT, &Kind::Octets, &public.point),
        param(SIGNER, &Kind::Octets, &signer),
        END,
    ];
    // SAFETY: the name and the properties are strings that end; a null context is the default one.
    let context = unsafe {
        ffi::EVP_PKEY_CTX_new_from_name(ptr::null_mut(), c"EC".as_ptr(), PROPERTIES.as_ptr())
    };
    if context.is_null() {
        return Err(ErrorStack::get());
    }
    let mut key = ptr::null_mut();
    // SAFETY: the context is not null and is ours.
    let ready = unsafe { ffi::EVP_PKEY_fromdata_init(context) } > 0;
    let made = ready && {
        let (into, from) = (&raw mut key, params.as_mut_ptr());
        // SAFETY: `from` is an array that ends with an empty key, and what it points to outlives the call.
        unsafe { ffi::EVP_PKEY_fromdata(context, into, ffi::EVP_PKEY_KEYPAIR, from) > 0 }
    };
    // SAFETY: made above, not used any more.
    unsafe { ffi::EVP_PKEY_CTX_free(context) };
    if !made || key.is_null() {
        return Err(ErrorStack::get());
    }
    // SAFETY: OpenSSL made the key and left it to us.
    Ok(unsafe { PKey::from_ptr(key) })
}

/// Makes the provider known, once a process, behind OpenSSL's own, which would not come by itself any more.
fn load() -> Result<(), ErrorStack> {
    static LOADED: OnceLock<(Provider, Provider)> = OnceLock::new();
    static LOADING: Mutex<()> = Mutex::new(());
    let _turn = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    if LOADED.get().is_some() {
        return Ok(());
    }
    let own = Provider::load(None, "default")?;
    // SAFETY: the name is a string that ends; the function is of the type that OpenSSL asks for, and lives for ever.
    if unsafe { OSSL_PROVIDER_add_builtin(ptr::null_mut(), NAME.as_ptr(), start) } <= 0 {
        return Err(ErrorStack::get());
    }
    let token = Provider::load(None, &NAME.to_string_lossy())?;
    // Nobody else sets it: this thread has the turn.
    let _ = LOADED.set((own, token));
    Ok(())
}

static PROVIDER: Table<Dispatch, 2> = table! { 1027 => query: operations, };

static KEYS: Table<Dispatch, 12> = table! {
    1 => make: key_new,
    10 => free: key_free,
    11 => get: key_get,
    12 => gettable: key_gettable,
    20 => name: key_operation,
    21 => has: key_has,
    23 => matches: key_matches,
    40 => import: key_import,
    41 => types: key_types,
    42 => export: key_export,
    43 => types: key_types,
};

static SIGNATURES: Table<Dispatch, 5> = table! {
    1 => make_for: context_new,
    8 => sign_init: context_init,
    11 => sign: context_sign,
    16 => free: context_free,
};

static KEY_ALGORITHMS: Table<Algorithm, 2> = algorithms(
    c"EC:id-ecPublicKey:1.2.840.10045.2.1",
    PROPERTIES,
    KEYS.0.as_ptr(),
);
static SIGNATURE_ALGORITHMS: Table<Algorithm, 2> =
    algorithms(c"ECDSA", PROPERTIES, SIGNATURES.0.as_ptr());

static KEY_TYPES: Table<OSSL_PARAM, 4> = Table([
    described(GROUP, &Kind::Utf8),
    described(POINT, &Kind::Octets),
    described(SIGNER, &Kind::Octets),
    END,
]);

static KEY_GETTABLE: Table<OSSL_PARAM, 8> = Table([
    described(c"bits", &Kind::Integer),
    described(c"security-bits", &Kind::Integer),
    described(c"max-size", &Kind::Integer),
    described(GROUP, &Kind::Utf8),
    described(c"default-digest", &Kind::Utf8),
    described(POINT, &Kind::Octets),
    described(c"encoded-pub-key", &Kind::Octets),
    END,
]);

// === the provider ===

extern "C" fn start(
    _core: *const c_void,
    _offered: *const Dispatch,
    functions: *mut *const Dispatch,
    context: *mut *mut c_void,
) -> c_int {
    // SAFETY: OpenSSL gives two places to fill.
    unsafe { functions.write(PROVIDER.0.as_ptr()) };
    // SAFETY: as above. There is nothing to keep, but null would mean a failure.
    unsafe { context.write(ptr::from_ref(&PROVIDER).cast_mut().cast()) };
    1
}

extern "C" fn operations(
    _context: *mut c_void,
    operation: c_int,
    no_cache: *mut c_int,
) -> *const Algorithm {
    // SAFETY: OpenSSL gives a place for whether the answer may change.
    unsafe { no_cache.write(0) };
    match operation {
        10 => KEY_ALGORITHMS.0.as_ptr(),
        12 => SIGNATURE_ALGORITHMS.0.as_ptr(),
        _ => ptr::null(),
    }
}

/// Selections, `openssl/core_dispatch.h`.
const SELECT_PRIVATE: c_int = 1;
const SELECT_PUBLIC: c_int = 2;

/// A key as OpenSSL holds it: empty, until it is imported.
#[derive(Default)]
struct Key {
    public: Option<Public>,
    signer: Option<Arc<dyn Sign>>,
}

/// The key behind a pointer of OpenSSL's.
///
/// # Safety
/// `key` came from `key_new` and was not freed.
unsafe fn key<'a>(key: *const c_void) -> &'a Key {
    // SAFETY: the caller's promise; a key is written only by `key_import`, before anybody else has it.
    unsafe { &*key.cast::<Key>() }
}

extern "C" fn key_new(_provider: *mut c_void) -> *mut c_void {
    Box::into_raw(Box::<Key>::default()).cast()
}

unsafe extern "C" fn key_free(key: *mut c_void) {
    if !key.is_null() {
        // SAFETY: it came from `key_new`, and OpenSSL frees it once.
        drop(unsafe { Box::from_raw(key.cast::<Key>()) });
    }
}

extern "C" fn key_operation(operation: c_int) -> *const c_char {
    if operation == 12 {
        c"ECDSA".as_ptr()
    } else {
        ptr::null()
    }
}

extern "C" fn key_types(_selection: c_int) -> *const OSSL_PARAM {
    KEY_TYPES.0.as_ptr()
}

extern "C" fn key_gettable(_provider: *mut c_void) -> *const OSSL_PARAM {
    KEY_GETTABLE.0.as_ptr()
}

unsafe extern "C" fn key_has(of: *const c_void, selection: c_int) -> c_int {
    // SAFETY: OpenSSL hands back what `key_new` gave.
    let key = unsafe { key(of) };
    let public = selection & SELECT_PUBLIC == 0 || key.public.is_some();
    let private = selection & SELECT_PRIVATE == 0 || key.signer.is_some();
    (public && private).into()
}

unsafe extern "C" fn key_matches(one: *const c_void, other: *const c_void, _: c_int) -> c_int {
    // SAFETY: OpenSSL hands back what `key_new` gave.
    let one = unsafe { key(one) };
    // SAFETY: as above.
    let other = unsafe { key(other) };
    (one.public.is_some() && one.public == other.public).into()
}

/// The bytes of a parameter, of either kind of data.
///
/// # Safety
/// `params` ends with an empty key, and what it points to outlives what is returned.
unsafe fn bytes<'a>(params: *const OSSL_PARAM, key: &CStr) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    let found = unsafe { ffi::OSSL_PARAM_locate_const(params, key.as_ptr()) };
    // SAFETY: null, or an element of the array.
    let found = unsafe { found.as_ref() }?;
    if found.data.is_null() {
        return None;
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "OpenSSL's own length, not a driver's"
    )]
    // SAFETY: a parameter has as many bytes as it says.
    let bytes = unsafe { std::slice::from_raw_parts(found.data.cast(), found.data_size) };
    Some(bytes)
}

unsafe extern "C" fn key_import(
    into: *mut c_void,
    _selection: c_int,
    params: *const OSSL_PARAM,
) -> c_int {
    // SAFETY: OpenSSL's parameters end with an empty key and outlive this call.
    let [group, point, signer] = [GROUP, POINT, SIGNER].map(|name| unsafe { bytes(params, name) });
    let curve = [Curve::P256, Curve::P384]
        .into_iter()
        .find(|curve| group == Some(curve.group().to_bytes()));
    let public = curve
        .zip(point)
        .and_then(|(curve, point)| Public::new(curve, point));
    let number = signer.and_then(|bytes| Some(u64::from_ne_bytes(bytes.try_into().ok()?)));
    let imported = Key {
        public,
        signer: number.and_then(|number| signers().get(&number).cloned()),
    };
    let whole = imported.public.is_some();
    // SAFETY: it came from `key_new`, and nobody else has it while it is imported into.
    unsafe { *into.cast::<Key>() = imported };
    whole.into()
}

/// Public parts only: where the private one is asked for too, there is nothing to give.
unsafe extern "C" fn key_export(
    of: *mut c_void,
    selection: c_int,
    take: Take,
    for_whom: *mut c_void,
) -> c_int {
    // SAFETY: OpenSSL hands back what `key_new` gave.
    let key = unsafe { key(of) };
    let Some(public) = &key.public else { return 0 };
    if selection & SELECT_PRIVATE != 0 && key.signer.is_some() {
        return 0;
    }
    let params = [
        param(GROUP, &Kind::Utf8, public.curve.group().to_bytes()),
        param(POINT, &Kind::Octets, &public.point),
        END,
    ];
    // SAFETY: the parameters live until the call returns, as the callback's contract has it.
    unsafe { take(params.as_ptr(), for_whom) }
}

unsafe extern "C" fn key_get(of: *mut c_void, params: *mut OSSL_PARAM) -> c_int {
    // SAFETY: OpenSSL hands back what `key_new` gave.
    let key = unsafe { key(of) };
    let Some(public) = &key.public else { return 0 };
    let curve = public.curve;
    // SAFETY: OpenSSL's parameters end with an empty key.
    let place = |name: &CStr| unsafe { ffi::OSSL_PARAM_locate(params, name.as_ptr()) };
    let bits = c_int::try_from(8 * curve.coordinate_bytes()).unwrap_or(0);
    let size = c_int::try_from(curve.signature_bytes_max()).unwrap_or(0);
    let mut good = true;
    for (name, value) in [
        (c"bits", bits),
        (c"security-bits", bits / 2),
        (c"max-size", size),
    ] {
        let into = place(name);
        // SAFETY: the place is an element of the array.
        good &= into.is_null() || unsafe { OSSL_PARAM_set_int(into, value) } > 0;
    }
    for (name, value) in [
        (GROUP, curve.group()),
        (c"default-digest", curve.digest_name()),
    ] {
        let into = place(name);
        let value = value.as_ptr();
        // SAFETY: the place is an element of the array, the value a string that ends.
        good &= into.is_null() || unsafe { OSSL_PARAM_set_utf8_string(into, value) } > 0;
    }
    for name in [POINT, c"encoded-pub-key"] {
        let into = place(name);
        let (from, length) = (public.point.as_ptr().cast(), public.point.len());
        // SAFETY: the place is an element of the array, the value has that many bytes.
        good &= into.is_null() || unsafe { OSSL_PARAM_set_octet_string(into, from, length) } > 0;
    }
    good.into()
}

/// A signature under way.
#[derive(Default)]
struct Context(Option<(Curve, Arc<dyn Sign>)>);

extern "C" fn context_new(_provider: *mut c_void, _properties: *const c_char) -> *mut c_void {
    Box::into_raw(Box::<Context>::default()).cast()
}

unsafe extern "C" fn context_free(context: *mut c_void) {
    if !context.is_null() {
        // SAFETY: it came from `context_new`, and OpenSSL frees it once.
        drop(unsafe { Box::from_raw(context.cast::<Context>()) });
    }
}

unsafe extern "C" fn context_init(
    context: *mut c_void,
    digest: *const c_char,
    of: *mut c_void,
    _params: *const OSSL_PARAM,
) -> c_int {
    if of.is_null() {
        return 0;
    }
    // SAFETY: OpenSSL hands back what `key_new` gave.
    let key = unsafe { key(of) };
    let (Some(public), Some(signer)) = (&key.public, &key.signer) else {
        return 0;
    };
    let curve = public.curve;
    if !digest.is_null() {
        // SAFETY: a name is a string that ends.
        let name = unsafe { CStr::from_ptr(digest) };
        // "SHA256", or as newer versions say, "SHA2-256".
        let plain = name.to_string_lossy().replace("SHA2-", "SHA");
        if !plain.eq_ignore_ascii_case(&curve.digest_name().to_string_lossy()) {
            return 0;
        }
    }
    let begun = Context(Some((curve, Arc::clone(signer))));
    // SAFETY: it came from `context_new`, and one thread uses a context at a time.
    unsafe { *context.cast::<Context>() = begun };
    1
}

/// Without a place for it, the longest that a signature may be.
unsafe extern "C" fn context_sign(
    context: *mut c_void,
    signature: *mut c_uchar,
    length: *mut usize,
    room: usize,
    data: *const c_uchar,
    data_length: usize,
) -> c_int {
    // SAFETY: it came from `context_new`, and one thread uses a context at a time.
    let context = unsafe { &*context.cast::<Context>() };
    let Some((curve, signer)) = &context.0 else {
        return 0;
    };
    if signature.is_null() {
        // SAFETY: OpenSSL gives a place for the length.
        unsafe { length.write(curve.signature_bytes_max()) };
        return 1;
    }
    let data = if data_length == 0 {
        &[]
    } else {
        #[expect(
            clippy::disallowed_methods,
            reason = "OpenSSL's own length, not a driver's"
        )]
        // SAFETY: the data has as many bytes as OpenSSL says.
        unsafe {
            std::slice::from_raw_parts(data, data_length)
        }
    };
    let Some(made) = signer.sign(&curve.digest(data)) else {
        return 0;
    };
    if made.len() > room {
        return 0;
    }
    // SAFETY: there is room for it, and it is no memory of OpenSSL's.
    unsafe { ptr::copy_nonoverlapping(made.as_ptr(), signature, made.len()) };
    // SAFETY: OpenSSL gives a place for the length.
    unsafe { length.write(made.len()) };
    1
}

#[cfg(test)]
mod tests;
