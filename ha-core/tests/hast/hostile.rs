//! A peer that means harm: it cannot make a node hang, grow, or lose its session.

use core::time::Duration;

use bytes::Bytes;
use ha_core::hast_proto::frame::{Decoder, Encoder, Frame, Phase};
use ha_core::hast_proto::message::{FirstAnswer, FirstStep, Opening, Request, SecondStep};
use ha_core::hast_proto::{Length, Offset, ResourceId, Role, Sequence, Token, Version};
use ha_core::io::hast::EventKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::pair::{Pair, impatient, name, noise, read};

pub(crate) async fn frame(stream: &mut TcpStream, phase: Phase) -> Frame {
    let mut decoder = Decoder::new(phase);
    let mut buffer = bytes::BytesMut::new();
    loop {
        if let Some(frame) = decoder.decode(&mut buffer).unwrap() {
            return frame;
        }
        assert_ne!(stream.read_buf(&mut buffer).await.unwrap(), 0, "closed");
    }
}

fn octets(opening: &Opening) -> Bytes {
    opening.encode(Version::V1, &mut Encoder::new()).concat()
}

fn first_step() -> Opening {
    Opening::First(FirstStep {
        resource: name(),
        version: Some(2),
    })
}

/// Opens a session, as a new primary.
pub(crate) async fn open(pair: &Pair) -> (TcpStream, TcpStream) {
    let mut first = TcpStream::connect(pair.b.address).await.unwrap();
    first.write_all(&octets(&first_step())).await.unwrap();
    let answer = FirstAnswer::decode(&frame(&mut first, Phase::Answer).await).unwrap();
    let FirstAnswer::Welcome(welcome) = answer else {
        panic!("{answer:?}");
    };
    let mut second = TcpStream::connect(pair.b.address).await.unwrap();
    let step = Opening::Second(SecondStep {
        resource: name(),
        token: welcome.token,
        virgin: true,
        resource_id: ResourceId::new(5),
        counters: Default::default(),
        reunion: None,
    });
    second.write_all(&octets(&step)).await.unwrap();
    frame(&mut first, Phase::Answer).await;
    (first, second)
}

#[tokio::test]
async fn rubbish_and_silence_do_not_disturb_a_session() {
    let pair = Pair::new(|_| {}).await;
    let device = pair.start().await;
    pair.a.in_sync().await;
    let mut idle = Vec::new();
    for number in 0..100_u64 {
        let Ok(mut stream) = TcpStream::connect(pair.b.address).await else {
            continue;
        };
        let rubbish = match number % 6 {
            0 => noise(number, 4096),
            // A list of 4 GiB.
            1 => Bytes::from_static(b"\x02\xff\xff\xff\xff"),
            2 => octets(&first_step()),
            3 => Bytes::from_static(b"\x01"),
            // A token that nobody gave out.
            4 => octets(&Opening::Second(SecondStep {
                resource: name(),
                token: Token::new([0; 16]),
                virgin: false,
                resource_id: ResourceId::new(9),
                counters: Default::default(),
                reunion: None,
            })),
            _ => Bytes::new(),
        };
        let _ = stream.write_all(&rubbish).await;
        idle.push(stream);
        device
            .write(number * 4096, noise(number, 4096))
            .await
            .unwrap();
    }
    let status = pair.a.primary().await;
    assert!(status.peer.is_some());
    pair.a.in_sync().await;
    pair.assert_equal().await;
    drop(idle);
    pair.end().await;
}

#[tokio::test]
async fn connections_that_say_nothing_are_limited() {
    let mut pair = Pair::new(|_| {}).await;
    let mut idle = Vec::new();
    for _ in 0..40 {
        idle.push(TcpStream::connect(pair.b.address).await.unwrap());
    }
    let many = |kind: &EventKind| matches!(kind, EventKind::TooManyConnections(_)).then_some(());
    pair.b.event("too many", many).await;
    drop(idle);
    // They make room when they are gone.
    let device = pair.start().await;
    device.write(0, noise(1, 512)).await.unwrap();
    pair.a.in_sync().await;
    pair.end().await;
}

/// Octets of memory that the program has.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let number = line.split_whitespace().nth(1).unwrap();
    number.parse::<u64>().unwrap() * 1024
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_peer_that_takes_no_answers_gets_no_memory() {
    let mut pair = Pair::new(impatient).await;
    pair.b.resource.set_role(Role::Secondary).await.unwrap();
    let (mut first, second) = open(&pair).await;
    let before = resident();
    // 4 GiB are asked for, and nothing of it is taken.
    let mut encoder = Encoder::new();
    let asking = async {
        for number in 2..4096 {
            let request = Request::Read {
                sequence: Sequence::new(number).unwrap(),
                offset: Offset::new(0),
                length: Length::new(1 << 20),
            };
            let octets = request.encode(Version::V2, &mut encoder).concat();
            if first.write_all(&octets).await.is_err() {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), asking).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 96 << 20, "{} MiB", grown >> 20);
    // It is taken for dead, as it is of no use.
    let ended = |kind: &EventKind| matches!(kind, EventKind::SessionEnded(_)).then_some(());
    pair.b.event("the end of the session", ended).await;
    drop((first, second));
    pair.end().await;
}

#[tokio::test]
async fn a_session_is_thrown_out_by_nobody_who_has_not_brought_back_a_token() {
    let pair = Pair::new(|_| {}).await;
    let device = pair.start().await;
    pair.a.in_sync().await;
    let mut visitors = Vec::new();
    for _ in 0..10 {
        let mut stream = TcpStream::connect(pair.b.address).await.unwrap();
        stream.write_all(&octets(&first_step())).await.unwrap();
        frame(&mut stream, Phase::Answer).await;
        visitors.push(stream);
    }
    device.write(0, noise(1, 4096)).await.unwrap();
    assert!(pair.a.primary().await.peer.is_some());
    assert_eq!(read(&*device, 0, 4096).await, noise(1, 4096));
    drop(visitors);
    pair.end().await;
}
