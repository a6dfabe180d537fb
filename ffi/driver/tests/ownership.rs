//! What is owned is given back, once, on every path: in this process, where a leak would show, and in the agent.

mod kit;

use std::ffi::CStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dunlin_driver::{Device, Error, Host, Library};
use kit::{driver, hostile, runtime};

/// One test at a time: they count what the whole process holds, which `cargo test` shares among its tests.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn options(mode: &str) -> Vec<(String, String)> {
    vec![("mode".into(), mode.into())]
}

fn library(name: &str) -> Library {
    // SAFETY: our own example; the modes below neither crash nor write where they must not.
    unsafe { Library::open(&driver(name)) }.expect("loads")
}

/// Pages of address space, the first field of `/proc/self/statm`, proc(5).
fn pages() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("proc");
    let first = statm.split(' ').next().expect("a field");
    first.parse().expect("a number")
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("proc").count()
}

#[test]
fn ten_thousand_openings_leave_no_memory_and_no_descriptor() {
    let _alone = alone();
    let library = library("hostile");
    let failing = [
        "open-fails",
        "open-null",
        "open-positive",
        "name-twice",
        "kind-bad",
    ];
    let round = |mode: &str| -> Result<(), Error> {
        let mut device = Device::open(&library, &options(mode))?;
        device.read(8, 0)?;
        device.close()
    };
    let once = || {
        for mode in failing {
            round(mode).expect_err(mode);
        }
        round("good").expect("good");
        round("overcount").expect_err("of the read, after which Drop closes");
    };
    for _ in 0..20 {
        once();
    }
    let (pages_before, descriptors_before) = (pages(), descriptors());
    for _ in 0..1_500 {
        once();
    }
    // A page of slack for each allocator arena; one leaked mapping an opening would be 30,000 pages.
    let grown = pages().saturating_sub(pages_before);
    // The sanitizer keeps what is freed for a while, so that its address space grows by itself.
    assert!(grown < 300 || cfg!(dunlin_asan), "{grown} pages more");
    assert_eq!(descriptors(), descriptors_before);
}

#[test]
fn a_device_is_closed_exactly_once() {
    let _alone = alone();
    // The driver counts what is open, and aborts at a close too many.
    let library = library("hostile");
    for _ in 0..3 {
        let device = Device::open(&library, &options("good")).expect("opens");
        device.close().expect("closes");
    }
    drop(Device::open(&library, &options("good")).expect("opens"));
}

#[test]
fn code_of_a_library_outlives_its_handle() {
    let _alone = alone();
    {
        let library = library("hostile");
        let mut device = Device::open(&library, &options("late-thread")).expect("opens");
        device
            .read(8, 0)
            .expect("reads, and starts a thread that goes on");
    }
    // Unmapped, the thread's next step would be the end of this process.
    std::thread::sleep(std::time::Duration::from_millis(50));
}

#[test]
fn symbols_of_a_driver_are_offered_to_nobody() {
    let _alone = alone();
    let _library = library("interposes");
    let found = |name: &CStr| {
        // SAFETY: the name is NUL-terminated; looking a symbol up runs no code of it.
        unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }
    };
    assert!(!found(c"getpid").is_null(), "the search itself works");
    for name in [
        c"dunlin_driver_entry",
        c"EVP_DigestInit_ex",
        c"X509_verify_cert",
    ] {
        assert!(found(name).is_null(), "{name:?} is visible");
    }
}

#[test]
fn hosts_leave_no_descriptor_in_the_agent() {
    let _alone = alone();
    runtime().block_on(async {
        let mut after_first = 0;
        for round in 0..30 {
            let spec = hostile(["crash", "open-fails", "good"][round % 3], "");
            let _ = kit::first_failure(&spec).await;
            let mut host = Host::spawn(&spec).expect("starts");
            let _ = host.open().await;
            drop(host);
            // Output is forwarded until the pipe ends, by a task of its own.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            if round == 2 {
                after_first = descriptors();
            }
        }
        assert_eq!(descriptors(), after_first);
    });
}
