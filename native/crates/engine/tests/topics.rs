//! Topics over real sockets: every subscriber gets the same bytes, whatever its windows do.

mod support;

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use millrace_engine::{
    MethodKind, Options, Retain, SlowConsumer, Start, Subscribe, Topics, TopicsOptions,
};
use millrace_fanout::Retention;
use support::{Behaviour, DRIVERS, Script, client::Client};

const WATCH: &str = "/t.Prices/Watch";
/// No test takes this long; one that hangs fails by it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Field 15, a varint.
const SEQUENCE_TAG: u32 = 15 << 3;

fn server(options: Options) -> Script {
    Script::new(options, &[(WATCH, MethodKind::Bidi, Behaviour::Ignore)])
}

fn open(name: &str) -> Topics {
    let options = TopicsOptions {
        sequence_tag: SEQUENCE_TAG,
        retention: Some(Retention {
            count_max: 1_000_000,
            bytes_max: usize::MAX,
            age_ms_max: u64::MAX,
        }),
        ..TopicsOptions::default()
    };
    Topics::open(name, &options).unwrap()
}

fn everything(start: Start) -> Subscribe<'static> {
    Subscribe {
        pattern: ">",
        group: None,
        slow_consumer: SlowConsumer::Block,
        max_pending: 1_000_000,
        start,
    }
}

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % below.max(1)
    }
}

/// Subscribes the calls that have come since.
fn subscribe(server: &mut Script, topics: &Topics, known: &mut HashSet<u32>, start: Start) {
    let fresh: Vec<u32> = server
        .calls
        .keys()
        .copied()
        .filter(|call| !known.contains(call))
        .collect();
    for call in fresh {
        known.insert(call);
        server
            .engine
            .subscribe(call, topics, &everything(start))
            .unwrap();
    }
}

/// Runs server and clients until so many calls are there.
fn begun(server: &mut Script, clients: &mut [Client], calls: usize) {
    run(server, clients, 65_536, |server, _| {
        server.calls.len() >= calls
    });
}

/// A server, and a client of which so many calls have begun, with their references.
fn watched<const CALLS: usize>(options: Options) -> (Script, [Client; 1], [u32; CALLS]) {
    let mut server = server(options);
    let mut clients = [Client::connect(server.port, None)];
    for _ in 0..CALLS {
        clients[0].call(WATCH, Vec::new());
    }
    begun(&mut server, &mut clients, CALLS);
    let calls: Vec<u32> = server.calls.keys().copied().collect();
    (server, clients, calls.try_into().unwrap())
}

/// How often publishers were woken.
fn wake_ups(topics: &Topics) -> impl Fn() -> usize {
    let woken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&woken);
    topics.on_writable(Box::new(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    }));
    move || woken.load(Ordering::SeqCst)
}

fn run(
    server: &mut Script,
    clients: &mut [Client],
    read_at_most: usize,
    done: impl Fn(&Script, &[Client]) -> bool,
) {
    let started = Instant::now();
    while !done(server, clients) {
        assert!(
            started.elapsed() < PATIENCE,
            "no progress; notices: {:?}; stats: {}",
            server.notices,
            server.engine.stats()
        );
        server.turn(Duration::from_millis(1));
        for client in clients.iter_mut() {
            client.turn(read_at_most);
        }
    }
}

fn stat(server: &Script, name: &str) -> u64 {
    let stats = server.engine.stats();
    let rest = stats.split(&format!("\"{name}\":")).nth(1).expect(name);
    rest.chars()
        .take_while(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .unwrap()
}

/// The event as it is on the wire.
fn framed(message: &[u8], sequence: u64) -> Vec<u8> {
    let mut suffix = vec![SEQUENCE_TAG as u8];
    let mut left = sequence;
    while left >= 0x80 {
        suffix.push(left as u8 | 0x80);
        left >>= 7;
    }
    suffix.push(left as u8);
    let mut bytes = vec![0];
    bytes.extend_from_slice(&((message.len() + suffix.len()) as u32).to_be_bytes());
    bytes.extend_from_slice(message);
    bytes.extend_from_slice(&suffix);
    bytes
}

fn all_equal(clients: &[Client], expected: &[u8]) {
    for (number, client) in clients.iter().enumerate() {
        for call in &client.calls {
            let same = call
                .incoming
                .iter()
                .zip(expected)
                .take_while(|(got, wanted)| got == wanted)
                .count();
            assert_eq!(
                (same, call.incoming.len()),
                (expected.len(), expected.len()),
                "client {number}: equal up to, and long"
            );
        }
    }
}

#[test]
fn live_or_replayed_every_subscriber_gets_the_same_bytes() {
    for (round, driver) in DRIVERS.into_iter().enumerate() {
        let mut numbers = Numbers(round as u64 + 1);
        let topics = open(&format!("equal bytes {round}"));
        let mut server = server(Options {
            driver,
            ..Options::default()
        });
        // Small socket buffers, and clients that read little at a time.
        let mut clients: Vec<Client> = (0..6)
            .map(|number| Client::connect(server.port, (number % 2 == 0).then_some(16_384)))
            .collect();
        let mut known = HashSet::new();
        let mut expected = Vec::new();
        let mut topic_numbers = ["a", "a.b", "c"].map(|name| topics.topic(name).unwrap());
        for step in 0..60 {
            if step % 20 == 0 {
                for client in &mut clients {
                    client.call(WATCH, Vec::new());
                }
                let calls = known.len() + clients.len();
                begun(&mut server, &mut clients, calls);
                // From the first event on, whenever they come.
                let start = if step == 0 {
                    Start::Latest
                } else {
                    Start::Sequence(1)
                };
                subscribe(&mut server, &topics, &mut known, start);
            }
            if step == 30 {
                topics.forget();
                topic_numbers = ["c", "a", "b"].map(|name| topics.topic(name).unwrap());
            }
            for _ in 0..numbers.next(20) {
                let length = match numbers.next(40) {
                    0 => numbers.next(120_000),
                    1..5 => 16_360 + numbers.next(40),
                    _ => numbers.next(300),
                };
                let message = vec![numbers.next(256) as u8; length];
                let topic = topic_numbers[numbers.next(3)];
                let published = topics.publish(topic, &message, Retain::Counted);
                assert_eq!(published.delivered as usize, known.len());
                expected.extend(framed(&message, published.sequence));
            }
            if numbers.next(3) > 0 {
                server.turn(Duration::ZERO);
                for client in &mut clients {
                    client.turn(1 + numbers.next(40_000));
                }
            }
        }
        run(&mut server, &mut clients, 65_536, |_, clients| {
            clients.iter().all(|client| {
                client
                    .calls
                    .iter()
                    .all(|call| call.incoming.len() >= expected.len())
            })
        });
        all_equal(&clients, &expected);
        assert_eq!(stat(&server, "eventBytesWaiting"), 0);
        for client in &mut clients {
            client.cut();
        }
        run(&mut server, &mut clients, 1, |server, _| {
            stat(server, "subscribedCalls") == 0
                && stat(server, "sendChunks") == 0
                && stat(server, "framedBytes") == 0
        });
        assert!(topics.stats().contains("\"subscriptions\":0"));
    }
}

#[test]
fn what_other_threads_publish_keeps_the_order_of_each() {
    const PUBLISHERS: usize = 3;
    const EVENTS: usize = 20_000;
    for (round, driver) in DRIVERS.into_iter().enumerate() {
        let name = format!("publishers {round}");
        let topics = open(&name);
        let mut server = server(Options {
            driver,
            ..Options::default()
        });
        let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(server.port, None)).collect();
        for client in &mut clients {
            client.call(WATCH, Vec::new());
        }
        begun(&mut server, &mut clients, 4);
        subscribe(&mut server, &topics, &mut HashSet::new(), Start::Latest);
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let name = name.clone();
                thread::spawn(move || {
                    let topics = open(&name);
                    let topic = topics.topic("a").unwrap();
                    for number in 0..EVENTS {
                        let mut message = vec![publisher as u8];
                        message.extend_from_slice(&(number as u32).to_le_bytes());
                        // Lanes take a few thousand: the rest finds its way beside them.
                        topics.publish(topic, &message, Retain::No);
                    }
                })
            })
            .collect();
        // A prefix, a number for the publisher and one for the event.
        let event = 5 + 1 + 4;
        run(&mut server, &mut clients, 65_536, |_, clients| {
            clients
                .iter()
                .all(|client| client.calls[0].incoming.len() >= PUBLISHERS * EVENTS * event)
        });
        for publisher in publishers {
            publisher.join().unwrap();
        }
        for client in &clients {
            let mut next = [0_u32; PUBLISHERS];
            for event in client.calls[0].incoming.chunks(event) {
                let publisher = event[5] as usize;
                let number = u32::from_le_bytes(event[6..10].try_into().unwrap());
                assert_eq!(number, next[publisher]);
                next[publisher] += 1;
            }
            assert_eq!(next, [EVENTS as u32; PUBLISHERS]);
        }
    }
}

#[test]
fn a_subscriber_that_blocks_is_cut_off_though_it_has_read_a_little() {
    const EVENT: usize = 20_000;
    let topics = Topics::open(
        "a little",
        &TopicsOptions {
            block_timeout_ms: 200,
            ..TopicsOptions::default()
        },
    )
    .unwrap();
    let (mut server, mut clients, [call]) = watched(Options::default());
    let wanted = Subscribe {
        max_pending: 2,
        ..everything(Start::Latest)
    };
    server.engine.subscribe(call, &topics, &wanted).unwrap();
    let topic = topics.topic("a").unwrap();
    // As if many publishers had looked at the same time whether they may: its window takes three.
    for _ in 0..20 {
        topics.publish(topic, &[0; EVENT], Retain::No);
    }
    run(&mut server, &mut clients, 4_096, |_, clients| {
        clients[0].calls[0].incoming.len() > 4 * EVENT
    });
    clients[0].calls[0].reading = false;
    assert!(!topics.are_writable(topic));
    run(&mut server, &mut clients, 65_536, |server, _| {
        stat(server, "subscribersDisconnected") == 1
    });
    assert!(topics.are_writable(topic));
}

#[test]
fn a_member_that_joins_a_blocked_group_wakes_publishers() {
    let topics = open("a member joins");
    let (mut server, _clients, [first, second]) = watched(Options::default());
    let member = Subscribe {
        group: Some("workers"),
        max_pending: 1,
        ..everything(Start::Latest)
    };
    let woken = wake_ups(&topics);
    server.engine.subscribe(first, &topics, &member).unwrap();
    let topic = topics.topic("a").unwrap();
    topics.publish(topic, b"one", Retain::No);
    assert!(!topics.are_writable(topic));
    let before = woken();
    server.engine.subscribe(second, &topics, &member).unwrap();
    assert!(topics.are_writable(topic));
    assert!(woken() > before);
}

#[test]
fn who_got_from_the_past_what_had_no_room_on_its_way_is_not_cut_off_for_it() {
    /// More than a lane takes.
    const MANY: usize = 5_000;
    let topics = open("no room");
    let (mut server, mut clients, [replayed, live]) = watched(Options::default());
    for (call, pattern, start) in [
        (replayed, "replayed", Start::Earliest),
        (live, "live", Start::Latest),
    ] {
        let wanted = Subscribe {
            pattern,
            slow_consumer: SlowConsumer::Disconnect,
            ..everything(start)
        };
        server.engine.subscribe(call, &topics, &wanted).unwrap();
    }
    let flood = |topic: &'static str| {
        thread::spawn(move || {
            let topics = open("no room");
            let topic = topics.topic(topic).unwrap();
            for _ in 0..MANY {
                topics.publish(topic, b"event", Retain::Counted);
            }
        })
        .join()
        .unwrap();
    };
    flood("replayed");
    run(&mut server, &mut clients, 65_536, |server, _| {
        stat(server, "eventsDelivered") == MANY as u64
    });
    flood("live");
    run(&mut server, &mut clients, 65_536, |server, _| {
        stat(server, "subscribersDisconnected") > 0
    });
    assert_eq!(stat(&server, "subscribedCalls"), 1);
    assert_eq!(stat(&server, "subscribersDisconnected"), 1);
}

#[test]
fn a_subscriber_that_blocks_holds_no_more_than_memory_admits() {
    const EVENT: usize = 100_000;
    const MOST: u64 = 1024 * 1024;
    let topics = open("memory");
    let (mut server, mut clients, [call]) = watched(Options {
        unsent_bytes_max: MOST,
        ..Options::default()
    });
    let wanted = everything(Start::Latest);
    server.engine.subscribe(call, &topics, &wanted).unwrap();
    let topic = topics.topic("a").unwrap();
    let woken = wake_ups(&topics);
    let mut published = 0;
    // The client reads nothing meanwhile.
    while topics.are_writable(topic) {
        assert!(stat(&server, "eventBytesWaiting") < MOST + EVENT as u64);
        topics.publish(topic, &[0; EVENT], Retain::No);
        published += 1;
        server.turn(Duration::ZERO);
    }
    assert!(published > 1);
    let before = woken();
    run(&mut server, &mut clients, 65_536, |server, _| {
        stat(server, "eventsDelivered") == published
    });
    assert!(topics.are_writable(topic));
    assert!(woken() > before);
    assert_eq!(stat(&server, "eventBytesWaiting"), 0);
}

#[test]
fn an_engine_that_is_given_up_leaves_no_subscription_behind() {
    let topics = open("given up");
    let (mut server, _clients, [call]) = watched(Options::default());
    let wanted = Subscribe {
        max_pending: 1,
        ..everything(Start::Latest)
    };
    server.engine.subscribe(call, &topics, &wanted).unwrap();
    let topic = topics.topic("a").unwrap();
    topics.publish(topic, b"one", Retain::No);
    assert!(!topics.are_writable(topic));
    server.engine.leave_topics();
    std::mem::forget(server.engine);
    assert!(topics.are_writable(topic));
    assert!(topics.stats().contains("\"subscriptions\":0"));
    assert_eq!(topics.publish(topic, b"two", Retain::No).delivered, 0);
}

#[test]
fn what_finds_no_room_on_its_way_to_one_that_blocks_holds_up_its_publisher() {
    /// More than a lane takes.
    const MANY: u64 = 20_000;
    let topics = open("no way");
    let (mut server, mut clients, [call]) = watched(Options::default());
    let wanted = everything(Start::Latest);
    server.engine.subscribe(call, &topics, &wanted).unwrap();
    let published = thread::spawn(|| {
        let topics = open("no way");
        let topic = topics.topic("a").unwrap();
        (0..MANY)
            .take_while(|_| {
                let writable = topics.are_writable(topic);
                if writable {
                    topics.publish(topic, b"event", Retain::No);
                }
                writable
            })
            .count() as u64
    })
    .join()
    .unwrap();
    assert!(published < MANY / 2, "{published}");
    let topic = topics.topic("a").unwrap();
    assert!(!topics.are_writable(topic));
    run(&mut server, &mut clients, 65_536, |server, _| {
        stat(server, "eventsDelivered") == published
    });
    assert!(topics.are_writable(topic));
}

#[test]
fn a_publisher_cuts_off_who_blocks_on_a_thread_that_does_nothing() {
    const TIMEOUT: u64 = 200;
    let options = TopicsOptions {
        block_timeout_ms: TIMEOUT,
        ..TopicsOptions::default()
    };
    let topics = Topics::open("judged", &options).unwrap();
    let (mut server, mut clients, [blocks, drops]) = watched(Options::default());
    for (call, slow_consumer) in [
        (blocks, SlowConsumer::Block),
        (drops, SlowConsumer::DropOldest),
    ] {
        let wanted = Subscribe {
            slow_consumer,
            max_pending: 3,
            ..everything(Start::Latest)
        };
        server.engine.subscribe(call, &topics, &wanted).unwrap();
    }
    // This thread is the engine's, which would see to it if it had its turn.
    let published = thread::spawn(move || {
        let topics = Topics::open("judged", &options).unwrap();
        let topic = topics.topic("a").unwrap();
        let mut published = 0;
        while topics.are_writable(topic) {
            topics.publish(topic, b"event", Retain::No);
            published += 1;
        }
        let began = Instant::now();
        while let Some(after) = topics.judge(topic) {
            assert!(began.elapsed() < PATIENCE, "it is cut off");
            thread::sleep(Duration::from_millis(after));
        }
        assert!(began.elapsed() >= Duration::from_millis(TIMEOUT));
        assert!(topics.are_writable(topic));
        assert_eq!(topics.publish(topic, b"event", Retain::No).delivered, 1);
        published + 1
    });
    let published = published.join().unwrap();
    assert_eq!(published, 4);
    let count = |name: &str| {
        let stats = topics.stats();
        stats.contains(name)
    };
    assert!(count("\"subscriptions\":1,") && count("\"disconnected\":1,"));
    run(&mut server, &mut clients, 65_536, |server, _| {
        stat(server, "subscribersDisconnected") == 1 && stat(server, "subscribedCalls") == 1
    });
    assert!(count("\"subscriptions\":1,") && count("\"disconnected\":1,"));
}

#[test]
fn who_blocks_and_gets_on_is_left_alone_by_publishers() {
    const TIMEOUT: u64 = 400;
    let options = TopicsOptions {
        block_timeout_ms: TIMEOUT,
        ..TopicsOptions::default()
    };
    let topics = Topics::open("gets on", &options).unwrap();
    let (mut server, mut clients, [call]) = watched(Options::default());
    let wanted = Subscribe {
        max_pending: 1,
        ..everything(Start::Latest)
    };
    server.engine.subscribe(call, &topics, &wanted).unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    let publisher = thread::spawn({
        let done = Arc::clone(&done);
        move || {
            let topics = Topics::open("gets on", &options).unwrap();
            let topic = topics.topic("a").unwrap();
            let began = Instant::now();
            // For longer than anybody may block at a time; somebody waits most of that time.
            while began.elapsed() < Duration::from_millis(2 * TIMEOUT) {
                match topics.judge(topic) {
                    None => {
                        topics.publish(topic, b"event", Retain::No);
                    }
                    Some(_) => thread::yield_now(),
                }
            }
            done.store(1, Ordering::SeqCst);
        }
    });
    run(&mut server, &mut clients, 65_536, |_, _| {
        done.load(Ordering::SeqCst) == 1
    });
    publisher.join().unwrap();
    assert!(topics.stats().contains("\"disconnected\":0,"));
}

/// What came of a flood, on another thread, past a subscriber that had not begun to read the past: the
/// statistics of the topics, and how many subscribers were cut off.
fn flooded_before_the_past_is_read(
    name: &'static str,
    policy: SlowConsumer,
    retain: Retain,
    done: impl Fn(&Script) -> bool,
) -> (String, u64) {
    let topics = open(name);
    let (mut server, mut clients, [call]) = watched(Options::default());
    let wanted = Subscribe {
        slow_consumer: policy,
        ..everything(Start::Earliest)
    };
    server.engine.subscribe(call, &topics, &wanted).unwrap();
    thread::spawn(move || {
        let topics = open(name);
        let topic = topics.topic("a").unwrap();
        // More than a lane takes.
        for _ in 0..5_000 {
            topics.publish(topic, b"event", retain);
        }
    })
    .join()
    .unwrap();
    run(&mut server, &mut clients, 65_536, |server, _| done(server));
    (topics.stats(), stat(&server, "subscribersDisconnected"))
}

#[test]
fn what_is_not_retained_and_had_no_room_is_missed_by_who_replays() {
    let policy = SlowConsumer::Disconnect;
    let over = |server: &Script| {
        stat(server, "subscribersDisconnected") > 0 || stat(server, "eventsDelivered") >= 4_000
    };
    let (stats, disconnected) =
        flooded_before_the_past_is_read("not retained", policy, Retain::No, over);
    assert_eq!(disconnected, 1, "{stats}");
}

#[test]
fn what_had_no_room_and_comes_from_the_past_is_not_dropped() {
    let policy = SlowConsumer::DropOldest;
    let over = |server: &Script| stat(server, "eventsDelivered") == 5_000;
    let (stats, _) = flooded_before_the_past_is_read("retained", policy, Retain::Counted, over);
    assert!(stats.contains("\"dropped\":0,"), "{stats}");
}

#[test]
fn events_of_the_past_tell_what_was_not_retained_and_had_no_room() {
    const RETAINED: u64 = 10;
    const MISSED: u8 = 100;
    /// Field 14, a varint.
    const DROPPED_TAG: u8 = 14 << 3;
    let options = TopicsOptions {
        dropped_tag: u32::from(DROPPED_TAG),
        sequence_tag: SEQUENCE_TAG,
        retention: Some(Retention {
            count_max: 1_000,
            bytes_max: usize::MAX,
            age_ms_max: u64::MAX,
        }),
        ..TopicsOptions::default()
    };
    let topics = Topics::open("told by the past", &options).unwrap();
    let mut server = server(Options::default());
    let mut clients = [Client::connect(server.port, None)];
    clients[0].call(WATCH, Vec::new());
    begun(&mut server, &mut clients, 1);
    let replays = *server.calls.keys().next().unwrap();
    clients[0].call(WATCH, Vec::new());
    begun(&mut server, &mut clients, 2);
    let live = *server.calls.keys().find(|&&call| call != replays).unwrap();
    for (call, pattern, start) in [(replays, "a", Start::Earliest), (live, "b", Start::Latest)] {
        let wanted = Subscribe {
            pattern,
            slow_consumer: SlowConsumer::DropOldest,
            ..everything(start)
        };
        server.engine.subscribe(call, &topics, &wanted).unwrap();
    }
    thread::spawn(move || {
        let topics = Topics::open("told by the past", &options).unwrap();
        let (a, b) = (topics.topic("a").unwrap(), topics.topic("b").unwrap());
        // As much as a lane takes is for the other: nothing that is published tells the one who replays.
        for _ in 0..4_096 {
            topics.publish(b, b"event", Retain::No);
        }
        for _ in 0..MISSED {
            topics.publish(a, b"event", Retain::No);
        }
        for _ in 0..RETAINED {
            topics.publish(a, b"event", Retain::Counted);
        }
    })
    .join()
    .unwrap();
    let mut expected = framed(b"event", 1);
    expected.extend([DROPPED_TAG, MISSED]);
    expected[4] += 2;
    for sequence in 2..=RETAINED {
        expected.extend(framed(b"event", sequence));
    }
    run(&mut server, &mut clients, 65_536, |_, clients| {
        clients[0].calls[0].incoming.len() >= expected.len()
    });
    assert_eq!(clients[0].calls[0].incoming, expected);
    let dropped = format!("\"dropped\":{MISSED},");
    assert!(topics.stats().contains(&dropped), "{}", topics.stats());
}
