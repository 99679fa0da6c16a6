//! A client's timers run at their own time, and not when all connections are looked at.
#![allow(missing_docs)]

mod support;

use std::{
    io::Write,
    net::{SocketAddr, TcpListener},
    time::Instant,
};

use millrace_engine::{Options, Target};
use socket2::{Domain, Socket, Type};
use support::{
    DRIVERS,
    caller::{Client, PATIENCE},
};

/// Times between which the regular looks at all connections, twice a second, cannot tell.
const TIMES: [u64; 3] = [450, 50, 250];
const IN_ORDER: [usize; 3] = [1, 2, 0];

/// Waits until all are in a state, and sees that none is before one whose time is shorter. What is due
/// in one turn comes in any order.
#[track_caller]
fn in_order(client: &mut Client, links: [u32; 3], state: &str) {
    let started = Instant::now();
    let mut seen = [None; 3];
    for turn in 0.. {
        for (link, seen) in links.iter().zip(&mut seen) {
            if seen.is_none() && client.state(*link, state).is_some() {
                *seen = Some(turn);
            }
        }
        if seen.iter().all(Option::is_some) {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{:?}", client.notices);
        client.turn();
    }
    assert!(IN_ORDER.map(|number| seen[number]).is_sorted(), "{seen:?}");
}

/// Opens three connections with a time limit each, and sees them fail in the order of those.
fn fail_in_order(client: &mut Client, address: SocketAddr, text: &str) {
    let links = TIMES.map(|connect_timeout_ms| {
        let target = Target {
            connect_timeout_ms,
            ..Target::new(&address.to_string())
        };
        client.engine.open(&target).unwrap()
    });
    client.engine.apply();
    assert!(client.engine.next_timeout().unwrap() <= 50);
    in_order(client, links, "failed");
    for (link, time) in links.iter().zip(TIMES) {
        let notice = client.state(*link, "failed").unwrap();
        assert!(notice.contains(&format!("{text} {time} ms")), "{notice}");
    }
}

#[test]
fn servers_that_say_nothing_are_given_up_in_time() {
    for driver in DRIVERS {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = Client::new(driver, Options::default());
        let address = silent.local_addr().unwrap();
        fail_in_order(&mut client, address, "sent no HTTP/2 SETTINGS within");
    }
}

/// Where the backlog is full, Linux lets whoever comes next wait for an answer.
#[cfg(target_os = "linux")]
#[test]
fn servers_that_do_not_answer_are_given_up_in_time() {
    for driver in DRIVERS {
        let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        full.listen(0).unwrap();
        let address = full.local_addr().unwrap();
        let _crowd: Vec<Socket> = (0..8)
            .map(|_| {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                socket.set_nonblocking(true).unwrap();
                let _ = socket.connect(&address);
                socket
            })
            .collect();
        let mut client = Client::new(driver, Options::default());
        let address = address.as_socket().unwrap();
        fail_in_order(&mut client, address, "no answer within");
    }
}

#[test]
fn keepalive_asks_and_gives_up_in_time() {
    for driver in DRIVERS {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut client = Client::new(driver, Options::default());
        let links = TIMES.map(|keepalive_time_ms| {
            let target = Target {
                keepalive_time_ms,
                keepalive_timeout_ms: 20,
                keepalive_without_calls: true,
                ..Target::new(&address)
            };
            client.engine.open(&target).unwrap()
        });
        client.engine.apply();
        let _sockets = links.map(|_| {
            let (mut socket, _) = listener.accept().unwrap();
            // SETTINGS, and nothing more.
            socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
            socket
        });
        in_order(&mut client, links, "closed");
        for link in links {
            let notice = client.state(link, "closed").unwrap();
            assert!(notice.contains("keepalive"), "{notice}");
        }
    }
}
