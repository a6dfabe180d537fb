//! The modbus driver against a server that knows nothing of dunlin, over TCP and over a pseudo terminal.

mod kit;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use kit::{ModbusServer, Session, drive, free_port, only};

/// Opens a device at this port with these points.
fn open(port: u16, points: &[String]) -> Session {
    let mut options = vec![
        format!("address=127.0.0.1:{port}"),
        "timeout_ms=2000".to_owned(),
    ];
    options.extend(points.iter().map(|point| format!("registers={point}")));
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    Session::open("modbus", &options).unwrap()
}

fn points(list: &[&str]) -> Vec<String> {
    list.iter().map(|&point| point.to_owned()).collect()
}

/// What the server holds from each block's start on: offset, type, value.
const KNOWN: [(u32, &str, &str); 7] = [
    (0, "float32", "21.5"),
    (2, "int16", "-7"),
    (3, "uint16", "65535"),
    (4, "int32", "-70000"),
    (6, "float64", "-2.25"),
    (10, "int64", "-5"),
    (14, "uint32", "4000000000"),
];

#[test]
fn every_type_in_every_order() {
    let server = ModbusServer::tcp();
    let port = server.port();
    let mut list = Vec::new();
    let mut want = Vec::new();
    for (start, order) in [(100, "abcd"), (140, "badc"), (180, "cdab"), (220, "dcba")] {
        for (offset, kind, value) in KNOWN {
            let address = start + offset;
            list.push(format!(
                "name={order}.{kind},address={address},type={kind},order={order}"
            ));
            want.push(value);
        }
    }
    let reply = open(port, &list).ask("read 99 3000");
    assert_eq!(reply.values(), want);
}

#[test]
fn four_tables_scale_and_offset() {
    let server = ModbusServer::tcp();
    let port = server.port();
    let list = points(&[
        "name=c4,table=coil,address=4",
        "name=c5,table=coil,address=5",
        "name=d4,table=discrete,address=4",
        "name=d5,table=discrete,address=5,type=bool",
        "name=i7,table=input,address=7",
        "name=h300,table=holding,address=300",
        "name=scaled,address=300,scale=0.5,offset=-10",
        "name=negative,address=2,type=int16,scale=2",
        "name=real,address=0,type=float32,scale=-2,offset=1",
        "name=shifted,address=300,offset=0.25",
    ]);
    let reply = open(port, &list).ask("read 99 3000");
    let want = [
        "1", "0", "0", "1", "1007", "300", "140", "-14", "-42", "300.25",
    ];
    assert_eq!(reply.values(), want);
}

#[test]
fn neighbours_share_requests_of_125_words_at_most() {
    let server = ModbusServer::tcp();
    let port = server.port();
    // Given backwards: the grouping sorts, the samples keep the order of the configuration.
    let list: Vec<String> = (250..550)
        .rev()
        .map(|i| format!("name=h{i},address={i}"))
        .collect();
    let mut session = open(port, &list);
    let mut values = Vec::new();
    for _ in 0..3 {
        values.extend(
            session
                .ask("read 100 3000")
                .samples
                .iter()
                .map(|s| s.text.clone()),
        );
    }
    let want: Vec<String> = (250..550).rev().map(|i| i.to_string()).collect();
    assert_eq!(values, want);
    drop(session);
    assert_eq!(server.end(), [(3, 250), (3, 375), (3, 500)]);
}

#[test]
fn a_wide_value_is_not_cut_by_the_limit_of_a_request() {
    let server = ModbusServer::tcp();
    let port = server.port();
    let mut list: Vec<String> = (250..374)
        .map(|i| format!("name=h{i},address={i}"))
        .collect();
    list.push("name=wide,address=374,type=uint32".to_owned());
    let reply = open(port, &list).ask("read 200 3000");
    assert_eq!(reply.values()[124], (374 * 65536 + 375).to_string());
    assert_eq!(server.end(), [(3, 250), (3, 374)]);
}

#[test]
fn an_exception_leaves_the_neighbours_good() {
    let server = ModbusServer::tcp();
    let port = server.port();
    let list = points(&[
        "name=a,address=598",
        "name=gone,address=600",
        "name=b,address=599",
        "name=input,table=input,address=0",
    ]);
    let mut session = open(port, &list);
    for _ in 0..2 {
        assert_eq!(
            session.ask("read 9 3000").values(),
            ["598", "bad", "599", "1000"]
        );
    }
    drop(session);
    // The group, then its three one by one: no connection was given up for an exception.
    assert_eq!(
        server.end()[..5],
        [(4, 0), (3, 598), (3, 598), (3, 599), (3, 600)]
    );
}

#[test]
fn writes_reach_the_unit_and_come_back() {
    let server = ModbusServer::tcp();
    let port = server.port();
    let list = points(&[
        "name=coil,table=coil,address=1,writable=true",
        "name=word,address=20,type=int16,writable=true",
        "name=scaled,address=22,type=int32,order=cdab,scale=0.01,offset=5,writable=true",
        "name=real,address=24,type=float32,order=dcba,writable=true",
        "name=long,address=26,type=int64,order=badc,writable=true",
        "name=double,address=30,type=float64,writable=true",
        "name=raw,address=22,type=int32,order=cdab",
    ]);
    let mut session = open(port, &list);
    let writes = [
        "0 b 1",
        "1 i -32768",
        "2 f -1234.56",
        "3 f 0.375",
        "4 i -9000000000",
        "5 f 1e-300",
    ];
    for write in writes {
        let reply = session.ask(&format!("write {write} 2000"));
        assert_eq!((reply.status, reply.why.as_str()), (0, ""), "{write}");
    }
    let reply = session.ask("read 9 3000");
    assert!((reply.samples[2].value + 1234.56).abs() < 1e-9, "{reply:?}");
    let want = ["1", "-32768", "0.375", "-9000000000", "1e-300", "-123956"];
    let got = reply.values();
    assert_eq!([got[0], got[1], got[3], got[4], got[5], got[6]], want);
    assert_eq!(session.ask("write 0 b 0 2000").status, 0);
    assert_eq!(session.ask("read 9 3000").values()[0], "0");
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_sent() {
    let server = ModbusServer::tcp();
    let port = server.port();
    let list = points(&[
        "name=coil,table=coil,address=1,writable=true",
        "name=int16,address=20,type=int16,writable=true",
        "name=uint16,address=21,writable=true",
        "name=uint32,address=22,type=uint32,writable=true",
        "name=scaled,address=24,type=int16,scale=0.01,writable=true",
        "name=single,address=26,type=float32,writable=true",
        "name=long,address=28,type=int64,scale=1,writable=true",
        "name=fixed,address=32",
    ]);
    let mut session = open(port, &list);
    let refused = [
        ("0 b 2", -34, "does not fit bool"),
        ("1 i 32768", -34, "int16: the value does not fit int16"),
        ("1 i -32769", -34, "does not fit int16"),
        ("2 i -1", -34, "does not fit uint16"),
        ("2 i 65536", -34, "does not fit uint16"),
        ("3 i 4294967296", -34, "does not fit uint32"),
        ("4 f 327.68", -34, "does not fit int16"),
        ("4 f nan", -34, "does not fit int16"),
        ("5 f 1e39", -34, "does not fit float32"),
        ("6 f 9.3e18", -34, "does not fit int64"),
        ("7 i 1", -22, "takes no such write"),
        ("1 f 1", -22, "takes no such write"),
        ("99 i 1", -22, "takes no such write"),
    ];
    for (write, status, why) in refused {
        let reply = session.ask(&format!("write {write} 2000"));
        assert_eq!(reply.status, status, "{write}: {reply:?}");
        assert!(reply.why.contains(why), "{write}: {reply:?}");
    }
    // The limits themselves are taken, the register that the unit lacks is named.
    for write in [
        "1 i 32767",
        "1 i -32768",
        "2 i 65535",
        "3 i 4294967295",
        "4 f 327.67",
    ] {
        assert_eq!(
            session.ask(&format!("write {write} 2000")).status,
            0,
            "{write}"
        );
    }
    drop(session);
    let requests = server.end();
    assert_eq!(requests, [(6, 20), (6, 20), (6, 21), (16, 22), (6, 24)]);
}

#[test]
fn a_write_that_the_unit_refuses_is_explained() {
    let server = ModbusServer::tcp();
    let port = server.port();
    let list = points(&[
        "name=far,address=700,writable=true",
        "name=near,address=300",
    ]);
    let mut session = open(port, &list);
    let reply = session.ask("write 0 i 1 2000");
    assert_eq!(reply.status, -5);
    assert!(reply.why.contains("far: Illegal data address"), "{reply:?}");
    assert_eq!(session.ask("read 9 3000").values(), ["bad", "300"]);
}

#[test]
fn a_unit_may_go_and_come_back_twice() {
    let port = free_port();
    let mut session = open(port, &points(&["name=a,address=300"]));
    assert_eq!(session.ask("read 9 3000").status, -5, "nobody listens yet");
    for round in 0..3 {
        let server = ModbusServer::tcp_at(port);
        // One attempt a call: where the old connection was found dead, the next read connects.
        let statuses: Vec<_> = (0..2).map(|_| session.ask("read 9 3000").status).collect();
        assert_eq!(statuses[1], 1, "round {round}: {statuses:?}");
        assert_eq!(session.ask("read 9 3000").values(), ["300"]);
        server.end();
        let reply = session.ask("read 9 3000");
        assert_eq!(reply.status, -5, "round {round}");
        assert!(
            reply.why.contains(&format!("127.0.0.1:{port} unit 1: ")),
            "{reply:?}"
        );
        assert_eq!(session.ask("read 9 3000").status, -5, "round {round}");
    }
}

#[test]
fn a_silent_unit_is_bounded_by_its_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let options = [
        &*format!("address=127.0.0.1:{port}"),
        "timeout_ms=300",
        "registers=name=a,address=0",
    ];
    let mut session = Session::open("modbus", &options).unwrap();
    for (command, least_ms, most_ms) in [("read 9 5000", 290, 700), ("read 9 100", 90, 400)] {
        let from = Instant::now();
        let reply = session.ask(command);
        let took = from.elapsed();
        assert_eq!(reply.status, -110, "{reply:?}");
        let bounds = Duration::from_millis(least_ms)..Duration::from_millis(most_ms);
        assert!(bounds.contains(&took), "{command} took {took:?}");
    }
    assert_eq!(
        session.ask("read 9 0").status,
        -110,
        "no time is no attempt"
    );
}

#[test]
fn a_unit_that_trickles_is_bounded_by_the_same_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // A right answer, one byte in 100 ms: each comes in time, the whole would take 1.1 s.
    let unit = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 12];
        stream.read_exact(&mut request).unwrap();
        for byte in [request[0], request[1], 0, 0, 0, 5, 1, 3, 2, 0, 7] {
            if stream.write_all(&[byte]).is_err() {
                return; // the driver has given up, as it should
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let options = [
        &*format!("address=127.0.0.1:{port}"),
        "timeout_ms=400",
        "registers=name=a,address=0",
    ];
    let mut session = Session::open("modbus", &options).unwrap();
    let from = Instant::now();
    let reply = session.ask("read 9 5000");
    assert!(
        from.elapsed() < Duration::from_millis(800),
        "{:?}",
        from.elapsed()
    );
    assert_eq!(reply.status, -110, "{reply:?}");
    unit.join().unwrap();
}

#[test]
fn rtu_over_a_pseudo_terminal() {
    let server = ModbusServer::serial();
    let serial = format!("serial={}", server.place);
    let options = [
        &*serial,
        "parity=none",
        "timeout_ms=2000",
        "registers=name=real,address=0,type=float32",
        "registers=name=word,address=300,writable=true",
        "registers=name=gone,address=600",
        "registers=name=coil,table=coil,address=6",
    ];
    let mut session = Session::open("modbus", &options).unwrap();
    assert_eq!(
        session.ask("read 9 3000").values(),
        ["21.5", "300", "bad", "1"]
    );
    assert_eq!(session.ask("write 1 i 77 2000").status, 0);
    assert_eq!(
        session.ask("read 9 3000").values(),
        ["21.5", "77", "bad", "1"]
    );
    drop(session);
    // A second client of the same line: the first has left the terminal usable.
    let mut session = Session::open("modbus", &options).unwrap();
    assert_eq!(
        session.ask("read 9 3000").values(),
        ["21.5", "77", "bad", "1"]
    );
    server.end();
    let reply = session.ask("read 9 3000");
    assert!(reply.status == -5 || reply.status == -110, "{reply:?}");
    assert!(reply.why.contains("unit 1: read: "), "{reply:?}");
}

#[test]
fn wrong_configurations_name_key_and_remedy() {
    let wrong = [
        ("registers=name=a", "registers[0] address: is missing"),
        (
            "registers=name=a,address=65535,type=int32",
            "address: reaches past 65535",
        ),
        (
            "registers=name=a,address=0,type=bool",
            "bool goes with coil and discrete",
        ),
        ("registers=name=a,address=0,scale=0", "scale: may not be 0"),
        (
            "registers=name=a,address=0,table=input,writable=true",
            "this table is read-only",
        ),
        (
            "registers=name=a,address=0,kind=int16",
            "'kind' is not a known key",
        ),
        ("registers=name=a b,address=0", "is not a channel name"),
        ("unit=256", "unit: 256 is outside 0 to 255"),
        (
            "serial=/dev/ttyS0",
            "give either address (TCP) or serial (RTU)",
        ),
    ];
    for (option, why) in wrong {
        let options = [
            "address=127.0.0.1:1502",
            option,
            "registers=name=z,address=0",
        ];
        let Err(said) = Session::open("modbus", &options) else {
            panic!("{option} was taken");
        };
        assert!(
            said.starts_with("-22 ") && said.contains(why),
            "{option}: {said}"
        );
    }
}

#[test]
fn refuses_names_and_reports_a_unit_that_is_away() {
    let options = ["address=localhost:1502", "registers=name=a,address=0"];
    let lines = drive("modbus", &options, "");
    assert_eq!(only(&lines, "open")[0][1], "-22");
    // Port 1 of loopback: nothing listens there.
    let options = ["address=127.0.0.1:1", "registers=name=a,address=0"];
    let lines = drive("modbus", &options, "read 9 200\n");
    assert_eq!(only(&lines, "end")[1][1], "-5");
}
