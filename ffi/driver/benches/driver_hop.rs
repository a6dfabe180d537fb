//! What the process boundary costs: samples a second and the round trip of one read, for the driver's function called as
//! C would call it, through guarded memory in this process, through the host, and, as the floor, a raw socket pair echo
//! between two processes that moves as many bytes.
//!
//! `cargo bench -p dunlin-driver --bench driver_hop`; the last columns are guarded memory / C call, which is what the
//! guards cost, and through the host / raw echo, each per round trip.

use std::ffi::CString;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dunlin_driver::{Device, Host, Library, Spec};
use dunlin_driver_sys as sys;

const ROUND: Duration = Duration::from_millis(400);
/// Bytes of one sample on the wire, and of a reply's head.
const SAMPLE_BYTES: usize = 30;
const HEAD_BYTES: usize = 12;

fn main() {
    if std::env::args().any(|argument| argument == "echo") {
        echo();
        return;
    }
    let options = vec![("mode".to_owned(), "bench".to_owned())];
    let library = PathBuf::from(env!("DUNLIN_EXAMPLE_DRIVERS")).join("hostile.so");
    let host = PathBuf::from(env!("CARGO_BIN_EXE_dunlin-driver-host"));
    let mut spec = Spec::new("bench", host, library.clone());
    spec.options.clone_from(&options);
    spec.limits.cpu_percent = None;
    // SAFETY: our own example driver, in a benchmark's process.
    let loaded = unsafe { Library::open(&library) }.expect("the driver loads");
    let mut device = Device::open(&loaded, &options).expect("the device opens");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    println!(
        "{:>6} {:>14} {:>12} {:>12} {:>9} {:>10} {:>9} {:>9} {:>10} {:>8}",
        "batch",
        "guarded/s",
        "host/s",
        "raw echo/s",
        "C us",
        "guarded us",
        "host us",
        "raw us",
        "guarded/C",
        "host/raw"
    );
    for batch in [1_u32, 64, 1024, 4096] {
        let plain = plain_call(&library, batch);
        let guarded = rate(|| {
            assert_eq!(device.read(batch, 0).expect("reads").len(), count(batch));
        });
        let hop = runtime.block_on(through_host(&spec, batch));
        let raw = raw_echo(HEAD_BYTES + count(batch) * SAMPLE_BYTES);
        let each = f64::from(batch);
        println!(
            "{batch:>6} {:>14.0} {:>12.0} {:>12.0} {:>9.2} {:>10.2} {:>9.2} {:>9.2} {:>10.2} {:>8.2}",
            guarded * each,
            hop * each,
            raw * each,
            1e6 / plain,
            1e6 / guarded,
            1e6 / hop,
            1e6 / raw,
            plain / guarded,
            raw / hop
        );
    }
}

fn count(batch: u32) -> usize {
    usize::try_from(batch).expect("a batch fits")
}

/// The driver's own function, called as C calls it: memory of the caller, no guard, no check.
fn plain_call(library: &Path, batch: u32) -> f64 {
    let path = CString::new(library.to_str().expect("UTF-8")).expect("a path");
    // SAFETY: our own example driver, loaded before by `Library::open`.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    // SAFETY: an open handle and a NUL-terminated name.
    let entry = unsafe { libc::dlsym(handle, sys::ENTRY_SYMBOL.as_ptr()) };
    // SAFETY: the table of a library that is never unloaded; `Library::open` has checked it.
    let table = unsafe { &*entry.cast::<sys::Driver>() };
    let (open, read) = (table.open.expect("open"), table.read.expect("read"));
    let option = sys::DriverOption {
        key: c"mode".as_ptr(),
        value: c"bench".as_ptr(),
    };
    let mut why = sys::Text { bytes: [0; 256] };
    let mut device = std::ptr::null_mut();
    // SAFETY: one option, a text and a place for the device, all alive during the call.
    let opened = unsafe { open(&raw const option, 1, &raw mut why, &raw mut device) };
    assert_eq!(opened, 0);
    // SAFETY: integers and a union of numbers: zero bytes are a sample.
    let mut out = vec![unsafe { std::mem::zeroed::<sys::Sample>() }; count(batch)];
    rate(|| {
        // SAFETY: an open device on its thread, room for `batch` samples.
        let got = unsafe { read(device, out.as_mut_ptr(), batch, 0) };
        assert_eq!(usize::try_from(got), Ok(count(batch)));
    })
}

/// Calls a second.
fn rate(mut call: impl FnMut()) -> f64 {
    for _ in 0..100 {
        call();
    }
    let (started, mut calls) = (Instant::now(), 0_u32);
    while started.elapsed() < ROUND {
        call();
        calls += 1;
    }
    f64::from(calls) / started.elapsed().as_secs_f64()
}

async fn through_host(spec: &Spec, batch: u32) -> f64 {
    let mut host = Host::spawn(spec).expect("the host starts");
    host.open().await.expect("the device opens");
    let (mut started, mut calls) = (Instant::now(), 0_u32);
    let mut warm = true;
    loop {
        assert_eq!(
            host.read(batch, 0).await.expect("reads").len(),
            count(batch)
        );
        calls += 1;
        if warm && calls == 100 {
            (started, calls, warm) = (Instant::now(), 0, false);
        } else if !warm && started.elapsed() >= ROUND {
            break;
        }
    }
    let rate = f64::from(calls) / started.elapsed().as_secs_f64();
    host.close().await.expect("closes");
    rate
}

/// A request of 16 bytes out, a reply of `bytes` back, blocking, stream sockets, another process.
fn raw_echo(bytes: usize) -> f64 {
    let (mut ours, theirs) = UnixStream::pair().expect("a pair");
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["echo"])
        .env("ECHO_BYTES", bytes.to_string())
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .spawn()
        .expect("the echo starts");
    let mut reply = vec![0; bytes];
    let rate = rate(|| {
        ours.write_all(&[1; 16]).expect("sent");
        ours.read_exact(&mut reply).expect("received");
    });
    drop(ours);
    child.wait().expect("the echo ends");
    rate
}

fn echo() {
    let bytes = std::env::var("ECHO_BYTES").expect("set by raw_echo");
    let reply = vec![2; bytes.parse().expect("a number")];
    let stdin = std::io::stdin();
    let socket = std::os::fd::AsFd::as_fd(&stdin)
        .try_clone_to_owned()
        .expect("a socket");
    let mut socket = UnixStream::from(socket);
    let mut request = [0; 16];
    while socket.read_exact(&mut request).is_ok() {
        socket.write_all(&reply).expect("sent");
    }
}
