//! Messages from a real broker: durable before their PUBACK, handed over at most once, whatever is killed when.

use crate::support::{Agent, Broker, Random, dunlin, wait_for};
use crate::{SOON, counter, uplink};
use base64::Engine as _;
use dunlin::uplink::{Event, Events, Settings, Uplink};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A downlink source `orders` on the session of the sink `cloud`, and a file sink that takes what it hands over.
fn config(dir: &Path, endpoint: &str, keys: &str) -> String {
    format!(
        "[sources.orders]\ntype = \"downlink\"\nuplink = \"cloud\"\n{keys}\n\n\
         [sinks.out]\ntype = \"file\"\ninputs = [\"orders\"]\npath = \"{}\"\nsync_ms = 10\n\n",
        effects(dir).display()
    ) + &uplink(&["orders"], endpoint)
}

const SUBSCRIPTIONS: &str = "subscriptions = [{ filter = \"orders/{agent}/#\" }]";

fn effects(dir: &Path) -> PathBuf {
    dir.join("effects.jsonl")
}

/// What the consumer saw: how often each payload came, and how many messages gaps call uncertain.
fn seen(dir: &Path) -> (BTreeMap<String, u32>, u64) {
    let (mut messages, mut uncertain) = (BTreeMap::new(), 0);
    for line in fs::read_to_string(effects(dir)).unwrap_or_default().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if let Some(frame) = line["frame"].as_str() {
            let bytes = base64::engine::general_purpose::STANDARD.decode(frame);
            let text = String::from_utf8(bytes.unwrap()).unwrap();
            *messages.entry(text).or_default() += 1;
        } else if line["gap"]["cause"] == "uncertain" {
            uncertain += line["gap"]["lost"].as_u64().unwrap();
        }
    }
    (messages, uncertain)
}

/// Someone who publishes with `QoS` 1: what `send` has returned for is with the broker.
struct Sender {
    runtime: tokio::runtime::Runtime,
    uplink: Uplink,
    events: Events,
    sent: u64,
}

impl Sender {
    fn new(endpoint: &str) -> Sender {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut settings = Settings::new(vec![endpoint.parse().unwrap()], "sender");
        settings.backoff.max = Duration::from_millis(500);
        let (uplink, events) = runtime.block_on(async { Uplink::spawn(settings).unwrap() });
        Sender {
            runtime,
            uplink,
            events,
            sent: 0,
        }
    }

    fn send(&mut self, messages: impl Iterator<Item = (String, String)>) {
        let (mut given, mut acked) = (self.sent, self.sent);
        self.runtime.block_on(async {
            for (topic, payload) in messages {
                while given - acked > 100 {
                    acked += taken(&mut self.events).await;
                }
                self.uplink.publish(given, topic, payload).await.unwrap();
                given += 1;
            }
            while acked < given {
                acked += taken(&mut self.events).await;
            }
        });
        self.sent = given;
    }
}

async fn taken(events: &mut Events) -> u64 {
    let event = tokio::time::timeout(SOON, events.recv()).await;
    match event.expect("the broker answers").expect("it runs") {
        Event::Acked { first, last } => last - first + 1,
        _ => 0,
    }
}

fn numbers(from: u64, to: u64) -> impl Iterator<Item = (String, String)> {
    (from..to).map(|n| ("orders/gw/set".to_owned(), n.to_string()))
}

fn subscribed(agent: &mut Agent) {
    wait_for("the agent is subscribed", SOON, || {
        agent.assert_alive();
        let state = agent.status()["downlinks"]["orders"]["state"].to_string();
        state.contains("subscribed to 1 of 1")
    });
}

/// Everything that was sent, but what gaps call uncertain, came once; nothing came twice.
fn assert_once(dir: &Path, sent: u64) -> u64 {
    let (messages, uncertain) = seen(dir);
    let twice: Vec<_> = messages.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "handed over twice: {twice:?}");
    let missing = sent - messages.len() as u64;
    assert!(
        missing <= uncertain,
        "{missing} of {sent} are missing; told are {uncertain}"
    );
    uncertain
}

#[test]
fn an_agent_killed_around_delivery_hands_over_at_most_once_and_loses_nothing_before_its_puback() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let mut agent = Agent::new(
        dir.path(),
        &config(dir.path(), &broker.endpoint(), SUBSCRIPTIONS),
    );
    agent.start();
    subscribed(&mut agent);
    let mut random = Random::new();
    let mut sender = Sender::new(&broker.endpoint());
    let mut sent = 0;
    for _ in 0..12 {
        sender.send(numbers(sent, sent + 150));
        sent += 150;
        std::thread::sleep(Duration::from_millis(random.below(120)));
        agent.kill();
        agent.start();
    }
    let all = || {
        let (messages, uncertain) = seen(dir.path());
        messages.len() as u64 + uncertain >= sent
    };
    wait_for("everything is accounted for", SOON, all);
    agent.stop();
    let uncertain = assert_once(dir.path(), sent);
    // What an orderly end leaves is certain: a start after it tells of nothing more.
    agent.start();
    sender.send(numbers(sent, sent + 1));
    wait_for("the last one", SOON, || {
        seen(dir.path()).0.contains_key(&sent.to_string())
    });
    agent.stop();
    assert_eq!(assert_once(dir.path(), sent + 1), uncertain);
}

#[test]
fn a_broker_killed_mid_flow_is_asked_again_and_nothing_that_was_confirmed_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(dir.path());
    let mut agent = Agent::new(
        dir.path(),
        &config(dir.path(), &broker.endpoint(), SUBSCRIPTIONS),
    );
    agent.start();
    subscribed(&mut agent);
    let mut confirmed = 0;
    for round in 0..4_u64 {
        let mut sender = Sender::new(&broker.endpoint());
        sender.send(numbers(round * 1000, round * 1000 + 300));
        broker.kill();
        // With the broker dies its session: what it had not brought is its loss, not ours.
        confirmed = agent.count("/downlinks/orders/received").max(confirmed);
        broker.restart();
        agent.wait_count("/sinks/cloud/connects", round + 2, SOON);
        subscribed(&mut agent);
    }
    let mut sender = Sender::new(&broker.endpoint());
    sender.send(numbers(9000, 9100));
    wait_for("all that is confirmed is handed over", SOON, || {
        let (messages, _) = seen(dir.path());
        (9000..9100).all(|n| messages.contains_key(&n.to_string()))
    });
    agent.stop();
    let received = agent.count("/downlinks/orders/received");
    assert!(
        received >= confirmed + 100,
        "{received}, {confirmed} before"
    );
    let (messages, uncertain) = seen(dir.path());
    assert_eq!((messages.len() as u64, uncertain), (received, 0));
    assert!(messages.values().all(|times| *times == 1), "{messages:?}");
}

#[test]
fn a_slow_consumer_holds_the_broker_up_and_not_the_memory() {
    const MESSAGES: u64 = 2000;
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    // 64 messages are handed over at a time, and this file takes 50 ms for each such group. The session's own sink has other
    // work: what it keeps for the broker is not what is measured.
    let config = format!(
        "[sources.orders]\ntype = \"downlink\"\nuplink = \"cloud\"\n{SUBSCRIPTIONS}\n\
         waiting_messages_max = 100\nreceive_max = 20\n\n\
         [sinks.out]\ntype = \"file\"\ninputs = [\"orders\"]\npath = \"{}\"\nsync_ms = 50\n\n",
        effects(dir.path()).display()
    ) + &counter("sim", 1, 1)
        + &uplink(&["sim"], &broker.endpoint());
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    subscribed(&mut agent);
    let rss_kb = |agent: &Agent| {
        let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS"))
            .unwrap();
        let kb = line.split_whitespace().nth(1).unwrap();
        kb.parse::<u64>().unwrap()
    };
    let before_kb = rss_kb(&agent);
    let mut sender = Sender::new(&broker.endpoint());
    // 8 MB in all, of which the agent may hold what 100 of them are.
    let body = "x".repeat(4000);
    sender.send((0..MESSAGES).map(|n| ("orders/gw/set".to_owned(), format!("{n:05}{body}"))));
    let (mut most_waiting, mut most_kb) = (0, 0);
    wait_for("all of them", 2 * SOON, || {
        agent.assert_alive();
        most_waiting = most_waiting.max(agent.count("/downlinks/orders/waiting"));
        most_kb = most_kb.max(rss_kb(&agent));
        agent.count("/downlinks/orders/handed") == MESSAGES
    });
    assert_eq!(most_waiting, 100, "the bound is reached, and kept");
    let grown_kb = most_kb.saturating_sub(before_kb);
    assert!(grown_kb < 6 << 10, "{grown_kb} KiB more");
    agent.stop();
    let (messages, _) = seen(dir.path());
    let numbers = messages
        .keys()
        .map(|text| text[..5].parse::<u64>().unwrap());
    assert!(numbers.eq(0..MESSAGES), "each, and in order of its number");
    assert_eq!(assert_once(dir.path(), MESSAGES), 0);
}

/// A way to the broker that can be cut.
struct Way {
    port: u16,
    open: Arc<Mutex<Vec<TcpStream>>>,
    closed: Arc<Mutex<bool>>,
}

impl Way {
    fn to(broker: u16) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let way = Way {
            port: listener.local_addr().unwrap().port(),
            open: Arc::default(),
            closed: Arc::default(),
        };
        let (open, closed) = (Arc::clone(&way.open), Arc::clone(&way.closed));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if *closed.lock().unwrap() {
                    continue;
                }
                let server = TcpStream::connect(("127.0.0.1", broker)).unwrap();
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    open.lock().unwrap().push(from.try_clone().unwrap());
                    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                }
            }
        });
        way
    }

    fn cut(&self) {
        *self.closed.lock().unwrap() = true;
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

#[test]
fn a_subscription_survives_the_change_of_its_transport() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let way = Way::to(broker.port());
    let keys = config(
        dir.path(),
        &format!("mqtt://127.0.0.1:{}", way.port),
        SUBSCRIPTIONS,
    );
    let config = keys + &format!("standby = [\"{}\"]\n", broker.endpoint());
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    subscribed(&mut agent);
    let mut sender = Sender::new(&broker.endpoint());
    sender.send(numbers(0, 200));
    way.cut();
    sender.send(numbers(200, 400));
    wait_for("all of them", SOON, || seen(dir.path()).0.len() == 400);
    wait_for("the status names the standby", SOON, || {
        let state = agent.status()["sinks"]["cloud"]["state"].to_string();
        state.contains(&broker.port().to_string())
    });
    agent.stop();
    assert_eq!(assert_once(dir.path(), 400), 0);
}

/// A client of mosquitto's own.
fn client(program: &str, broker: &Broker) -> Command {
    let mut client = Command::new(program);
    client.args(["-V", "5", "-h", "127.0.0.1", "-p"]);
    client.arg(broker.port().to_string());
    client
}

#[test]
fn an_answer_goes_where_it_is_expected_and_may_go_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let config = config(dir.path(), &broker.endpoint(), SUBSCRIPTIONS)
        + "\n[sinks.cloud.replies]\ntopics = [\"answers/+\"]\nkb_max = 1\n";
    let mut agent = Agent::new(dir.path(), &config);
    agent.start();
    subscribed(&mut agent);
    let file = dir.path().join("answers");
    let mut witness = client("mosquitto_sub", &broker)
        .args(["-q", "1", "-t", "#", "-F", "%t %D %p", "-i", "asker"])
        .stdout(File::create(&file).unwrap())
        .spawn()
        .expect("mosquitto_sub is installed: scripts/setup.sh test");
    let log = dir.path().join("broker/log");
    wait_for("the witness is subscribed", SOON, || {
        fs::read_to_string(&log)
            .unwrap()
            .contains("Sending SUBACK to asker")
    });
    let big = "b".repeat(1025);
    let asks = [
        ("answers/7", "first"),
        ("elsewhere/7", "second"),
        ("answers/7/8", "third"),
        ("answers/8", &*big),
        ("answers/9", "last"),
    ];
    for (at, (topic, payload)) in asks.iter().enumerate() {
        let asked = client("mosquitto_pub", &broker)
            .args(["-q", "1", "-t", "orders/gw/get", "-m", payload])
            .args(["-D", "publish", "response-topic", topic])
            .args(["-D", "publish", "correlation-data", &format!("c{at}")])
            .status()
            .unwrap();
        assert!(asked.success());
    }
    let got = || fs::read_to_string(&file).unwrap_or_default();
    wait_for("the answers", SOON, || {
        got().contains("answers/9 ") && got().matches("dunlin/gw/orders").count() >= 3
    });
    let _ = witness.kill();
    let _ = witness.wait();
    let text = got();
    let answers: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("orders/") && !line.starts_with("dunlin/"))
        .collect();
    assert_eq!(answers, ["answers/7 c0 first", "answers/9 c4 last"]);
    // The others went the way of all records, and are counted.
    agent.wait_count("/sinks/cloud/replies_refused", 3, SOON);
    // Counted with its PUBACK, which the witness does not wait for.
    agent.wait_count("/sinks/cloud/replies", 2, SOON);
    assert_eq!(agent.count("/sinks/cloud/replies"), 2);
    assert_eq!(agent.count("/sinks/cloud/replies_refused"), 3);
    let ordinary = text
        .lines()
        .filter(|line| line.starts_with("dunlin/gw/orders"));
    let records: usize = ordinary.map(|line| line.matches("\"frame\"").count()).sum();
    assert_eq!(records, 3, "{text}");
    agent.stop();
}

#[test]
fn refusals_are_told_and_what_is_no_longer_asked_for_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.json");
    fs::write(
        &rules,
        r#"{"defaultACLAccess":{"publishClientSend":true,"publishClientReceive":true,"subscribe":false,"unsubscribe":true},
            "anonymousGroup":"all","clients":[],
            "groups":[{"groupname":"all","roles":[{"rolename":"some"}],"clients":[]}],
            "roles":[{"rolename":"some","acls":[
              {"acltype":"subscribePattern","topic":"orders/#","priority":0,"allow":true},
              {"acltype":"subscribePattern","topic":"$share/line/orders/#","priority":0,"allow":true}]}]}"#,
    )
    .unwrap();
    let plugin = fs::read_dir("/usr/lib")
        .unwrap()
        .filter_map(|entry| Some(entry.ok()?.path().join("mosquitto_dynamic_security.so")))
        .find(|path| path.exists())
        .expect("mosquitto comes with mosquitto_dynamic_security.so");
    let extra = format!(
        "plugin {}\nplugin_opt_config_file {}",
        plugin.display(),
        rules.display()
    );
    let broker = Broker::start_with(dir.path(), &extra);
    let keys = "subscriptions = [{ filter = \"orders/gw/#\" }, { filter = \"$share/line/orders/line/+\" }, \
                { filter = \"secret/#\" }]";
    let text = config(dir.path(), &broker.endpoint(), keys);
    let mut agent = Agent::new(dir.path(), &text);
    agent.start();
    wait_for("the refusal is told", SOON, || {
        agent.assert_alive();
        let state = agent.status()["downlinks"]["orders"]["state"].to_string();
        state.contains("subscribed to 2 of 3")
            && state.contains("secret/#")
            && state.contains("not authorized (0x87)")
    });
    let shown = dunlin(&["status", agent.config().to_str().unwrap()]);
    assert!(
        shown.stdout.contains("not authorized (0x87)"),
        "{}",
        shown.stdout
    );
    let mut sender = Sender::new(&broker.endpoint());
    sender.send([("orders/line/1".to_owned(), "shared".to_owned())].into_iter());
    wait_for("what is shared", SOON, || {
        seen(dir.path()).0.contains_key("shared")
    });
    agent.stop();
    // The session is still there, and so is what it was subscribed to, until this start gives it up.
    let fewer = config(dir.path(), &broker.endpoint(), SUBSCRIPTIONS);
    let mut agent = Agent::new(dir.path(), &fewer);
    agent.start();
    subscribed(&mut agent);
    let log = fs::read_to_string(dir.path().join("broker/log")).unwrap();
    assert!(log.contains("UNSUBSCRIBE from gw-cloud"), "{log}");
    sender.send([("orders/line/1".to_owned(), "another's".to_owned())].into_iter());
    sender.send(numbers(0, 1));
    wait_for("what is still asked for", SOON, || {
        seen(dir.path()).0.contains_key("0")
    });
    assert_eq!(agent.count("/downlinks/orders/unasked"), 0);
    agent.stop();
    let (messages, _) = seen(dir.path());
    assert_eq!(messages.len(), 2, "{messages:?}");
}
